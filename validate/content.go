package validate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/regcred/regcred/registry"
)

// Limits for what an image may make a check ask for. The largest honest ones have some dozens of platforms, and 127
// layers, which is the most that a container runtime can stack.
const (
	maxConfig       = 4 << 20
	maxManifests    = 256
	maxBlobs        = 512
	blobConcurrency = 8
)

// inspect checks the content that a manifest names: the platforms, and with [Checker.Deep] the config and the layers.
func (k *check) inspect(ctx context.Context, f *imageInfo, body []byte) *registry.Error {
	if types.MediaType(f.mediaType).IsIndex() {
		return k.inspectIndex(ctx, f, body)
	}
	m, err := parseManifest(body)
	if err != nil {
		return &registry.Error{Code: registry.ErrUnavailable, Err: err}
	}
	f.size = sizeOf(m)
	if len(k.a.o.s.c.Platforms) > 0 {
		if err := k.inspectConfig(ctx, f, m); err != nil {
			return err
		}
	}
	if k.a.o.s.c.Deep {
		return k.checkBlobs(ctx, m)
	}
	return nil
}

func (k *check) inspectIndex(ctx context.Context, f *imageInfo, body []byte) *registry.Error {
	index, err := v1.ParseIndexManifest(bytes.NewReader(body))
	if err != nil || len(index.Manifests) > maxManifests {
		return errorf(registry.ErrUnavailable, "the index that was sent cannot be read")
	}
	var images []v1.Descriptor
	for _, d := range index.Manifests {
		// What has an unknown platform is an attestation or signature, not an image.
		if d.Platform != nil && d.MediaType.IsImage() && d.Platform.OS != "unknown" {
			images = append(images, d)
			f.platforms = append(f.platforms, platformOf(d.Platform.OS, d.Platform.Architecture, d.Platform.Variant))
		}
	}
	wanted := images
	if want := k.a.o.s.c.Platforms; len(want) > 0 {
		wanted = nil
		var missing []string
		for _, p := range want {
			switch i := p.best(f.platforms); {
			case i < 0:
				missing = append(missing, p.String())
			case !slices.ContainsFunc(wanted, func(d v1.Descriptor) bool { return d.Digest == images[i].Digest }):
				wanted = append(wanted, images[i])
			}
		}
		if missing != nil {
			return platformNotFound(missing, f.platforms)
		}
	}
	if !k.a.o.s.c.Deep {
		return nil
	}
	for _, d := range wanted {
		m, err := k.memberManifest(ctx, d)
		if err != nil {
			return err
		}
		f.size = max(f.size, sizeOf(m))
		if err := k.checkBlobs(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

// memberManifest reads a manifest that an index names.
func (k *check) memberManifest(ctx context.Context, d v1.Descriptor) (*v1.Manifest, *registry.Error) {
	f, body, err := k.get(ctx, d.Digest.String())
	switch {
	case err != nil && err.Is(registry.ErrNotFound):
		gone := *err
		gone.Code = registry.ErrContentNotFound
		gone.Hint = "push the image again: its index names the manifest of a platform that is gone"
		return nil, &gone
	case err != nil:
		return nil, err
	case !types.MediaType(f.mediaType).IsImage():
		return nil, errorf(registry.ErrUnavailable, "the index names a manifest that is not an image")
	}
	m, failed := parseManifest(body)
	if failed != nil {
		return nil, &registry.Error{Code: registry.ErrUnavailable, Err: failed}
	}
	return m, nil
}

// inspectConfig reads the platform of an image that is not in an index from its config.
func (k *check) inspectConfig(ctx context.Context, f *imageInfo, m *v1.Manifest) *registry.Error {
	want := k.a.o.s.c.Platforms
	if !m.Config.MediaType.IsConfig() {
		return &registry.Error{
			Code: registry.ErrPlatformNotFound,
			Hint: "this is not an image of a container, which a node could run",
			Err:  fmt.Errorf("what is stored there has a config of the type %s", cleanLine(string(m.Config.MediaType), 100)),
		}
	}
	q := apiRequest{step: StepConfig, method: http.MethodGet, path: k.blobPath(m.Config.Digest), limit: maxConfig}
	a, err := k.open(ctx, q)
	if err != nil {
		return err
	}
	if !a.ok() {
		return k.classify(ctx, a)
	}
	var config struct {
		OS           string `json:"os"`
		Architecture string `json:"architecture"`
		Variant      string `json:"variant"`
	}
	if digestOf(m.Config.Digest.Algorithm, a.body) != m.Config.Digest.String() || json.Unmarshal(a.body, &config) != nil {
		return k.invalidResponse(a, registry.ErrUnavailable, "the config that was sent is not the one that the manifest names")
	}
	p := platformOf(config.OS, config.Architecture, config.Variant)
	f.platforms = []Platform{p}
	var missing []string
	for _, w := range want {
		if !w.Runs(p) {
			missing = append(missing, w.String())
		}
	}
	if missing != nil {
		return platformNotFound(missing, f.platforms)
	}
	return nil
}

func platformNotFound(missing []string, have []Platform) *registry.Error {
	var names []string
	for _, p := range have[:min(len(have), 16)] {
		names = append(names, p.String())
	}
	return errorf(registry.ErrPlatformNotFound, "the image is not for %s; it is for %s",
		strings.Join(missing, ", "), strings.Join(names, ", "))
}

// platformOf makes what an image says of itself fit for a log.
func platformOf(os, architecture, variant string) Platform {
	return Platform{cleanLine(os, 32), cleanLine(architecture, 32), cleanLine(variant, 32)}
}

// checkBlobs checks that the config and the layers of an image can be read too. The verdict is that of the first that
// cannot.
func (k *check) checkBlobs(ctx context.Context, m *v1.Manifest) *registry.Error {
	type part struct {
		digest v1.Hash
		step   Step
	}
	parts := []part{{m.Config.Digest, StepConfig}}
	for _, d := range m.Layers {
		// https://github.com/opencontainers/image-spec/blob/main/layer.md#non-distributable-layers.
		elsewhere := !d.MediaType.IsDistributable() && len(d.URLs) > 0
		if !elsewhere && !slices.ContainsFunc(parts, func(p part) bool { return p.digest == d.Digest }) {
			parts = append(parts, part{d.Digest, StepLayer})
		}
	}
	if len(parts) > maxBlobs {
		return errorf(registry.ErrUnavailable, "the image has %d parts, more than any container runtime takes", len(parts))
	}
	errs := make([]*registry.Error, len(parts))
	slots := make(chan struct{}, blobConcurrency)
	var wg sync.WaitGroup
	for i, p := range parts {
		slots <- struct{}{}
		wg.Go(func() {
			errs[i] = k.checkBlob(ctx, p.digest, p.step)
			<-slots
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// checkBlob checks that a blob can be read. A HEAD tells, or else the first byte: a URL that a storage service signed
// may be good for GET only.
func (k *check) checkBlob(ctx context.Context, digest v1.Hash, step Step) *registry.Error {
	q := apiRequest{step: step, method: http.MethodHead, path: k.blobPath(digest)}
	a, err := k.open(ctx, q)
	if err == nil && !a.ok() && a.status != http.StatusTooManyRequests && a.step == step {
		q.method, q.firstByte = http.MethodGet, true
		a, err = k.open(ctx, q)
	}
	switch {
	case err != nil:
		return err
	case !a.ok():
		return k.classify(ctx, a)
	}
	return nil
}

func (k *check) blobPath(digest v1.Hash) string {
	return "/v2/" + k.image.Repository + "/blobs/" + digest.String()
}

func parseManifest(body []byte) (*v1.Manifest, error) {
	m, err := v1.ParseManifest(bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("the manifest that was sent cannot be read")
	}
	for _, d := range append([]v1.Descriptor{m.Config}, m.Layers...) {
		if !isDigest(d.Digest.String()) || d.Size < 0 {
			return nil, errors.New("the manifest that was sent names a part without a digest or a size")
		}
	}
	return m, nil
}

func sizeOf(m *v1.Manifest) int64 {
	n := m.Config.Size
	for _, d := range m.Layers {
		n += d.Size
	}
	return n
}

// sniff returns the media type of a manifest that was sent under another: by what it says of itself, or else by its
// form. "" if it is none.
func sniff(body []byte) string {
	var m struct {
		SchemaVersion int               `json:"schemaVersion"`
		MediaType     string            `json:"mediaType"`
		Manifests     []json.RawMessage `json:"manifests"`
		Layers        []json.RawMessage `json:"layers"`
		FSLayers      []json.RawMessage `json:"fsLayers"`
	}
	switch err := json.Unmarshal(body, &m); {
	case err != nil:
		return ""
	case isManifest(m.MediaType):
		return m.MediaType
	case m.SchemaVersion == 1 && m.FSLayers != nil:
		return string(types.DockerManifestSchema1)
	case m.SchemaVersion == 2 && m.Manifests != nil:
		return string(types.OCIImageIndex)
	case m.SchemaVersion == 2 && m.Layers != nil:
		return string(types.OCIManifestSchema1)
	}
	return ""
}

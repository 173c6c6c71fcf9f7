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

// Limits for the requests that an image may cause. The largest honest images have some dozens of platforms, and 127
// layers, which is the maximum that a container runtime can stack.
const (
	maxConfig       = 16 << 20
	maxManifests    = 256
	maxNesting      = 8
	maxBlobs        = 512
	blobConcurrency = 8
)

// inspect checks the content that a manifest names: the platforms, and with [Checker.Deep] the config and the layers.
func (k *check) inspect(ctx context.Context, f *imageInfo, body []byte) *registry.Error {
	switch {
	case isObsolete(f.mediaType):
		return nil // The content of schema 1 is not read.
	case types.MediaType(f.mediaType).IsIndex():
		return k.inspectIndex(ctx, f, body)
	}
	m, err := parseManifest(body)
	if err != nil {
		return &registry.Error{Code: registry.ErrUnavailable, Err: err}
	}
	f.size = sizeOf(m)
	mediaType := types.MediaType(f.mediaType)
	if len(k.a.o.s.c.Platforms) == 0 {
		k.checkTypes(m, mediaType, false)
		return k.deep(ctx, f, m)
	}
	config, failed := k.config(ctx, m, mediaType)
	if failed != nil {
		return failed
	}
	k.checkDiffIDs(m, mediaType, config)
	k.checkTypes(m, mediaType, false)
	k.checkPlatform(f, m, config)
	return k.deep(ctx, f, m)
}

func (k *check) deep(ctx context.Context, f *imageInfo, m *v1.Manifest) *registry.Error {
	if !k.a.o.s.c.Deep {
		return nil
	}
	f.basis = BasisLayers
	return k.checkBlobs(ctx, m)
}

// checkTypes checks the media types of the config and the layers.
func (k *check) checkTypes(m *v1.Manifest, manifest types.MediaType, member bool) {
	k.t.seen.images = append(k.t.seen.images, typedManifest{m, manifest})
	for i, l := range k.a.rules.lines {
		if pulls, err := k.a.rules.typesOf(l, m, manifest, member); err != nil {
			k.failLine(i, pulls, err)
		}
	}
}

// typesOf reports whether the line pulls an image with these media types, and returns why it does not run it. A member
// is an image in an index.
func (r *runtimeRules) typesOf(
	l line, m *v1.Manifest, manifest types.MediaType, member bool,
) (pulls Answer, err *registry.Error) {
	const fix = "if this is an image of a container, push it again with a current client; if it is a chart or another artifact, " +
		"no node runs it"
	pulls = No
	if l.lazy {
		pulls = Yes // The pull reports success, and no container can start.
	}
	config := m.Config.MediaType
	unknown := slices.IndexFunc(m.Layers, func(d v1.Descriptor) bool {
		return isUnknownLayer(d) && !slices.Contains(l.otherLayers, d.MediaType)
	})
	switch {
	case r.ociConfig && !member && manifest == types.OCIManifestSchema1 && config == types.DockerConfigJSON,
		r.ociConfig && !member && manifest == types.OCIManifestSchema1 && config == "",
		r.dockerLayers && manifest == types.DockerManifestSchema2 && slices.ContainsFunc(m.Layers, isNoDockerLayer):
		return No, r.incompatible(registry.ErrContentType, Exchange{},
			fmt.Sprintf("a manifest of type %s names a config of type %q", manifest, cleanLine(string(config), 100)),
			"push the image again with one format, Docker's or OCI's, throughout")
	case !slices.Contains(l.configTypes[manifest], config):
		return pulls, r.incompatible(registry.ErrContentType, Exchange{}, fmt.Sprintf(
			"the config has the type %q, which is not the type of a container image", cleanLine(string(config), 100)), fix)
	case l.layerTypes && unknown >= 0:
		return pulls, r.incompatible(registry.ErrContentType, Exchange{}, fmt.Sprintf(
			"a layer has the type %q, which cannot be unpacked", cleanLine(string(m.Layers[unknown].MediaType), 100)), fix)
	}
	return Yes, nil
}

func isOCILayer(d v1.Descriptor) bool {
	return strings.HasPrefix(string(d.MediaType), "application/vnd.oci.image.layer.")
}

func isNoDockerLayer(d v1.Descriptor) bool {
	return !strings.HasPrefix(string(d.MediaType), "application/vnd.docker.image.rootfs.")
}

func isKnownLayer(d v1.Descriptor) bool { return !isUnknownLayer(d) }

func isUnknownLayer(d v1.Descriptor) bool {
	return !isOCILayer(d) && isNoDockerLayer(d)
}

// checkBlobs checks that the config and the layers of an image can be read too. It returns the verdict on the first
// that cannot.
func (k *check) checkBlobs(ctx context.Context, m *v1.Manifest) *registry.Error {
	type part struct {
		digest v1.Hash
		step   Step
	}
	parts := []part{{m.Config.Digest, StepConfig}}
	known := map[v1.Hash]bool{m.Config.Digest: true}
	for _, d := range m.Layers {
		// https://github.com/opencontainers/image-spec/blob/main/layer.md#non-distributable-layers.
		elsewhere := !d.MediaType.IsDistributable() && len(d.URLs) > 0
		if !elsewhere && !known[d.Digest] {
			known[d.Digest] = true
			parts = append(parts, part{d.Digest, StepLayer})
		}
	}
	if len(parts) > maxBlobs {
		return errorf(registry.ErrUnavailable, "the image has %d parts, more than any container runtime accepts", len(parts))
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

// checkBlob checks that a blob can be read. It sends HEAD, and if that fails it requests the first byte, because a URL
// that a storage service signed may be valid for GET only.
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
		return nil, errors.New("the manifest in the response cannot be read")
	}
	for _, d := range append([]v1.Descriptor{m.Config}, m.Layers...) {
		if !isDigest(d.Digest.String()) || d.Size < 0 {
			return nil, errors.New("the manifest in the response names a part without a digest or a size")
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

// sniff returns the media type of a manifest that was sent with another type: the manifest's own mediaType, or else the
// type that its form shows. It returns "" if the body is no manifest.
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

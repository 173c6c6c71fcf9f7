package validate

import (
	"bytes"
	"cmp"
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
	if len(k.a.o.s.c.Platforms) > 0 {
		if err := k.inspectConfig(ctx, f, m, mediaType); err != nil {
			return err
		}
	}
	k.checkTypes(m, mediaType, false)
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
	unknown := slices.IndexFunc(m.Layers, isUnknownLayer)
	switch {
	case r.ociConfig && !member && manifest == types.OCIManifestSchema1 && config == types.DockerConfigJSON,
		r.ociConfig && !member && manifest == types.OCIManifestSchema1 && config == "",
		r.dockerLayers && manifest == types.DockerManifestSchema2 && slices.ContainsFunc(m.Layers, isNoDockerLayer):
		return No, r.incompatible(registry.ErrContentType, Exchange{},
			fmt.Sprintf("a manifest of type %s names a config of type %q", manifest, cleanLine(string(config), 100)),
			"push the image again with one format, Docker's or OCI's, throughout")
	case !slices.Contains(l.configTypes[manifest], config):
		return pulls, r.incompatible(registry.ErrContentType, Exchange{}, fmt.Sprintf(
			"the config has the type %q, which is not that of a container image", cleanLine(string(config), 100)), fix)
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

// An indexEntry is an entry of an index with its platform as written there.
type indexEntry struct {
	Digest    v1.Hash         `json:"digest"`
	Size      int64           `json:"size"`
	MediaType types.MediaType `json:"mediaType"`
	Platform  *struct {
		OS           string   `json:"os"`
		Architecture string   `json:"architecture"`
		Variant      string   `json:"variant"`
		OSVersion    string   `json:"os.version"`
		OSFeatures   []string `json:"os.features"`
	} `json:"platform"`
}

func (e indexEntry) platform() Platform {
	if e.Platform == nil {
		return Platform{}
	}
	return platformOf(e.Platform.OS, e.Platform.Architecture, e.Platform.Variant, e.Platform.OSVersion)
}

func parseIndex(body []byte) ([]indexEntry, *registry.Error) {
	var index struct {
		Manifests []indexEntry `json:"manifests"`
	}
	if json.Unmarshal(body, &index) != nil || len(index.Manifests) > maxManifests {
		return nil, errorf(registry.ErrUnavailable, "the index that was sent cannot be read")
	}
	for _, e := range index.Manifests {
		if !isDigest(e.Digest.String()) || e.Size < 0 {
			return nil, errorf(registry.ErrUnavailable, "the index that was sent names a manifest without a digest or a size")
		}
	}
	return index.Manifests, nil
}

// An entryKey identifies an entry that was checked for a platform.
type entryKey struct {
	digest   v1.Hash
	platform Platform
}

func (k *check) inspectIndex(ctx context.Context, f *imageInfo, body []byte) *registry.Error {
	entries, err := parseIndex(body)
	if err != nil {
		return err
	}
	k.t.seen.entries = entries
	for _, e := range entries {
		// An entry with an unknown platform is an attestation or signature, not an image.
		if e.Platform != nil && e.MediaType.IsImage() && e.Platform.OS != "unknown" {
			f.platforms = append(f.platforms, e.platform())
		}
	}
	wanted := k.a.o.s.c.Platforms
	if len(wanted) == 0 {
		return k.inspectAll(ctx, f, entries, 0)
	}
	done := make(map[entryKey]bool)
	missing := make([][]string, len(k.a.rules.lines))
	for _, p := range wanted {
		for i, l := range k.a.rules.lines {
			candidates := k.a.rules.selectEntries(l, p, f.mediaType, entries)
			if len(candidates) == 0 {
				missing[i] = append(missing[i], p.String())
				continue
			}
			found, err := k.inspectEntries(ctx, f, i, p, candidates, done, 0)
			if err != nil {
				return err
			}
			if !found {
				missing[i] = append(missing[i], p.String())
			}
		}
	}
	for i, list := range missing {
		if list != nil {
			k.failLine(i, No, k.a.rules.platformMissing(k.a.rules.lines[i], wanted, entries, list, f.platforms))
		}
	}
	return nil
}

// inspectAll checks all images of an index, for a check without platforms.
func (k *check) inspectAll(ctx context.Context, f *imageInfo, entries []indexEntry, depth int) *registry.Error {
	for _, e := range entries {
		if e.Platform != nil && e.Platform.OS == "unknown" {
			continue
		}
		m, nested, err := k.member(ctx, e)
		switch {
		case err != nil:
			return err
		case nested != nil && (depth == maxNesting || !k.a.rules.nested):
			return k.a.rules.noNesting()
		case nested != nil:
			err = k.inspectAll(ctx, f, nested, depth+1)
		default:
			f.size = max(f.size, sizeOf(m))
			err = k.deep(ctx, f, m)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *runtimeRules) noNesting() *registry.Error {
	return r.incompatible(registry.ErrManifest, Exchange{}, "the index names another index", "name the images in one index")
}

// inspectEntries checks the entries that a line tries for the platform, in order, until one is for the platform. It
// reports whether one is.
func (k *check) inspectEntries(ctx context.Context, f *imageInfo, i int, p Platform, candidates []indexEntry,
	done map[entryKey]bool, depth int) (bool, *registry.Error) {
	rules, l := k.a.rules, k.a.rules.lines[i]
	if l.allEntries {
		for _, e := range candidates[1:] {
			if err := k.complete(ctx, e); err != nil && err.Code.Temporary() {
				return false, err
			} else if err != nil {
				k.failLine(i, No, err)
			}
		}
	}
	for _, e := range candidates {
		m, nested, err := k.member(ctx, e)
		switch {
		case err != nil:
			return false, err
		case nested != nil && (depth == maxNesting || !rules.nested):
			k.failLine(i, No, rules.noNesting())
			return true, nil
		case nested != nil:
			inner := rules.selectEntries(l, p, string(types.OCIImageIndex), nested)
			if len(inner) == 0 {
				continue
			}
			found, err := k.inspectEntries(ctx, f, i, p, inner, done, depth+1)
			if err != nil || found {
				return found, err
			}
			continue
		}
		config, err := k.config(ctx, m, e.MediaType)
		if err != nil {
			return false, err
		}
		if e.Platform == nil || rules.unnamed == unnamedAny && e.Platform.Architecture == "" {
			if q := config.platform(); p.rank(q, l.bits32, rules.cpuVariants) < 0 {
				if rules.unnamed != unnamedFirst {
					continue
				}
				k.failLine(i, Yes, platformNotFound([]string{p.String()}, []Platform{q}))
			} else if !slices.Contains(f.platforms, q) {
				f.platforms = append(f.platforms, q)
			}
		}
		key := entryKey{e.Digest, p}
		if done[key] {
			return true, nil
		}
		done[key] = true
		f.size = max(f.size, sizeOf(m))
		k.checkDiffIDs(m, e.MediaType, config)
		k.checkTypes(m, e.MediaType, true)
		return true, k.deep(ctx, f, m)
	}
	return false, nil
}

// complete checks an entry of an index that is fetched but not run.
func (k *check) complete(ctx context.Context, e indexEntry) *registry.Error {
	m, nested, err := k.member(ctx, e)
	switch {
	case err != nil || nested != nil:
		return err // The entries of a nested index are skipped.
	case k.a.o.s.c.Deep:
		return k.checkBlobs(ctx, m)
	}
	_, err = k.config(ctx, m, e.MediaType)
	return err
}

// selectEntries returns the entries of an index that a line fetches for the platform, the best first. The line stops at
// the first that is for the platform.
func (r *runtimeRules) selectEntries(l line, p Platform, mediaType string, entries []indexEntry) []indexEntry {
	rankOf := func(e indexEntry) int {
		last := maxManifests
		switch {
		case e.Platform == nil && !r.normalizes && types.MediaType(mediaType) == types.DockerManifestList:
			return -1
		case e.Platform == nil, r.unnamed == unnamedAny && e.Platform.Architecture == "":
			return last
		case l.osFeatures && len(e.Platform.OSFeatures) > 0:
			return -1
		case !r.normalizes:
			q := Platform{OS: e.Platform.OS, Architecture: e.Platform.Architecture, Variant: e.Platform.Variant}
			return slices.Index(p.exact(), q)
		}
		return p.rank(e.platform(), l.bits32, r.cpuVariants)
	}
	var chosen []indexEntry
	for _, e := range entries {
		if rankOf(e) >= 0 {
			chosen = append(chosen, e)
		}
	}
	slices.SortStableFunc(chosen, func(a, b indexEntry) int { return cmp.Compare(rankOf(a), rankOf(b)) })
	if r.unnamed != unnamedAny && !l.allEntries {
		chosen = chosen[:min(len(chosen), 1)]
	}
	return chosen
}

// platformMissing returns the verdict on an index without an image for the platforms: either there is none, or the
// runtime does not recognize it.
func (r *runtimeRules) platformMissing(
	l line, wanted []Platform, entries []indexEntry, missing []string, have []Platform,
) *registry.Error {
	for _, p := range wanted {
		for _, e := range entries {
			if slices.Contains(missing, p.String()) && e.Platform != nil && p.rank(e.platform(), true, false) >= 0 {
				name := *e.Platform
				return r.incompatible(registry.ErrManifest, Exchange{},
					fmt.Sprintf("the index has %s as %q %q %q, in which %s does not recognize it", p, cleanLine(name.OS, 32),
						cleanLine(name.Architecture, 32), cleanLine(name.Variant, 32), l.name(r)),
					fmt.Sprintf("name the platform %s in the index, without os.features, in the words of Go", p))
			}
		}
	}
	return platformNotFound(missing, have)
}

// manifests holds the content of an index entry: an image, or other entries.
type manifests struct {
	image  *v1.Manifest
	nested []indexEntry
}

// member reads an entry of an index, which is an image or another index. It reads each entry once.
func (k *check) member(ctx context.Context, e indexEntry) (*v1.Manifest, []indexEntry, *registry.Error) {
	key := e.Digest.String()
	if m := k.members[key]; m != nil {
		return m.image, m.nested, nil
	}
	image, nested, err := k.readMember(ctx, e)
	if err == nil {
		if k.members == nil {
			k.members = make(map[string]*manifests)
		}
		k.members[key] = &manifests{image, nested}
	}
	return image, nested, err
}

func (k *check) readMember(ctx context.Context, e indexEntry) (*v1.Manifest, []indexEntry, *registry.Error) {
	rules := k.a.rules
	f, body, err := k.getAs(ctx, e.Digest.String(), string(e.MediaType))
	switch {
	case err != nil && err.Is(registry.ErrNotFound):
		gone := *err
		gone.Code = registry.ErrContentNotFound
		gone.Hint = "push the image again: its index names the manifest of a platform that is gone"
		return nil, nil, &gone
	case err != nil:
		return nil, nil, err
	case rules.sizes && int64(len(body)) != e.Size:
		return nil, nil, rules.incompatible(registry.ErrManifest, Exchange{},
			fmt.Sprintf("the index gives the manifest %s a size of %d bytes, and it has %d", e.Digest, e.Size, len(body)),
			"push the index again")
	case types.MediaType(f.mediaType).IsIndex():
		nested, err := parseIndex(body)
		return nil, nested, err
	case !types.MediaType(f.mediaType).IsImage():
		return nil, nil, errorf(registry.ErrUnavailable, "the index names a manifest that is not an image")
	}
	m, failed := parseManifest(body)
	if failed != nil {
		return nil, nil, &registry.Error{Code: registry.ErrUnavailable, Err: failed}
	}
	return m, nil, nil
}

// An imageConfig has the fields of a config that decide where the image runs.
type imageConfig struct {
	OS           string `json:"os"`
	Architecture string `json:"architecture"`
	Variant      string `json:"variant"`
	OSVersion    string `json:"os.version"`
	RootFS       struct {
		DiffIDs []string `json:"diff_ids"`
	} `json:"rootfs"`
}

func (c imageConfig) platform() Platform {
	return platformOf(c.OS, c.Architecture, c.Variant, c.OSVersion)
}

// config reads the config of an image, once. For runtimes that do not read the config, a config that is not JSON counts
// as an empty one.
func (k *check) config(ctx context.Context, m *v1.Manifest, manifest types.MediaType) (imageConfig, *registry.Error) {
	var config imageConfig
	if known, ok := k.configs[m.Config.Digest]; ok {
		return known, nil
	}
	if limit := k.a.rules.configLimit; limit > 0 && m.Config.Size > limit {
		return config, k.a.rules.incompatible(registry.ErrManifest, Exchange{},
			fmt.Sprintf("the config is larger than %d bytes", limit), "make the config smaller: fewer labels or less history")
	}
	q := apiRequest{step: StepConfig, method: http.MethodGet, path: k.blobPath(m.Config.Digest), limit: maxConfig}
	a, err := k.open(ctx, q)
	switch {
	case err != nil:
		return config, err
	case !a.ok():
		return config, k.classify(ctx, a)
	case digestOf(m.Config.Digest.Algorithm, a.body) != m.Config.Digest.String():
		return config, k.invalidResponse(a, registry.ErrUnavailable, "the config that was sent is not the one that the manifest names")
	case int64(len(a.body)) != m.Config.Size:
		return config, k.a.rules.incompatible(registry.ErrManifest, a.ex, fmt.Sprintf(
			"the manifest gives the config a size of %d bytes, and it has %d", m.Config.Size, len(a.body)), "push the image again")
	case json.Unmarshal(a.body, &config) != nil && slices.Contains(usualConfigs, m.Config.MediaType):
		return config, k.invalidResponse(a, registry.ErrUnavailable, "the config that was sent is not one of a container image")
	}
	if k.configs == nil {
		k.configs = make(map[v1.Hash]imageConfig)
	}
	k.configs[m.Config.Digest] = config
	return config, nil
}

// inspectConfig reads the platform of an image that is not in an index. Such an image pulls on every platform.
func (k *check) inspectConfig(ctx context.Context, f *imageInfo, m *v1.Manifest, manifest types.MediaType) *registry.Error {
	config, err := k.config(ctx, m, manifest)
	if err != nil {
		return err
	}
	k.checkDiffIDs(m, manifest, config)
	if t := m.Config.MediaType; !slices.Contains(dockerConfigs, t) && !t.IsConfig() {
		return nil // Not a container image; checkTypes reports it.
	}
	if config.OS == "" && config.Architecture == "" {
		return nil
	}
	p := config.platform()
	f.platforms = []Platform{p}
	for i, l := range k.a.rules.lines {
		var missing []string
		for _, w := range k.a.o.s.c.Platforms {
			if w.rank(p, l.bits32, k.a.rules.cpuVariants) < 0 {
				missing = append(missing, w.String())
			}
		}
		if missing != nil {
			k.failLine(i, Yes, platformNotFound(missing, f.platforms))
		}
	}
	return nil
}

// checkDiffIDs compares the layers in the config with the layers in the manifest.
func (k *check) checkDiffIDs(m *v1.Manifest, manifest types.MediaType, config imageConfig) {
	listed := len(config.RootFS.DiffIDs)
	for i, l := range k.a.rules.lines {
		usual := slices.Contains(l.configTypes[manifest], m.Config.MediaType)
		err := k.a.rules.incompatible(registry.ErrManifest, Exchange{},
			fmt.Sprintf("the manifest has %d layers, and the config %d", len(m.Layers), listed), "push the image again")
		switch {
		case !usual && l.emptyArtifacts && listed == 0 && !slices.ContainsFunc(m.Layers, isKnownLayer):
			k.failLine(i, Yes, err) // Nothing is unpacked.
		case !l.diffIDs || !usual || listed == len(m.Layers):
		case l.lazy && len(m.Layers) == 0:
			k.failLine(i, Yes, err)
		default:
			k.failLine(i, No, err)
		}
	}
}

// platformNotFound returns the verdict on an image that is not for the platforms.
func platformNotFound(missing []string, have []Platform) *registry.Error {
	if len(have) == 0 {
		return errorf(registry.ErrPlatformNotFound, "the image is not for %s; it names no platform", strings.Join(missing, ", "))
	}
	var names []string
	for _, p := range have[:min(len(have), 16)] {
		names = append(names, p.String())
	}
	return errorf(registry.ErrPlatformNotFound, "the image is not for %s; it is for %s",
		strings.Join(missing, ", "), strings.Join(names, ", "))
}

// platformOf returns the platform with texts from the image made safe for a log.
func platformOf(os, architecture, variant, version string) Platform {
	return Platform{cleanLine(os, 32), cleanLine(architecture, 32), cleanLine(variant, 32), cleanLine(version, 32)}
}

// checkBlobs checks that the config and the layers of an image can be read too. It returns the verdict on the first
// that cannot.
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

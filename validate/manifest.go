package validate

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/regcred/regcred/registry"
)

// accept lists every form of manifest. HEAD and GET send the same list, because the digest of a tag depends on it.
// Without the OCI types, some registries respond that the image does not exist. With the obsolete types, an obsolete
// image is recognized.
const accept = string(types.OCIImageIndex) + ", " + string(types.OCIManifestSchema1) + ", " +
	string(types.DockerManifestList) + ", " + string(types.DockerManifestSchema2) + ", " +
	string(types.DockerManifestSchema1Signed) + ", " + string(types.DockerManifestSchema1)

// maxManifest is larger than any manifest that a container runtime is known to accept. runtimeTable has the limit of
// each runtime.
const maxManifest = 6 << 20

// resolve finds the manifest for the image's tag or digest, as the runtime does. The body is nil if HEAD was enough.
func (k *check) resolve(ctx context.Context) (imageInfo, []byte, *registry.Error) {
	o, rules := k.a.o, k.a.rules
	reference := k.image.Reference()
	if rules.head == headNever && (o.headUnreliable() || o.s.c.Deep || len(o.s.c.Platforms) > 0) {
		return k.get(ctx, reference)
	}
	a, err := k.open(ctx, k.manifest(StepManifest, http.MethodHead, reference))
	switch {
	case err != nil:
		return imageInfo{}, nil, err
	case a.ok():
		k.t.seen.head = a
		f, enough, err := k.readHEAD(a)
		if err != nil || enough {
			return f, nil, err
		}
		return k.get(ctx, reference)
	case a.step != StepManifest, a.status == http.StatusTooManyRequests,
		a.status > http.StatusNotImplemented && rules.head == headDecides,
		o.knownVendor() == dockerHub && a.status == http.StatusUnauthorized:
		return imageInfo{}, nil, k.classify(ctx, a) // The response to GET would not have more.
	}
	// The response to a HEAD has no body and so no reason, and some registries respond to HEAD incorrectly. Harbor, ECR
	// and mirrors respond with 500 if an upstream or a key service denies access.
	f, body, failed := k.get(ctx, reference)
	if failed != nil {
		return f, body, failed
	}
	got := k.t.seen.manifest
	if rules.headLength && k.image.Digest == "" && got != nil && got.length < 0 && got.header.Get("Docker-Content-Digest") != "" {
		// Docker then reads the headers of the response to GET as it reads those of HEAD; without a digest, it reads the body.
		return f, nil, rules.incompatible(registry.ErrHEAD, got.ex,
			fmt.Sprintf("the response to HEAD of the manifest is %d, and the response to GET has no Content-Length", a.status),
			"respond to HEAD with the headers of GET, and send the manifest's length in both")
	}
	if rules.head == headDecides && a.status != http.StatusMethodNotAllowed {
		return f, nil, rules.incompatible(registry.ErrHEAD, a.ex,
			fmt.Sprintf("the response to HEAD of the manifest is %d, and to GET the manifest", a.status),
			"respond to HEAD as to GET, or with 405 so that GET follows")
	}
	if rules.head == headNever {
		o.markHEADUnreliable()
	}
	return f, body, nil
}

// readHEAD reads the manifest's digest and type from the response to HEAD. It reports whether they are enough;
// otherwise a GET is needed.
func (k *check) readHEAD(a *response) (f imageInfo, enough bool, err *registry.Error) {
	rules := k.a.rules
	f = imageInfo{digest: k.image.Digest, mediaType: rules.mediaType(a)}
	header := a.header.Get("Docker-Content-Digest")
	switch {
	case rules.head == headNever:
		f.digest = cmp.Or(k.image.Digest, header)
		usable := isManifest(f.mediaType) && isDigest(f.digest) && (k.image.Digest == "" || header == f.digest)
		return f, usable, k.budget(a)
	case rules.headType && a.header.Get("Content-Type") == "":
		return f, false, rules.incompatible(registry.ErrMediaType, a.ex, "the response to HEAD has no Content-Type",
			"send the manifest's media type in the response to HEAD, too")
	case rules.headLength && a.length < 0:
		return f, false, rules.incompatible(registry.ErrHEAD, a.ex, "the response to HEAD has no Content-Length",
			"send the manifest's length in the response to HEAD, too")
	case rules.head == headHint && !isManifest(f.mediaType):
		return f, false, nil
	case k.image.Digest == "" && (header == "" || a.length < 0):
		return f, false, nil
	case k.image.Digest == "" && !isDigest(header):
		return f, false, rules.incompatible(registry.ErrDigestHeader, a.ex, "the header Docker-Content-Digest is not a digest",
			"send Docker-Content-Digest: sha256:... in lower case and without quotes, or leave it out")
	case !isManifest(f.mediaType):
		return f, false, rules.incompatible(registry.ErrMediaType, a.ex,
			fmt.Sprintf("the response to HEAD has the Content-Type %q, which is not the type of a manifest", a.cite(f.mediaType, 100)),
			"send the manifest's own media type, in lower case, in the response to HEAD, too")
	case rules.manifestLimit > 0 && a.length > rules.manifestLimit:
		return f, false, rules.tooLarge(a.ex)
	}
	f.digest, f.length = cmp.Or(k.image.Digest, header), a.length
	return f, true, k.budget(a)
}

// budget returns the verdict on a HEAD that succeeds although no pull is left, so that a GET would be rejected.
func (k *check) budget(a *response) *registry.Error {
	limit := readRateLimit(a.header)
	if limit.Limit == 0 || limit.Remaining > 0 || k.a.o.s.c.Deep || len(k.a.o.s.c.Platforms) > 0 {
		return nil
	}
	hint := hintFor(k.a.o.knownVendor(), registry.ErrRateLimited, k.a.credential)
	return &registry.Error{Code: registry.ErrRateLimited, Hint: hint, Err: &exchangeError{a.ex, errors.New(limit.String())}}
}

func (r *runtimeRules) tooLarge(ex Exchange) *registry.Error {
	return r.incompatible(registry.ErrManifest, ex, fmt.Sprintf("the manifest is larger than %d bytes", r.manifestLimit),
		"make the manifest smaller: fewer layers, annotations or platforms")
}

// mediaType returns the media type of a manifest as the runtime reads the header.
func (r *runtimeRules) mediaType(a *response) string {
	if !r.exactType {
		return a.mediaType()
	}
	t, _, _ := strings.Cut(a.header.Get("Content-Type"), ";")
	if t == "text/plain" { // Sent by registry.access.redhat.com.
		t = string(types.DockerManifestSchema1Signed)
	}
	return t
}

// fetch reads the manifest that HEAD found. It requests the digest, as the runtimes that send HEAD do.
func (k *check) fetch(ctx context.Context, head imageInfo) (imageInfo, []byte, *registry.Error) {
	rules := k.a.rules
	f, body, err := k.getAs(ctx, head.digest, head.mediaType)
	switch {
	case err != nil && err.Is(registry.ErrNotFound) && k.image.Digest == "":
		gone := rules.incompatible(registry.ErrDigestHeader, Exchange{}, "HEAD names the digest "+head.digest+
			", under which the registry has no manifest", "send the digest of the manifest in Docker-Content-Digest")
		gone.Err = fmt.Errorf("HEAD names the digest %s: %w", head.digest, err.Err)
		return f, nil, gone
	case err == nil && rules.sizes && head.length >= 0 && int64(len(body)) != head.length:
		return f, nil, rules.incompatible(registry.ErrManifest, Exchange{Step: StepManifest, Method: http.MethodGet},
			fmt.Sprintf("the manifest has %d bytes, and the response to HEAD has the length %d", len(body), head.length),
			"send the manifest's length in the response to HEAD")
	}
	return f, body, err
}

// get requests the manifest by a tag or digest.
func (k *check) get(ctx context.Context, reference string) (imageInfo, []byte, *registry.Error) {
	return k.getAs(ctx, reference, "")
}

// getAs requests the manifest. If the media type is known already, runtimes that trust HEAD or an index ignore the
// media type of the response.
func (k *check) getAs(ctx context.Context, reference, known string) (imageInfo, []byte, *registry.Error) {
	rules := k.a.rules
	a, err := k.open(ctx, k.manifest(StepManifest, http.MethodGet, reference))
	if err != nil {
		return imageInfo{}, nil, err
	}
	if !a.ok() {
		return imageInfo{}, nil, k.classify(ctx, a)
	}
	f := imageInfo{mediaType: rules.mediaType(a), length: -1}
	if known != "" && rules.head == headDecides {
		f.mediaType = known
	}
	switch what := sniff(a.body); {
	case what == "" && (!isManifest(f.mediaType) || !isObject(a.body)):
		return imageInfo{}, nil, k.invalidResponse(a, registry.ErrNotRegistry, "the response is not a manifest")
	case !isManifest(f.mediaType):
		return imageInfo{}, nil, rules.incompatible(registry.ErrMediaType, a.ex,
			fmt.Sprintf("the manifest is sent with the Content-Type %q", a.cite(f.mediaType, 100)), "send it as "+what)
	}
	digest := a.header.Get("Docker-Content-Digest")
	if strings.Contains(reference, ":") {
		digest = reference
	}
	algorithm := "sha256"
	if isDigest(digest) {
		algorithm, _, _ = strings.Cut(digest, ":")
	}
	switch f.digest = digestOf(algorithm, a.body); {
	case strings.Contains(reference, ":") && f.digest != digest:
		return imageInfo{}, nil, k.invalidResponse(a, registry.ErrUnavailable,
			"the manifest in the response does not have the digest "+digest)
	case rules.head == headHint && digest != "" && f.digest != digest:
		return imageInfo{}, nil, rules.incompatible(registry.ErrDigestHeader, a.ex,
			"the header Docker-Content-Digest is not the digest of the manifest", "send the digest of the manifest, or none")
	}
	if isObsolete(f.mediaType) {
		return f, a.body, nil
	}
	if known == "" || k.t.seen.manifest == nil {
		k.t.seen.manifest, k.t.seen.mediaType = a, f.mediaType
	}
	if rules.manifestLimit > 0 && int64(len(a.body)) > rules.manifestLimit && (known == "" || rules.head == headNever) {
		return f, nil, rules.tooLarge(a.ex)
	}
	return f, a.body, rules.checkManifest(a, f.mediaType)
}

// isObject reports whether the body is a JSON object.
func isObject(body []byte) bool {
	var object map[string]json.RawMessage
	return json.Unmarshal(body, &object) == nil
}

// checkManifest checks the parts of a manifest by which runtimes distinguish an image from an index.
func (r *runtimeRules) checkManifest(a *response, mediaType string) *registry.Error {
	var m struct {
		MediaType                           string `json:"mediaType"`
		Config, Layers, Manifests, FSLayers json.RawMessage
	}
	if json.Unmarshal(a.body, &m) != nil {
		return &registry.Error{Code: registry.ErrUnavailable, Err: &exchangeError{a.ex, errors.New("the manifest is not JSON")}}
	}
	index, said := types.MediaType(mediaType).IsIndex(), types.MediaType(m.MediaType)
	if index && r.anyIndexType {
		said = types.MediaType(mediaType)
	}
	docker := types.MediaType(mediaType) == types.DockerManifestSchema2 || types.MediaType(mediaType) == types.DockerManifestList
	switch {
	case docker && r.dockerMixed && m.MediaType == mediaType:
		return nil
	case index && (len(m.Config) > 0 || len(m.Layers) > 0 || said.IsImage()), !index && (len(m.Manifests) > 0 || said.IsIndex()),
		len(m.FSLayers) > 0:
		return r.incompatible(registry.ErrManifest, a.ex, "the manifest has the fields of an image and of an index",
			"push the image again with a client that writes manifests by the OCI image specification")
	case r.dockerBodyType && m.MediaType == "" && docker && !(index && r.anyIndexType):
		return r.incompatible(registry.ErrManifest, a.ex, "a manifest of Docker's type does not name its media type",
			"push the image again with a client that writes mediaType into the manifest")
	case r.bodyType && said != "" && string(said) != mediaType:
		return r.incompatible(registry.ErrManifest, a.ex,
			fmt.Sprintf("the manifest names another media type, %s, than its Content-Type", a.cite(m.MediaType, 100)),
			"send the media type that the manifest names as its Content-Type")
	}
	return nil
}

// checkSchema1 fails the lines that do not pull Docker schema 1.
func (k *check) checkSchema1(f *imageInfo, body []byte) {
	if !isObsolete(f.mediaType) {
		return
	}
	for i, l := range k.a.rules.lines {
		if !slices.Contains(l.schema1, types.MediaType(f.mediaType)) || body != nil && !isSchema1(body, f.mediaType) {
			k.failLine(i, No, &registry.Error{Code: registry.ErrObsolete,
				Err: fmt.Errorf("%s does not pull the format %s", l.name(k.a.rules), f.mediaType)})
		}
	}
}

// isSchema1 reports whether the body is a manifest of schema 1, and is signed if its type requires a signature.
func isSchema1(body []byte, mediaType string) bool {
	var m struct {
		SchemaVersion        int
		FSLayers, Signatures []json.RawMessage
	}
	return json.Unmarshal(body, &m) == nil && m.SchemaVersion == 1 && m.FSLayers != nil &&
		(len(m.Signatures) > 0 || mediaType != string(types.DockerManifestSchema1Signed))
}

// manifest returns the request for the manifest of the reference.
func (k *check) manifest(step Step, method, reference string) apiRequest {
	path := "/v2/" + k.image.Repository + "/manifests/" + reference
	return apiRequest{step: step, method: method, path: path, accept: accept, limit: maxManifest}
}

func isManifest(mediaType string) bool {
	t := types.MediaType(mediaType)
	return t.IsImage() || t.IsIndex() || isObsolete(mediaType)
}

func isObsolete(mediaType string) bool {
	t := types.MediaType(mediaType)
	return t == types.DockerManifestSchema1 || t == types.DockerManifestSchema1Signed
}

// isDigest accepts the registered algorithms:
// https://github.com/opencontainers/image-spec/blob/main/descriptor.md#registered-algorithms.
func isDigest(s string) bool {
	algorithm, digits, _ := strings.Cut(s, ":")
	if strings.Trim(digits, "0123456789abcdef") != "" {
		return false
	}
	switch algorithm {
	case "sha256":
		return len(digits) == 2*sha256.Size
	case "sha384":
		return len(digits) == 2*sha512.Size384
	case "sha512":
		return len(digits) == 2*sha512.Size
	}
	return false
}

func digestOf(algorithm string, body []byte) string {
	switch algorithm {
	case "sha384":
		sum := sha512.Sum384(body)
		return "sha384:" + hex.EncodeToString(sum[:])
	case "sha512":
		sum := sha512.Sum512(body)
		return "sha512:" + hex.EncodeToString(sum[:])
	}
	sum := sha256.Sum256(body)
	return "sha256:" + hex.EncodeToString(sum[:])
}

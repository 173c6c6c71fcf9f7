package validate

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/regcred/regcred/registry"
)

// accept is every form of manifest there is. The same for HEAD and GET, for the digest of a tag depends on it. Without
// the OCI types some registries say that there is no such image; with the obsolete ones, an obsolete image is
// recognised.
const accept = string(types.OCIImageIndex) + ", " + string(types.OCIManifestSchema1) + ", " +
	string(types.DockerManifestList) + ", " + string(types.DockerManifestSchema2) + ", " +
	string(types.DockerManifestSchema1Signed) + ", " + string(types.DockerManifestSchema1)

// maxManifest is the size that the OCI distribution specification asks registries to take at least ("Pushing
// Manifests").
const maxManifest = 4 << 20

// imageInfo describes an image that can be pulled.
type imageInfo struct {
	digest    string
	mediaType string
	platforms []Platform
	size      int64
	complete  bool // Everything was looked at that the Checker asks for.
}

// A check is the check of one image with one credential.
type check struct {
	a     *authorizer
	t     *trace
	image registry.Image
}

// run returns what is known of the image, or why it cannot be pulled.
func (k *check) run(ctx context.Context) (imageInfo, *registry.Error) {
	s := k.a.o.s
	deep := s.c.Deep || len(s.c.Platforms) > 0
	if f, ok := k.lookup(k.image.Digest); ok {
		return f, nil
	}
	if err := k.a.rateLimited(); err != nil {
		return imageInfo{}, err
	}
	var f imageInfo
	var body []byte
	var err *registry.Error
	// A HEAD is free of Docker Hub's limit of pulls. Where the manifest will be read, it is of use only if it can save
	// that.
	if !deep || s.c.CacheFor > 0 || k.a.o.knownVendor() == dockerHub {
		f, err = k.head(ctx)
	}
	if err == nil && f.digest != "" && deep {
		if known, ok := k.lookup(f.digest); ok {
			return known, nil
		}
	}
	if err == nil && (f.digest == "" || deep) {
		f, body, err = k.get(ctx, k.image.Reference())
	}
	if err != nil {
		return imageInfo{}, err
	}
	if deep {
		if err = k.inspect(ctx, &f, body); err != nil {
			return f, err
		}
	}
	f.complete = true
	k.store(f)
	return f, nil
}

// head asks for the image without its manifest. A zero digest without an error means that HEAD is of no use here.
func (k *check) head(ctx context.Context) (imageInfo, *registry.Error) {
	o := k.a.o
	if o.headUnreliable() {
		return imageInfo{}, nil
	}
	a, err := k.open(ctx, k.manifest(StepManifest, http.MethodHead, k.image.Reference()))
	switch {
	case err != nil:
		return imageInfo{}, err
	case a.ok():
		f := imageInfo{digest: a.header.Get("Docker-Content-Digest"), mediaType: a.mediaType()}
		if isObsolete(f.mediaType) {
			return imageInfo{}, k.obsolete(a)
		}
		if !isManifest(f.mediaType) || !isDigest(f.digest) || k.image.Digest != "" && k.image.Digest != f.digest {
			return imageInfo{}, nil // Something is missing or odd: the GET will tell.
		}
		return f, nil
	case a.step != StepManifest, a.status == http.StatusTooManyRequests, a.status >= 500,
		o.knownVendor() == dockerHub && a.status == http.StatusUnauthorized:
		if v := o.knownVendor(); a.status == http.StatusInternalServerError && (v == harbor || v == ecr) {
			// These fail so for what an upstream or a key service denies them. Only a body tells.
			reason, err := k.open(ctx, k.manifest(StepManifest, http.MethodGet, k.image.Reference()))
			if err == nil && reason.step == StepManifest && !reason.ok() {
				a = reason
			}
		}
		return imageInfo{}, k.classify(ctx, a) // All is said.
	}
	// The answer to a HEAD has no body, so no reason; and some registries answer it wrongly.
	f, _, failed := k.get(ctx, k.image.Reference())
	if failed == nil {
		o.markHEADUnreliable()
	}
	return f, failed
}

// get asks for the manifest itself.
func (k *check) get(ctx context.Context, reference string) (imageInfo, []byte, *registry.Error) {
	a, err := k.open(ctx, k.manifest(StepManifest, http.MethodGet, reference))
	if err != nil {
		return imageInfo{}, nil, err
	}
	if !a.ok() {
		return imageInfo{}, nil, k.classify(ctx, a)
	}
	f := imageInfo{mediaType: a.mediaType(), digest: a.header.Get("Docker-Content-Digest")}
	if !isManifest(f.mediaType) {
		if f.mediaType = sniff(a.body); f.mediaType == "" {
			return imageInfo{}, nil, k.invalidResponse(a, registry.ErrNotRegistry, "what was sent is not a manifest")
		}
	}
	if isObsolete(f.mediaType) {
		return imageInfo{}, nil, k.obsolete(a)
	}
	want := f.digest
	if strings.Contains(reference, ":") {
		want = reference
	}
	if !isDigest(want) {
		f.digest = digestOf("sha256", a.body)
		return f, a.body, nil
	}
	algorithm, _, _ := strings.Cut(want, ":")
	if f.digest = digestOf(algorithm, a.body); f.digest != want {
		text := "the manifest that was sent does not have the digest " + want
		return imageInfo{}, nil, k.invalidResponse(a, registry.ErrUnavailable, text)
	}
	return f, a.body, nil
}

func (k *check) invalidResponse(a *response, code registry.Code, text string) *registry.Error {
	return &registry.Error{Code: code, Err: &exchangeError{a.ex, errors.New(text)}}
}

func (k *check) obsolete(a *response) *registry.Error {
	return &registry.Error{Code: registry.ErrObsolete, Err: &exchangeError{a.ex, nil}}
}

// manifest asks for the manifest of the reference.
func (k *check) manifest(step Step, method, reference string) apiRequest {
	path := "/v2/" + k.image.Repository + "/manifests/" + reference
	return apiRequest{step: step, method: method, path: path, accept: accept, limit: maxManifest}
}

func (k *check) open(ctx context.Context, q apiRequest) (*response, *registry.Error) {
	return k.a.open(ctx, k.t, pullScope(k.image.Repository), q)
}

func (k *check) classify(ctx context.Context, a *response) *registry.Error {
	return k.a.classify(ctx, k.t, a, k.image.Repository)
}

// lookup returns the cached result for the digest.
func (k *check) lookup(digest string) (imageInfo, bool) {
	s := k.a.o.s
	if digest == "" || s.c.CacheFor <= 0 {
		return imageInfo{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f, ok := s.images[imageKey{k.a, k.image.Repository, digest}]
	return f, ok
}

func (k *check) store(f imageInfo) {
	s := k.a.o.s
	if s.c.CacheFor <= 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.images[imageKey{k.a, k.image.Repository, f.digest}] = f
}

// headUnreliable reports whether this registry answered a HEAD request wrongly before.
func (o *origin) headUnreliable() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.useGET
}

func (o *origin) markHEADUnreliable() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.useGET = true
}

// rateLimited returns the rate limit error that is still in force; nil if there is none.
func (a *authorizer) rateLimited() *registry.Error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.rateLimit == nil || !time.Now().Before(a.rateLimitEnd) {
		return nil
	}
	e := *a.rateLimit
	e.Wait = time.Until(a.rateLimitEnd).Round(time.Second)
	return &e
}

func isManifest(mediaType string) bool {
	t := types.MediaType(mediaType)
	return t.IsImage() || t.IsIndex() || isObsolete(mediaType)
}

func isObsolete(mediaType string) bool {
	t := types.MediaType(mediaType)
	return t == types.DockerManifestSchema1 || t == types.DockerManifestSchema1Signed
}

// isDigest takes the algorithms that registries do:
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

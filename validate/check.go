package validate

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/regcred/regcred/registry"
)

// imageInfo describes an image that can be pulled.
type imageInfo struct {
	digest    string
	mediaType string
	platforms []Platform
	size      int64
	length    int64 // Of the manifest, from the response to HEAD; negative if unknown.
	basis     Basis
	lines     []lineState
}

// A lineState is the verdict for a release line of the runtime.
type lineState struct {
	pulls, runs Answer
	err         *registry.Error
	passing     bool // The failure disappeared when the request was repeated.
}

// A check checks one image with one credential, by the rules of one runtime.
type check struct {
	a     *authorizer
	t     *trace
	image registry.Image

	mu      sync.Mutex
	lines   []lineState             // One for each line of the runtime.
	members map[string]manifests    // The entries of indexes that were read.
	configs map[v1.Hash]imageConfig // The configs that were read.
	visits  map[visit]visitResult   // The entries of indexes that were checked.
}

func newCheck(a *authorizer, t *trace, image registry.Image) *check {
	return &check{a: a, t: t, image: image, lines: make([]lineState, len(a.rules.lines))}
}

// run returns the properties of the image, or the reason why it cannot be pulled.
func (k *check) run(ctx context.Context) (imageInfo, *registry.Error) {
	s := k.a.o.s
	if f, ok := k.lookup(k.image.Digest); ok {
		return f, nil
	}
	if err := k.a.rateLimited(); err != nil {
		return imageInfo{}, err
	}
	f, body, err := k.resolve(ctx)
	if err != nil {
		return imageInfo{}, err
	}
	deep := s.c.Deep || len(s.c.Platforms) > 0
	if deep && body == nil {
		if known, ok := k.lookup(f.digest); ok {
			return known, nil
		}
		if f, body, err = k.fetch(ctx, f); err != nil {
			return f, err
		}
	}
	k.checkSchema1(&f, body)
	switch {
	case deep:
		f.basis = BasisManifest
		if err = k.inspect(ctx, &f, body); err != nil {
			return f, k.finish(&f, err)
		}
	case body != nil:
		f.basis = BasisManifest
	default:
		f.basis = BasisHeaders
	}
	if err := k.finish(&f, nil); err != nil {
		return f, err
	}
	k.store(f)
	return f, nil
}

// finish sets the verdict of each line, and returns the verdict on all of them.
func (k *check) finish(f *imageInfo, common *registry.Error) *registry.Error {
	k.mu.Lock()
	defer k.mu.Unlock()
	var verdict *registry.Error
	for i := range k.lines {
		l := &k.lines[i]
		if common == nil && l.err == nil {
			k.checkRetries(i)
		}
		if common != nil && l.pulls != No {
			l.pulls, l.runs, l.err = No, No, common
		}
		if l.err == nil {
			l.pulls = Yes
			if len(k.a.o.s.c.Platforms) > 0 && !isObsolete(f.mediaType) {
				l.runs = Yes
			}
		}
		if verdict == nil && l.err != nil && !l.passing && (l.pulls == No || len(k.a.o.s.c.Platforms) > 0) {
			verdict = l.err
		}
	}
	f.lines = k.lines
	if common != nil {
		return common
	}
	return verdict
}

// checkRetries fails a line if a request succeeded only after a repetition that the line would not have sent. The
// failure is no verdict on the image, because a kubelet tries again, too.
func (k *check) checkRetries(i int) {
	rules, l := k.a.rules, k.a.rules.lines[i]
	for _, status := range k.t.retried {
		if status < 500 || slices.Contains(l.retryOnce, status) || rules.head == headHint {
			continue
		}
		k.lines[i] = lineState{pulls: No, passing: true, err: errorf(registry.ErrUnavailable,
			"the registry answered %d, and only then with the manifest; %s does not repeat the request", status, l.name(rules))}
	}
}

// failLine records why a line does not pull the image, or pulls it and does not run it.
func (k *check) failLine(i int, pulls Answer, err *registry.Error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if l := &k.lines[i]; l.err == nil {
		l.pulls, l.runs, l.err = pulls, No, err
	}
}

func (k *check) invalidResponse(a *response, code registry.Code, text string) *registry.Error {
	return &registry.Error{Code: code, Err: &exchangeError{a.ex, errors.New(text)}}
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

// headUnreliable reports whether this registry responded to a HEAD request incorrectly before.
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

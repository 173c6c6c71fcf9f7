package validate

import (
	"context"
	"errors"
	"reflect"
	"sync"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/internal/panics"
	"github.com/regcred/regcred/registry"
)

// A call is one call of a [Checker], with the credentials of its candidates.
type call struct {
	*session
	mu        sync.Mutex
	sources   map[any]*sourceCache // By source.
	byPointer map[*Candidate]candidateKey
	plans     map[planKey]*repositoryPlan
}

// candidateKey identifies a candidate. It is computed once because hashing dominates the cost of a check.
type candidateKey struct {
	*sourceCache
	transport transportKey
}

func (c *Checker) call() *call {
	return &call{session: c.session(), sources: make(map[any]*sourceCache), byPointer: make(map[*Candidate]candidateKey)}
}

// A repositoryPlan lists the repositories of one registry for which a candidate will be used.
type repositoryPlan struct {
	mu           sync.Mutex
	seen         map[string]bool
	repositories []string
	planned      map[*authorizer]bool
}

type planKey struct {
	candidate candidateKey
	host      string
}

// planRepository adds the repository to the candidate's plan. It is called before the first request.
func (c *call) planRepository(candidate *Candidate, image registry.Image) {
	key := planKey{c.keyOf(candidate), image.Host}
	w := c.plans[key]
	if w == nil {
		w = &repositoryPlan{seen: make(map[string]bool), planned: make(map[*authorizer]bool)}
		if c.plans == nil {
			c.plans = make(map[planKey]*repositoryPlan)
		}
		c.plans[key] = w
	}
	if !w.seen[image.Repository] {
		w.seen[image.Repository] = true
		w.repositories = append(w.repositories, image.Repository)
	}
}

// applyPlan passes the candidate's plan to the authorizer, so that one token serves all of its repositories.
func (c *call) applyPlan(a *authorizer, of candidateKey, host string) {
	w := c.plans[planKey{of, host}]
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.planned[a] {
		w.planned[a] = true
		a.planScopes(w.repositories)
	}
}

// same reports whether two lists of candidates are the same slice.
func (c *call) same(a, b []Candidate) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		x, y := &a[i], &b[i]
		if x.Name != y.Name || c.keyOf(x) != c.keyOf(y) {
			return false
		}
	}
	return true
}

// A sourceCache keeps the credential of a candidate for all images of a call.
type sourceCache struct {
	lock       chan struct{} // Holds one element while the source is not in use.
	fetched    bool
	credential credentials.Credential
	err        error
	renewed    bool

	mu   sync.Mutex
	last *authorizer
}

// keyOf returns the key of the candidate. Candidates with the same source share a sourceCache. If sources cannot be
// compared, candidates that are the same element of a slice share one.
func (c *call) keyOf(candidate *Candidate) candidateKey {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t, ok := c.byPointer[candidate]; ok {
		return t
	}
	var key any = candidate
	if v := reflect.ValueOf(candidate.Source); !v.IsValid() {
		key = nil // Anonymous.
	} else if v.Type().Comparable() && v.Comparable() { // The type alone is faster to check, and usually decides.
		key = candidate.Source
	}
	h := c.sources[key]
	if h == nil {
		h = &sourceCache{lock: make(chan struct{}, 1)}
		h.lock <- struct{}{}
		c.sources[key] = h
	}
	way := c.session.c.transportOf(candidate)
	t := candidateKey{h, transportKey{way.Fingerprint(), way.Egress}}
	c.byPointer[candidate] = t
	return t
}

// authorizer returns the authorizer of the credential at the origin. It remembers the last one, because making the key
// of an authorizer dominates the cost of a check.
func (h *sourceCache) authorizer(o *origin, credential credentials.Credential, rules *runtimeRules) *authorizer {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.last == nil || h.last.o != o || h.last.rules != rules || !h.last.credential.Equal(credential) {
		h.last = o.authorizer(credential, rules)
	}
	return h.last
}

func (h *sourceCache) enter(ctx context.Context) error {
	select {
	case <-h.lock:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (h *sourceCache) leave() { h.lock <- struct{}{} }

// get returns the credential of the candidate.
func (h *sourceCache) get(ctx context.Context, candidate *Candidate) (credentials.Credential, error) {
	if candidate.Source == nil {
		return credentials.Credential{Anonymous: true}, nil
	}
	if err := h.enter(ctx); err != nil {
		return credentials.Credential{}, err
	}
	defer h.leave()
	if !h.fetched || h.credential.Expired(time.Now()) {
		h.credential, h.err = fetch(ctx, candidate.Source)
		h.fetched = ctx.Err() == nil // If this caller was canceled, its failure does not count for the others.
	}
	return h.credential, h.err
}

// errNoOther reports that a candidate has no credential other than the rejected one.
var errNoOther = errors.New("no other credential")

// replace returns another credential after one was rejected, if there is one: the credential that another image's check
// got, or else a new one. It calls OnRejected at most once.
func (h *sourceCache) replace(
	ctx context.Context, candidate *Candidate, refused credentials.Credential,
) (credentials.Credential, error) {
	if candidate.Source == nil || candidate.OnRejected == nil || h.enter(ctx) != nil {
		return credentials.Credential{}, errNoOther
	}
	defer h.leave()
	if !h.credential.Equal(refused) {
		return h.credential, h.err
	}
	if h.renewed {
		return credentials.Credential{}, errNoOther
	}
	h.renewed = true
	if err := panics.Call("Candidate.OnRejected", func() error { candidate.OnRejected(refused); return nil }); err != nil {
		return credentials.Credential{}, err
	}
	next, err := fetch(ctx, candidate.Source)
	if err == nil && next.Equal(refused) {
		err = errNoOther
	}
	if err != nil {
		return credentials.Credential{}, err
	}
	h.credential = next
	return next, nil
}

const hintPanic = "fix this function of the program"

// fetch calls the source and enforces its contract: the credential must be usable.
func fetch(ctx context.Context, source credentials.Source) (c credentials.Credential, err error) {
	err = panics.Call("Candidate.Source", func() (err error) {
		c, err = source.Credential(ctx)
		return err
	})
	if err == nil {
		err = c.Validate(time.Now())
	}
	if err != nil {
		return credentials.Credential{}, err
	}
	return c, nil
}

// sourceError returns the verdict if the source has no credential.
func sourceError(ctx context.Context, err error) *registry.Error {
	e := &registry.Error{Code: registry.CodeOf(err), Err: err}
	if inner, ok := errors.AsType[*registry.Error](err); ok {
		e.Hint, e.Wait = inner.Hint, inner.RetryAfter()
		return e
	}
	switch {
	case ctx.Err() != nil:
		return canceled(ctx)
	case errors.Is(err, credentials.ErrCredentialExpired):
		e.Code = registry.ErrExpired
	case errors.Is(err, credentials.ErrEmpty), errors.Is(err, credentials.ErrImplausibleDates):
		e.Code, e.Hint = registry.ErrInvalid, "fix the source of this credential"
	}
	return e
}

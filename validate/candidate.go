package validate

import (
	"context"
	"errors"
	"reflect"
	"sync"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
)

// A call is one call of a [Checker]: a session, and the credentials that its candidates have.
type call struct {
	*session
	mu        sync.Mutex
	held      map[any]*holder // By source.
	byPointer map[*Candidate]tried
	wanted    map[wantKey]*want
}

// tried is what a candidate is told apart by, which is made once, for it costs more than all else here.
type tried struct {
	*holder
	way credentials.Fingerprint
}

func (c *Checker) call() *call {
	return &call{session: c.session(), held: make(map[any]*holder), byPointer: make(map[*Candidate]tried)}
}

// A want is the repositories of a registry that a candidate will be tried on.
type want struct {
	mu           sync.Mutex
	seen         map[string]bool
	repositories []string
	planned      map[*account]bool
}

type wantKey struct {
	tried tried
	host  string
}

// want notes that the candidate will be tried on the repository. It is called before the first try.
func (c *call) want(candidate *Candidate, image registry.Image) {
	key := wantKey{c.tried(candidate), image.Host}
	w := c.wanted[key]
	if w == nil {
		w = &want{seen: make(map[string]bool), planned: make(map[*account]bool)}
		if c.wanted == nil {
			c.wanted = make(map[wantKey]*want)
		}
		c.wanted[key] = w
	}
	if !w.seen[image.Repository] {
		w.seen[image.Repository] = true
		w.repositories = append(w.repositories, image.Repository)
	}
}

// plan tells the account what the candidate will be tried on.
func (c *call) plan(a *account, of tried, host string) {
	w := c.wanted[wantKey{of, host}]
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.planned[a] {
		w.planned[a] = true
		a.plan(w.repositories)
	}
}

// same reports whether two lists of candidates are one and the same.
func (c *call) same(a, b []Candidate) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		x, y := &a[i], &b[i]
		if x.Name != y.Name || c.tried(x) != c.tried(y) {
			return false
		}
	}
	return true
}

// A holder keeps the credential of a candidate for all images of a call.
type holder struct {
	turn       chan struct{} // Holds one element while nobody asks the source.
	asked      bool
	credential credentials.Credential
	err        error
	renewed    bool

	mu   sync.Mutex
	last *account
}

// tried returns that of the candidate. Candidates with the same source share a holder; where sources cannot be
// compared, those that are one and the same element of a slice do.
func (c *call) tried(candidate *Candidate) tried {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t, ok := c.byPointer[candidate]; ok {
		return t
	}
	var key any = candidate
	if v := reflect.ValueOf(candidate.Source); !v.IsValid() {
		key = nil // Anonymous.
	} else if v.Type().Comparable() && v.Comparable() { // The type alone is quicker, and mostly says it.
		key = candidate.Source
	}
	h := c.held[key]
	if h == nil {
		h = &holder{turn: make(chan struct{}, 1)}
		h.turn <- struct{}{}
		c.held[key] = h
	}
	t := tried{h, candidate.Transport.Fingerprint()}
	c.byPointer[candidate] = t
	return t
}

// account returns that of the credential at the origin. It remembers the last one, for making the key of an account
// costs more than all else here.
func (h *holder) account(o *origin, credential credentials.Credential) *account {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.last == nil || h.last.o != o || !h.last.credential.Equal(credential) {
		h.last = o.account(credential)
	}
	return h.last
}

func (h *holder) enter(ctx context.Context) error {
	select {
	case <-h.turn:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (h *holder) leave() { h.turn <- struct{}{} }

// get returns the credential of the candidate.
func (h *holder) get(ctx context.Context, candidate *Candidate) (credentials.Credential, error) {
	if candidate.Source == nil {
		return credentials.Credential{Anonymous: true}, nil
	}
	if err := h.enter(ctx); err != nil {
		return credentials.Credential{}, err
	}
	defer h.leave()
	if !h.asked || h.credential.Expired(time.Now()) {
		h.credential, h.err = fetch(ctx, candidate.Source)
		h.asked = ctx.Err() == nil // What failed because this caller left says nothing to the others.
	}
	return h.credential, h.err
}

// replace returns another credential after one was refused, if there is one: that which another image's check was
// given, or else a new one. It tells Refused once.
func (h *holder) replace(
	ctx context.Context, candidate *Candidate, refused credentials.Credential,
) (credentials.Credential, bool) {
	if candidate.Source == nil || candidate.Refused == nil || h.enter(ctx) != nil {
		return credentials.Credential{}, false
	}
	defer h.leave()
	if !h.credential.Equal(refused) {
		return h.credential, h.err == nil
	}
	if h.renewed {
		return credentials.Credential{}, false
	}
	h.renewed = true
	candidate.Refused(refused)
	next, err := fetch(ctx, candidate.Source)
	if err != nil || next.Equal(refused) {
		return credentials.Credential{}, false
	}
	h.credential = next
	return next, true
}

// fetch asks the source, and holds it to its contract: what is handed out can be used.
func fetch(ctx context.Context, source credentials.Source) (credentials.Credential, error) {
	c, err := source.Credential(ctx)
	if err == nil {
		err = c.Validate(time.Now())
	}
	if err != nil {
		return credentials.Credential{}, err
	}
	return c, nil
}

// sourceError is the verdict where there is no credential to try.
func sourceError(ctx context.Context, err error) *registry.Error {
	e := &registry.Error{Code: registry.CodeOf(err), Err: err}
	if inner, ok := errors.AsType[*registry.Error](err); ok {
		e.Hint, e.Wait = inner.Hint, inner.Wait
		return e
	}
	switch {
	case ctx.Err() != nil:
		return canceled(ctx)
	case errors.Is(err, credentials.ErrExpired):
		e.Code = registry.ErrExpired
	case errors.Is(err, credentials.ErrEmpty), errors.Is(err, credentials.ErrImplausibleDates):
		e.Code, e.Hint = registry.ErrInvalid, "mend the source of this credential"
	}
	return e
}

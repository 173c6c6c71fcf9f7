package validate

import (
	"slices"
	"sync"

	"github.com/regcred/regcred/registry"
)

// A trace gathers the exchanges that one attempt is based on.
type trace struct {
	mu        sync.Mutex
	exchanges []Exchange
	warnings  []string
	limit     RateLimit
	retried   []int           // The statuses after which a request for a manifest was repeated.
	targets   []string        // The targets of redirects that sent a Basic challenge and to which the login was sent.
	sent      []authorization // What was sent.
	shared    []any           // The owners of the shared exchanges in it.
	seen      observation
	requests  int
	entries   int   // The entries of indexes that were visited.
	bytes     int64 // Of the bodies that were read.
}

const (
	// maxRequests bounds the requests that a check of one image, or a page of a list, may send with one candidate. The
	// largest honest images have some dozens of platforms with some dozens of layers.
	maxRequests = 4096
	// maxVisits bounds the entries of indexes that a check of one image may visit. Indexes that share their entries
	// cause more visits than requests: nine indexes with 256 entries each, all of which name the next index, describe
	// 256^8 images.
	maxVisits = 1 << 16
	// maxBytes bounds the manifests and configs of one image together, because a check holds them in memory until it ends.
	maxBytes = 128 << 20
)

// spend takes one request from the budget.
func (t *trace) spend() *registry.Error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.requests++
	return t.exhausted()
}

// visit takes entries of an index from the budget.
func (t *trace) visit(entries int) *registry.Error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.entries += entries
	return t.exhausted()
}

// received takes the bytes of a body from the budget. The next request or visit fails if none are left.
func (t *trace) received(bytes int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.bytes += int64(bytes)
}

// exhausted returns the verdict on an image whose check takes more than the budget; nil if some is left. Its caller
// locks t.mu.
func (t *trace) exhausted() *registry.Error {
	switch {
	case t.entries > maxVisits:
		e := errorf(registry.ErrTooLarge, "the image consists of more than a check reads: its indexes have over %d entries", maxVisits)
		e.Hint = "push an index that names its images directly; such an image is probably an attack"
		return e
	case t.bytes > maxBytes:
		e := errorf(registry.ErrTooLarge, "the image consists of more than a check reads: its manifests and configs have over %d MiB", maxBytes>>20)
		e.Hint = "check fewer platforms (Checker.Platforms); such an image is probably an attack"
		return e
	case t.requests <= maxRequests:
		return nil
	}
	e := errorf(registry.ErrTooLarge, "the image consists of more than a check requests: it would take over %d requests", maxRequests)
	e.Hint = "check fewer platforms (Checker.Platforms) or not every layer (Checker.Deep); such an image is probably an attack"
	return e
}

func (t *trace) add(list ...Exchange) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.exchanges = append(t.exchanges, list...)
}

// noteSent records an authorization that was sent.
func (t *trace) noteSent(auth authorization) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !slices.ContainsFunc(t.sent, func(a authorization) bool { return a.value.Equal(auth.value) && a.password.Equal(auth.password) }) {
		t.sent = append(t.sent, auth)
	}
}

// share adds shared exchanges and warnings, once for each owner.
func (t *trace) share(of any, list []Exchange, warnings []string) {
	t.mu.Lock()
	seen := slices.Contains(t.shared, of)
	if !seen {
		t.shared = append(t.shared, of)
		t.exchanges = append(t.exchanges, list...)
	}
	t.mu.Unlock()
	for _, w := range warnings {
		t.warn(w)
	}
}

func (t *trace) warn(text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !slices.Contains(t.warnings, text) {
		t.warnings = append(t.warnings, text)
	}
}

// logInAt records targets of redirects that sent a Basic challenge and to which the login was sent.
func (t *trace) logInAt(targets ...string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, target := range targets {
		if !slices.Contains(t.targets, target) {
			t.targets = append(t.targets, target)
		}
	}
}

// logsInAt reports whether the target of a redirect has sent a Basic challenge before and the login was sent to it.
func (t *trace) logsInAt(target string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Contains(t.targets, target)
}

func (t *trace) retry(statuses ...int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.retried = append(t.retried, statuses...)
}

func (t *trace) setRateLimit(limit RateLimit) {
	if limit.Limit > 0 {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.limit = limit
	}
}

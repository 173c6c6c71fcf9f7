package validate

import (
	"context"
	"sync"
	"time"

	"github.com/regcred/regcred/registry"
)

// A session is what one call learns about registries, or several calls within [Checker.CacheFor]. Nothing of it is
// about images whose verdict is still open.
type session struct {
	c          *Checker
	born       time.Time
	slots      chan struct{} // Checker.Concurrency.
	transports *registry.Transports

	mu      sync.Mutex
	origins map[originKey]*origin
	known   map[knownKey]facts // With Checker.CacheFor.
}

// maxOrigins and maxKnown bound what a session keeps between calls.
const (
	maxOrigins = 1 << 12
	maxKnown   = 1 << 16
)

func (c *Checker) session() *session {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.current; s != nil && c.CacheFor > 0 && time.Since(s.born) < c.CacheFor && s.roomy() {
		return s
	}
	s := &session{
		c:          c,
		born:       time.Now(),
		slots:      make(chan struct{}, c.concurrency()),
		transports: c.Transports,
		origins:    make(map[originKey]*origin),
	}
	if s.transports == nil {
		if c.own == nil {
			c.own = &registry.Transports{MaxConnsPerHost: c.perRegistry()}
		}
		s.transports = c.own
	}
	if c.CacheFor > 0 {
		s.known = make(map[knownKey]facts)
		c.current = s
	}
	return s
}

func (s *session) roomy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.origins) < maxOrigins && len(s.known) < maxKnown
}

// A knownKey is an image by its digest, and who asked for it.
type knownKey struct {
	account    *account
	repository string
	digest     string
}

// turns bounds how many requests are under way to each host, over all calls: a call that waits for a connection would
// lose the time of its request.
type turns struct {
	mu sync.Mutex
	of map[string]chan struct{}
}

func (t *turns) at(host string, n int) chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	slots := t.of[host]
	if slots == nil {
		if t.of == nil || len(t.of) >= maxOrigins {
			t.of = make(map[string]chan struct{})
		}
		slots = make(chan struct{}, n)
		t.of[host] = slots
	}
	return slots
}

// A cell holds one value that many need and one fetches. Who comes first fetches, under a context of its own; the
// others wait, each as long as its own context lasts. If the one that fetches leaves, the next takes over, so that
// nobody fails because another was canceled.
type cell[T perishable] struct {
	turn  chan struct{} // Has room while nobody fetches.
	value T
}

// A perishable can be used as long as it is fresh.
type perishable interface{ fresh() bool }

func newCell[T perishable]() cell[T] { return cell[T]{turn: make(chan struct{}, 1)} }

// get returns the value, from fetch if there is no good one.
func (c *cell[T]) get(ctx context.Context, fetch func() T) (T, error) {
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		var zero T
		return zero, context.Cause(ctx)
	}
	defer func() { <-c.turn }()
	if !c.value.fresh() {
		c.value = fetch()
	}
	return c.value, nil
}

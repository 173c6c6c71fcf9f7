package validate

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/regcred/regcred/registry"
)

// A session holds the knowledge about registries that one call, or several calls within [Checker.CacheFor], share.
type session struct {
	c          *Checker
	created    time.Time
	slots      chan struct{} // As many as Checker.Concurrency.
	transports *registry.Transports

	entries    atomic.Int64 // The logins of all registries, and the scopes for which they have tokens or challenges.
	tokenBytes atomic.Int64 // Of all tokens that were issued.

	mu      sync.Mutex
	origins map[originKey]*origin
	images  map[imageKey]imageInfo // With Checker.CacheFor.
}

// These bound the content of a session between calls. A session that has more is replaced.
const (
	maxOrigins    = 1 << 12
	maxKnown      = 1 << 16
	maxTokenBytes = 16 << 20
)

func (c *Checker) session() *session {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.current; s != nil && c.CacheFor > 0 && time.Since(s.created) < c.CacheFor && s.hasCapacity() {
		return s
	}
	s := &session{
		c:          c,
		created:    time.Now(),
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
		s.images = make(map[imageKey]imageInfo)
		c.current = s
	}
	return s
}

func (s *session) hasCapacity() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.origins) < maxOrigins && len(s.images) < maxKnown && s.entries.Load() < maxKnown && s.tokenBytes.Load() < maxTokenBytes
}

// An imageKey identifies an image by its digest, and the credential that it was requested with.
type imageKey struct {
	authorizer *authorizer
	repository string
	digest     string
}

// hostSlots bounds the number of concurrent requests to each host in all calls. Otherwise a request would spend its
// time limit waiting for a connection.
type hostSlots struct {
	mu     sync.Mutex
	byHost map[string]chan struct{}
}

func (t *hostSlots) slots(host string, n int) chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	slots := t.byHost[host]
	if slots == nil {
		if t.byHost == nil || len(t.byHost) >= maxOrigins {
			t.byHost = make(map[string]chan struct{})
		}
		slots = make(chan struct{}, n)
		t.byHost[host] = slots
	}
	return slots
}

// A singleFlight holds a value that many callers need and one of them fetches. The first caller fetches it under its
// own context; the others wait, each until its own context ends. If the caller that fetches is canceled, the next one
// takes over, so that no caller fails because another was canceled.
type singleFlight[T cacheable] struct {
	turn  chan struct{} // Has room while no caller fetches.
	value T
}

// A cacheable value can be used as long as it is fresh.
type cacheable interface{ fresh() bool }

func newSingleFlight[T cacheable]() singleFlight[T] {
	return singleFlight[T]{turn: make(chan struct{}, 1)}
}

// get returns the value, and calls fetch if there is no fresh one.
func (c *singleFlight[T]) get(ctx context.Context, fetch func() T) (T, error) {
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

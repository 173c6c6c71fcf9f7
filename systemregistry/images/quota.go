package images

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
)

// quotas counts what the policies with a limit hold. It is exact when measured, and counts all that is uploaded in
// between: what the registry turns out to have already counts twice until then, so that a limit is never passed by
// much, and sometimes kept too early.
type quotas struct {
	mu    sync.Mutex
	rooms []*room
}

// room is one policy with a limit.
type room struct {
	policy Policy
	used   int64
	added  int64 // Of used, what was uploaded since it was last measured, or since the measurement that is under way began.
}

func newQuotas(policies []Policy) *quotas {
	q := new(quotas)
	for _, p := range policies {
		if p.MaxBytes > 0 {
			q.rooms = append(q.rooms, &room{policy: p})
		}
	}
	return q
}

// full returns [ErrFull] if a policy of the repository has no room left.
func (q *quotas) full(repository string) error { return q.add(repository, 0) }

// add counts n bytes for the repository, or returns [ErrFull] and counts none.
func (q *quotas) add(repository string, n int64) error {
	if len(q.rooms) == 0 {
		return nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, r := range q.rooms {
		if r.policy.matches(repository) && (r.used >= r.policy.MaxBytes || r.used+n > r.policy.MaxBytes) {
			return fmt.Errorf("%w: %d of %d bytes of %s", ErrFull, r.used, r.policy.MaxBytes, r.policy.Repositories)
		}
	}
	for _, r := range q.rooms {
		if r.policy.matches(repository) {
			r.used, r.added = r.used+n, r.added+n
		}
	}
	return nil
}

// begin starts a measurement; what is added from now on may be missed by it.
func (q *quotas) begin() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, r := range q.rooms {
		r.added = 0
	}
}

// measured ends a measurement.
func (q *quotas) measured(inv *inventory) {
	for _, r := range q.rooms {
		used := inv.usage(r.policy.matches)
		q.mu.Lock()
		r.used = used + r.added
		q.mu.Unlock()
	}
}

// Limited reports whether the repository has a limit on how much it holds.
func (c *Catalog) Limited(repository string) bool {
	return slices.ContainsFunc(c.quotas.rooms, func(r *room) bool { return r.policy.matches(repository) })
}

// Upload returns the body, which fails with [ErrFull] once more is read of it than there is room for in the repository.
// Size is the length that was announced, or -1: an upload that cannot fit is refused at once.
func (c *Catalog) Upload(repository string, size int64, body io.ReadCloser) (io.ReadCloser, error) {
	if size > 0 {
		if err := c.quotas.add(repository, size); err != nil {
			return nil, err
		}
		return body, nil // The server reads no more than was announced.
	}
	if err := c.quotas.full(repository); err != nil {
		return nil, err
	}
	return &countedBody{body, c.quotas, repository}, nil
}

type countedBody struct {
	io.ReadCloser
	quotas     *quotas
	repository string
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		if full := b.quotas.add(b.repository, int64(n)); full != nil {
			return 0, full
		}
	}
	return n, err
}

// Measure counts anew how much the repositories of policies with a limit hold. The server calls it at its start and now
// and then.
func (c *Catalog) Measure(ctx context.Context) error {
	if len(c.quotas.rooms) == 0 {
		return nil
	}
	c.quotas.begin()
	inv, err := c.inventory(ctx)
	if err != nil {
		return err
	}
	c.quotas.measured(inv)
	return nil
}

// Usage returns how many bytes the repositories hold together whose names match; what they share counts once.
func (c *Catalog) Usage(ctx context.Context, matches func(repository string) bool) (int64, error) {
	inv, err := c.inventory(ctx)
	if err != nil {
		return 0, err
	}
	return inv.usage(matches), nil
}

func (inv *inventory) usage(matches func(string) bool) int64 {
	seen := make(map[digest.Digest]bool)
	var total int64
	for name, r := range inv.repositories {
		if !matches(name) {
			continue
		}
		for _, links := range []map[digest.Digest]time.Time{r.layers, r.manifests} {
			for d := range links {
				if !seen[d] {
					seen[d] = true
					total += inv.blobs[d].size
				}
			}
		}
	}
	return total
}

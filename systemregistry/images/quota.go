package images

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
)

// quotas counts what the policies with a limit hold: layers, manifests, and unfinished uploads. It is exact when
// measured. In between it counts each byte that is written before it is written, and takes off what turns out not to be
// kept, so that a limit is never passed. A layer that is stored already may count twice until it is
// measured again, which happens before anything is refused.
type quotas struct {
	mu    sync.Mutex
	rooms []*room

	// measuring has one token, for who measures.
	measuring chan struct{}
	// ended is the end of the last measurement, and took its duration.
	ended time.Time
	took  time.Duration
}

// room is one policy with a limit.
type room struct {
	policy Policy
	used   int64
	added  int64 // Of used, what the measurement that is under way may have missed, or more.
	begun  int64 // Of used, what is counted and may not be written yet.
}

func newQuotas(policies []Policy) *quotas {
	q := &quotas{measuring: make(chan struct{}, 1)}
	for _, p := range policies {
		if p.MaxBytes > 0 {
			q.rooms = append(q.rooms, &room{policy: p})
		}
	}
	return q
}

// of yields the policies that match the repository and not except, where this is not empty.
func (q *quotas) of(repository, except string) iter.Seq[*room] {
	return func(yield func(*room) bool) {
		for _, r := range q.rooms {
			if r.policy.matches(repository) && (except == "" || !r.policy.matches(except)) && !yield(r) {
				return
			}
		}
	}
}

// fits returns [ErrFull] if n more bytes do not fit into one of the policies, or if one holds too much already.
func (q *quotas) fits(repository, except string, n int64) error {
	for r := range q.of(repository, except) {
		if n > r.policy.MaxBytes-r.used {
			return fmt.Errorf("%w: %d of %d bytes of %s", ErrFull, r.used, r.policy.MaxBytes, r.policy.Repositories)
		}
	}
	return nil
}

// count counts n bytes in the policies, if they fit.
func (q *quotas) count(repository, except string, n int64) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := q.fits(repository, except, n); err != nil {
		return err
	}
	for r := range q.of(repository, except) {
		r.used, r.added = r.used+n, r.added+n
	}
	return nil
}

// reserve counts n bytes that are about to be written in one step. Done must be called with the result.
func (q *quotas) reserve(repository, except string, n int64) (done func(written bool), err error) {
	if err := q.count(repository, except, n); err != nil {
		return nil, err
	}
	q.begun(repository, except, n)
	return func(written bool) {
		q.begun(repository, except, -n)
		if !written {
			q.release(repository, except, n)
		}
	}, nil
}

func (q *quotas) begun(repository, except string, n int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for r := range q.of(repository, except) {
		r.begun += n
	}
}

// release takes off n bytes that were counted and are not kept. They stay in added: a measurement that is under way may
// have seen that they went, and not that they came.
func (q *quotas) release(repository, except string, n int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for r := range q.of(repository, except) {
		r.used = max(0, r.used-n)
	}
}

// stored notes that an upload of n bytes became a layer: a measurement that is under way may have looked for the layer
// before, and for the upload after that.
func (q *quotas) stored(repository string, n int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for r := range q.of(repository, "") {
		r.added += n
	}
}

// begin starts a measurement, once no other is under way. What is added from now on may be missed by it.
func (q *quotas) begin(ctx context.Context) error {
	select {
	case q.measuring <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, r := range q.rooms {
		r.added = r.begun
	}
	return nil
}

// end ends a measurement. Nil means that it failed.
func (q *quotas) end(inv *inventory, began time.Time) {
	defer func() { <-q.measuring }()
	if inv == nil {
		return
	}
	for _, r := range q.rooms {
		used := inv.usage(r.policy.matches)
		q.mu.Lock()
		r.used = used + r.added
		q.mu.Unlock()
	}
	q.mu.Lock()
	q.ended, q.took = time.Now(), time.Since(began)
	q.mu.Unlock()
}

// Limited reports whether the repository has a limit on how much it holds.
func (c *Catalog) Limited(repository string) bool {
	return slices.ContainsFunc(c.quotas.rooms, func(r *room) bool { return r.policy.matches(repository) })
}

// fits returns [ErrFull] if n more bytes do not fit.
func (c *Catalog) fits(ctx context.Context, repository string, n int64) error {
	return c.twice(ctx, func() error {
		c.quotas.mu.Lock()
		defer c.quotas.mu.Unlock()
		return c.quotas.fits(repository, "", n)
	})
}

// add counts n bytes that are about to be written, or returns [ErrFull].
func (c *Catalog) add(ctx context.Context, repository string, n int64) error {
	return c.twice(ctx, func() error { return c.quotas.count(repository, "", n) })
}

const (
	// Between two measurements that pushes cause, there are at least measurePause, and measureShare times what the last
	// one took, so that who pushes against a limit does not have the storage walked all the time.
	measurePause = time.Second
	measureShare = 20
	measureWait  = 10 * time.Second
)

// twice tries again after it has measured, if there was no room: what counts may have gone.
func (c *Catalog) twice(ctx context.Context, try func() error) error {
	if len(c.quotas.rooms) == 0 {
		return nil
	}
	c.quotas.mu.Lock()
	measured := !c.quotas.ended.IsZero()
	c.quotas.mu.Unlock()
	if !measured { // All that was there before this process started still counts for nothing.
		if err := c.measure(ctx, time.Unix(1, 0)); err != nil { // Any measurement will do, once one has ended.
			return err
		}
	}
	err := try()
	if !errors.Is(err, ErrFull) {
		return err
	}
	c.quotas.mu.Lock()
	due := time.Since(c.quotas.ended) >= max(measurePause, measureShare*c.quotas.took)
	c.quotas.mu.Unlock()
	if !due {
		return err
	}
	wait, cancel := context.WithTimeout(ctx, measureWait)
	defer cancel()
	if c.measure(wait, time.Now()) != nil {
		return err
	}
	return try()
}

// Measure counts again how much the repositories of policies with a limit hold. The server calls it at its start and now
// and then.
func (c *Catalog) Measure(ctx context.Context) error {
	if len(c.quotas.rooms) == 0 {
		return nil
	}
	if c.shared != nil {
		if err := c.shared.Measure(ctx); err != nil {
			return err
		}
	}
	return c.measure(ctx, time.Time{})
}

// measure measures, unless another measurement has ended after since.
func (c *Catalog) measure(ctx context.Context, since time.Time) error {
	if err := c.quotas.begin(ctx); err != nil {
		return fmt.Errorf("measure: %w", err)
	}
	c.quotas.mu.Lock()
	fresh := !since.IsZero() && c.quotas.ended.After(since)
	c.quotas.mu.Unlock()
	if fresh {
		c.quotas.end(nil, since)
		return nil
	}
	began := time.Now()
	inv, err := c.inventory(ctx)
	c.quotas.end(inv, began)
	return err
}

// Usage returns how many bytes the repositories hold together whose names match, unfinished uploads included; what they
// share counts once.
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
	for _, u := range inv.uploads {
		if matches(u.repository) {
			total += u.size
		}
	}
	return total
}

// layer returns the size of a layer that the repository has, or false.
func (c *Catalog) layer(ctx context.Context, repository, layer string) (int64, bool) {
	d, err := digest.Parse(layer)
	if err != nil {
		return 0, false
	}
	r, err := c.repository(ctx, repository)
	if err != nil {
		return 0, false
	}
	found, err := r.Blobs(ctx).Stat(ctx, d)
	return found.Size, err == nil
}

// MayMount reports whether there is room for the layer that a client wants to have from another repository: [ErrFull]
// if not. Its size counts. Done must be called, and releases the size if the layer was not mounted.
func (c *Catalog) MayMount(ctx context.Context, repository, from, layer string) (done func(mounted bool), err error) {
	if !c.Limited(repository) || c.Has(ctx, repository, layer) {
		return func(bool) {}, nil
	}
	size, ok := c.layer(ctx, from, layer)
	if !ok {
		return func(bool) {}, nil // Distribution will not find it either.
	}
	return c.reserve(ctx, repository, from, size)
}

func (c *Catalog) reserve(ctx context.Context, repository, except string, n int64) (done func(written bool), err error) {
	err = c.twice(ctx, func() error {
		done, err = c.quotas.reserve(repository, except, n)
		return err
	})
	return done, err
}

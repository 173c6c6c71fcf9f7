package catalog

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/regcred/regcred/systemregistry/images"
	"github.com/regcred/regcred/systemregistry/internal/shared"
)

// quotas tracks the usage of the policies with a limit: layers, manifests, tags and unfinished uploads, each with its
// overhead. It is for a storage that one process uses; replicas count in the store that they share, see package shared.
// It is exact after a measurement. Between measurements, it counts each byte before it is written, and subtracts bytes
// that are not kept, so that usage never exceeds a limit. A layer that is already stored may count twice until the next
// measurement, which takes place before any write is rejected.
type quotas struct {
	mu    sync.Mutex
	rooms []*room

	// measuring is a semaphore with one token, held during a measurement.
	measuring chan struct{}
	// ended is the end of the last measurement, and took its duration.
	ended time.Time
	took  time.Duration
}

// room is the usage of one policy with a limit.
type room struct {
	policy images.Policy
	used   int64
	added  int64 // Part of used that the measurement in progress may have missed; may be too high.
	begun  int64 // Part of used that is counted and may not be written yet.
}

func newQuotas(policies []images.Policy) *quotas {
	q := &quotas{measuring: make(chan struct{}, 1)}
	for _, p := range policies {
		if p.MaxBytes > 0 {
			q.rooms = append(q.rooms, &room{policy: p})
		}
	}
	return q
}

// of yields the policies that match the repository. If except is not empty, it skips those that match except.
func (q *quotas) of(repository, except string) iter.Seq[*room] {
	return func(yield func(*room) bool) {
		for _, r := range q.rooms {
			if matches(r.policy, repository) && (except == "" || !matches(r.policy, except)) && !yield(r) {
				return
			}
		}
	}
}

// fits fails with [images.ErrQuotaExceeded] if n more bytes exceed the limit of a policy, or if one is exceeded already.
func (q *quotas) fits(repository, except string, n int64) error {
	for r := range q.of(repository, except) {
		if n > r.policy.MaxBytes-r.used {
			return shared.Exceeded(r.used, r.policy.MaxBytes, n, r.policy.Repositories)
		}
	}
	return nil
}

// count adds n bytes to the usage of the policies if they fit.
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

// reserve counts n bytes that are about to be written in one step. The caller must call done with the result.
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

// release subtracts n counted bytes that are not kept. They stay in added, because a measurement in progress may have
// seen their removal but not their arrival.
func (q *quotas) release(repository, except string, n int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for r := range q.of(repository, except) {
		r.used = max(0, r.used-n)
	}
}

// stored records that an upload of n bytes became a layer. A measurement in progress may have missed the bytes: it may
// have looked for the layer before the change, and for the upload after it.
func (q *quotas) stored(repository string, n int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for r := range q.of(repository, "") {
		r.added += n
	}
}

// begin starts a measurement after any other has ended. The measurement may miss bytes that are added from now on.
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

// end ends a measurement. The inventory is nil if the measurement failed.
func (q *quotas) end(inv *inventory, began time.Time) {
	defer func() { <-q.measuring }()
	if inv == nil {
		return
	}
	for _, r := range q.rooms {
		used := inv.usage(func(name string) bool { return matches(r.policy, name) })
		q.mu.Lock()
		r.used = used + r.added
		q.mu.Unlock()
	}
	q.mu.Lock()
	q.ended, q.took = time.Now(), time.Since(began)
	q.mu.Unlock()
}

// Limited reports whether a policy limits the size of the repository.
func (c *Catalog) Limited(repository string) bool {
	return slices.ContainsFunc(c.policies, func(p images.Policy) bool { return p.MaxBytes > 0 && matches(p, repository) })
}

// fits fails with [images.ErrQuotaExceeded] if n more bytes do not fit.
func (c *Catalog) fits(ctx context.Context, repository string, n int64) error {
	if c.shared != nil {
		return c.shared.Fits(ctx, repository, n)
	}
	return c.twice(ctx, func() error {
		c.quotas.mu.Lock()
		defer c.quotas.mu.Unlock()
		return c.quotas.fits(repository, "", n)
	})
}

// add counts n bytes that are about to be written, or fails with [images.ErrQuotaExceeded].
func (c *Catalog) add(ctx context.Context, repository string, n int64) error {
	return c.twice(ctx, func() error { return c.quotas.count(repository, "", n) })
}

const (
	// Measurements that pushes cause are at least measurePause apart, and at least measureShare times the duration of
	// the last one, so that a client that pushes against a limit does not cause constant walks of the storage.
	measurePause = time.Second
	measureShare = 20
	measureWait  = 10 * time.Second
)

// twice calls try again after a measurement if there was no room, because counted data may have been removed.
func (c *Catalog) twice(ctx context.Context, try func() error) error {
	if len(c.quotas.rooms) == 0 {
		return nil
	}
	c.quotas.mu.Lock()
	measured := !c.quotas.ended.IsZero()
	c.quotas.mu.Unlock()
	if !measured { // Data from before the start of this process is not counted yet.
		if err := c.measure(ctx, time.Unix(1, 0)); err != nil { // Any completed measurement will do.
			return err
		}
	}
	err := try()
	if !errors.Is(err, images.ErrQuotaExceeded) {
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

// Measure measures the usage of all policies with a limit. The server calls it at its start and periodically.
func (c *Catalog) Measure(ctx context.Context) error {
	if c.shared != nil {
		return c.shared.Measure(ctx)
	}
	if len(c.quotas.rooms) == 0 {
		return nil
	}
	return c.measure(ctx, time.Time{})
}

// measure measures the usage, unless another measurement has ended after since.
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

func (inv *inventory) usage(matches func(string) bool) int64 {
	seen := make(map[digest.Digest]bool)
	var total int64
	for name, r := range inv.repositories {
		if !matches(name) {
			continue
		}
		total += shared.Overhead(name) * int64(len(r.layers)+len(r.manifests)+len(r.tags))
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

// layer returns the size of a layer of the repository, or false if the repository does not have it.
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

// MayStart fails with [images.ErrQuotaExceeded] if there is no room for the link of a layer that a client mounts from
// another repository, or for an upload that it starts. If layer is empty, it mounts none. MayStart counts the link or
// upload, and the size of the layer. The caller must call done, which releases what was not kept: after a mount, or after
// it has started an upload with [Catalog.Started], or neither.
func (c *Catalog) MayStart(ctx context.Context, repository, from, layer string) (done func(mounted, started bool), err error) {
	if !c.Limited(repository) {
		return func(bool, bool) {}, nil
	}
	size, had := int64(0), false
	if layer != "" {
		if had = c.Has(ctx, repository, layer); !had {
			size, _ = c.layer(ctx, from, layer) // If it does not exist, distribution starts an upload.
		}
	}
	overhead := shared.Overhead(repository)
	if c.shared != nil { // Counted when the link is written, or by Started.
		return func(bool, bool) {}, c.shared.Fits(ctx, repository, overhead+size)
	}
	entry, err := c.reserve(ctx, repository, "", overhead)
	if err != nil {
		return nil, err
	}
	data, err := c.reserve(ctx, repository, from, size)
	if err != nil {
		entry(false)
		return nil, err
	}
	return func(mounted, started bool) {
		data(mounted)
		entry(mounted && !had || started)
	}, nil
}

func (c *Catalog) reserve(ctx context.Context, repository, except string, n int64) (done func(written bool), err error) {
	if c.shared != nil { // The bytes are counted when the link is written.
		return func(bool) {}, c.shared.Fits(ctx, repository, n)
	}
	err = c.twice(ctx, func() error {
		done, err = c.quotas.reserve(repository, except, n)
		return err
	})
	return done, err
}

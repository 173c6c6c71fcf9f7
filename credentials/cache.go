package credentials

import (
	"context"
	"fmt"
	"hash/maphash"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/regcred/regcred/internal/option"
)

// A Cache keeps the credentials of many sources fresh.
//
// A credential is fresh, stale (usable, and due for renewal), or expired.
//
//   - While it is fresh or stale, every caller gets it without waiting. The first caller that finds it stale starts its
//     renewal, which runs in the background.
//   - If it is expired or missing, callers share a single call to the source. Each waits for it no longer than its own
//     context lasts.
//   - An expired credential is never returned. Expiry is judged by the wall clock or the monotonic clock, whichever is
//     later, so that neither a suspended machine nor a clock that is set back extends it. Credentials from an issuer
//     are checked; see [Credential.Validate].
//   - There is one call per key at a time. It is bounded by Timeout, has the values of its caller's context but not its
//     cancellation, and is retried with backoff if it fails; see [Policy] and [BackoffError].
//
// Code that needs the credential of one key often should bind its source with [Cache.Source]. [Cache.Run] renews
// credentials before callers need them.
//
// The zero Cache is ready to use. Set its fields before the first use, and do not copy it. All methods are safe for
// concurrent use. It starts goroutines only for calls to issuers.
type Cache struct {
	// Policy determines when a credential is renewed.
	Policy Policy

	// Timeout bounds one call to an issuer. Zero means 30 seconds.
	Timeout time.Duration

	// Rate is the number of calls per second to one issuer for one scope (see [Key]), and Burst the number of calls
	// that may start at once after an idle period. Calls with waiting callers take precedence over background renewals.
	// Zero means 20 and 200, which are the limits of AWS ECR. If several processes share an issuer's limit, give each
	// process a part of it. A negative Rate means no limit.
	Rate  float64
	Burst int

	// MaxEntries is the maximum number of keys. Beyond it, the cache evicts a key that was not used recently. Zero
	// means 100,000.
	MaxEntries int

	// Concurrency is the maximum number of renewals that [Cache.Run] has in flight. Zero means 16.
	Concurrency int

	// Hooks are called on the cache's events.
	Hooks Hooks

	once  sync.Once
	start time.Time             // The origin of the monotonic clock.
	table atomic.Pointer[table] // Read without a lock.

	mu     sync.Mutex
	due    schedule
	paces  map[paceKey]*pace
	runner *runner // Nil if Run is not running.
}

func (c *Cache) init() {
	c.once.Do(func() {
		c.start = time.Now()
		c.table.Store(newTable(maphash.MakeSeed(), 0))
	})
}

// now reads both clocks. The cache must have been used before.
func (c *Cache) now() instant {
	t := time.Now()
	return instant{t.UnixNano(), int64(t.Sub(c.start))}
}

// Credential returns the credential for the key. If a new one is needed, Credential calls src. All sources that are
// used with the same key must be interchangeable.
//
// Credential returns the error of src, a [BackoffError] that wraps it, or an error that wraps [context.Cause] of ctx.
// It also fails if src is nil or panics.
func (c *Cache) Credential(ctx context.Context, key Key, src Source) (Credential, error) {
	if t := c.table.Load(); t != nil {
		if e, slot := t.find(&key); e != nil {
			if s := e.state.Load(); s != nil && s.fresh(c.now()) {
				slot.use()
				if c.Hooks.Hit != nil {
					c.Hooks.Hit(key)
				}
				return s.cred, nil
			}
		}
	}
	c.init()
	c.mu.Lock()
	e := c.entry(key)
	c.used(e, true)
	return c.ask(ctx, e, src)
}

// ask returns the credential for a caller that may have to wait. The caller must hold the mutex; ask unlocks it.
func (c *Cache) ask(ctx context.Context, e *entry, src Source) (Credential, error) {
	now := c.now()
	if s := e.usable(now); s != nil {
		if !s.fresh(now) && !e.busy() && src != nil {
			c.startCall(ctx, e, src, false)
		}
		c.mu.Unlock()
		if c.Hooks.Hit != nil {
			c.Hooks.Hit(e.key())
		}
		return s.cred, nil
	}
	if ctx.Err() != nil {
		c.mu.Unlock()
		return Credential{}, context.Cause(ctx)
	}
	if !e.busy() {
		if e.waits(now) {
			t := e.pending
			err := &BackoffError{Failures: t.failures, Until: time.Unix(0, now.wall+t.until-now.mono), Err: t.err}
			c.mu.Unlock()
			return Credential{}, err
		}
		if src == nil {
			c.mu.Unlock()
			return Credential{}, fmt.Errorf("credential of %s: source is nil", e.key())
		}
		c.startCall(ctx, e, src, true)
	}
	call := e.pending.call
	c.join(call)
	c.mu.Unlock()
	return c.wait(ctx, call)
}

// entry returns the entry of the key, and creates one if there is none. The mutex is held.
func (c *Cache) entry(key Key) *entry {
	t := c.table.Load()
	if e, _ := t.find(&key); e != nil {
		return e
	}
	if t.live >= option.OrDefault(c.MaxEntries, 100_000) {
		if old := t.victim(); old != nil {
			c.remove(old)
		}
	}
	if t.full() {
		t = t.moved()
		c.table.Store(t)
	}
	e := newEntry(key)
	t.add(e)
	return e
}

// used records whether a caller used the entry by its key; see [Cache.wanted]. The mutex is held.
func (c *Cache) used(e *entry, yes bool) {
	if slot := c.table.Load().at(e); yes {
		slot.use()
	} else {
		slot.unuse()
	}
}

// remove removes the entry. The mutex is held. Callers who wait for its call still get the result.
func (c *Cache) remove(e *entry) {
	if e.removed() {
		return
	}
	t := c.table.Load()
	t.at(e).remove()
	t.live--
	c.due.remove(e)
	e.place = removedPlace
	e.state.Store(nil) // Bound sources detect the removal by the nil state.
}

// Invalidate drops the credential for the key if it equals rejected, which is a credential that a registry rejected as
// invalid or no longer valid. The next caller gets a newly issued one. If new ones are rejected too, callers get a
// [BackoffError] with [ErrRejected] between attempts.
func (c *Cache) Invalidate(key Key, rejected Credential) {
	t := c.table.Load()
	if t == nil {
		return
	}
	if e, _ := t.find(&key); e != nil {
		c.invalidate(e, rejected)
	}
}

func (c *Cache) invalidate(e *entry, rejected Credential) {
	// Most calls of a storm of rejections return here, without the lock.
	if s := e.state.Load(); s == nil || !s.cred.Equal(rejected) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := e.state.Load(); s == nil || !s.cred.Equal(rejected) {
		return
	}
	e.state.Store(nil)
	now := c.now()
	t := e.ensurePending()
	if time.Duration(now.mono-t.refusedAt) > refusalMemory {
		t.refusals = 0
	}
	t.refusals++
	t.refusedAt = now.mono
	if rejected.IssuedAt.After(t.refused) {
		t.refused = rejected.IssuedAt
	}
	t.err = ErrRejected
	t.until = now.mono
	if t.refusals > 1 {
		t.until += int64(retryIn(t.refusals-1, 0, 0, 0, jitter()))
	}
	c.plan(e, c.due.source(e), now)
}

// Forget removes the key with its credential and history, unless a bound source holds it.
func (c *Cache) Forget(key Key) {
	c.init()
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, _ := c.table.Load().find(&key); e != nil && e.holders == 0 {
		c.remove(e)
	}
}

// A CachedSource is a [Source] whose credential a [Cache] keeps fresh. It keeps a pointer to its entry in the cache, so
// that a call with a fresh credential costs no more than reading the clock. Make one with [Cache.Source] for each
// profile, and keep it as long as the profile.
//
// It makes no call to the issuer before its first use. While it is held, its key is in use, so [Cache.Run] renews it.
// That ends with [CachedSource.Release], or when the CachedSource is garbage collected.
type CachedSource struct {
	cache *Cache
	entry atomic.Pointer[entry]
	lease *lease
}

// A lease keeps an entry held. It is separate from its CachedSource because it must outlive the CachedSource. It is
// guarded by the cache's mutex.
type lease struct {
	cache    *Cache
	entry    *entry
	key      Key
	src      Source
	released bool
}

// Source binds a source to its key, and returns the bound source.
func (c *Cache) Source(key Key, src Source) *CachedSource {
	c.init()
	s := &CachedSource{cache: c, lease: &lease{cache: c, key: key, src: src}}
	c.mu.Lock()
	defer c.mu.Unlock()
	s.take()
	runtime.AddCleanup(s, (*lease).drop, s.lease)
	return s
}

// take returns the entry of the source, and creates it if it was removed. The mutex is held.
func (s *CachedSource) take() *entry {
	l := s.lease
	if l.entry == nil || l.entry.removed() {
		l.entry = s.cache.entry(l.key)
		if !l.released {
			l.entry.holders++
		}
		s.entry.Store(l.entry)
	}
	return l.entry
}

// Credential returns the credential; see [Cache.Credential].
func (s *CachedSource) Credential(ctx context.Context) (Credential, error) {
	e := s.entry.Load()
	if st := e.state.Load(); st != nil && st.fresh(s.cache.now()) {
		if s.cache.Hooks.Hit != nil {
			s.cache.Hooks.Hit(e.key())
		}
		return st.cred, nil
	}
	s.cache.mu.Lock()
	return s.cache.ask(ctx, s.take(), s.lease.src)
}

// Invalidate drops the credential that a registry rejected; see [Cache.Invalidate].
func (s *CachedSource) Invalidate(rejected Credential) {
	s.cache.invalidate(s.entry.Load(), rejected)
}

// Rebind changes the key and the source, for example after the profile was edited or its login rotated. The next caller
// gets the new credential. The old key is removed from the cache unless another bound source holds it. If the key is
// unchanged, only the source changes; a call in flight continues.
func (s *CachedSource) Rebind(key Key, src Source) {
	s.cache.mu.Lock()
	defer s.cache.mu.Unlock()
	l := s.lease
	l.src = src
	if key == l.key {
		e := s.take()
		s.cache.due.setSource(e, src)
		if e.busy() {
			e.pending.call.next = src
		}
		return
	}
	if !l.released {
		l.giveUp(true)
	}
	l.key, l.entry = key, nil
	s.take()
}

// Release ends the use of the key. The key is removed from the cache unless another bound source holds it. A released
// source still works, but no longer holds its key.
func (s *CachedSource) Release() {
	s.cache.mu.Lock()
	defer s.cache.mu.Unlock()
	if !s.lease.released {
		s.lease.released = true
		s.lease.giveUp(true)
	}
}

// drop ends the lease of a source that was garbage collected. The entry stays because callers may still use its key.
func (l *lease) drop() {
	l.cache.mu.Lock()
	defer l.cache.mu.Unlock()
	if !l.released {
		l.released = true
		l.giveUp(false)
	}
}

// giveUp releases the hold on the entry. The mutex is held.
func (l *lease) giveUp(remove bool) {
	if l.entry.removed() {
		return
	}
	l.entry.holders--
	if remove && l.entry.holders == 0 {
		l.cache.remove(l.entry)
	}
}

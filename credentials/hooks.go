package credentials

import (
	"time"
)

// Hooks are functions that a [Cache] calls. If a field is nil, no hook is called. Hooks are called from many
// goroutines, without a lock held. Callers who wait for a call continue only after its hooks return, so keep them
// short. To add hooks to a cache that may have some, use [Hooks.Join]: an assignment replaces them.
//
// If Issued, Failed or Expiring panics, the callers who wait for the call get an error; an issued credential stays in
// the cache.
type Hooks struct {
	// Hit is called when a caller gets a credential without waiting. It runs on the fast path, so it must be cheap: a
	// counter that all cores share costs more than the rest of that path.
	Hit func(Key)
	// Issued is called when an issuer has returned a credential.
	Issued func(Event)
	// Adopted is called when the cache has accepted a credential in [Cache.Adopt].
	Adopted func(Event)
	// Failed is called when a call to an issuer failed or returned an invalid credential.
	Failed func(Event)
	// Expiring is called after Failed if less than a twentieth of the lifetime is left, or less than a minute if the
	// time of issue is unknown. Unless a renewal succeeds, calls will soon fail.
	Expiring func(Event)
}

// Join returns Hooks that call h and then other.
func (h Hooks) Join(other Hooks) Hooks {
	return Hooks{
		Hit:      join2(h.Hit, other.Hit),
		Issued:   join2(h.Issued, other.Issued),
		Adopted:  join2(h.Adopted, other.Adopted),
		Failed:   join2(h.Failed, other.Failed),
		Expiring: join2(h.Expiring, other.Expiring),
	}
}

func join2[T any](f, g func(T)) func(T) {
	if f == nil || g == nil {
		if f == nil {
			return g
		}
		return f
	}
	return func(v T) { f(v); g(v) }
}

// An Event is the result of a call to an issuer. It holds no secret.
type Event struct {
	Key Key
	// Took is the duration of the call.
	Took time.Duration
	// Err is the error of the call, or nil if it returned a credential.
	Err error
	// Failures is the number of consecutive failed calls, including this one.
	Failures int
	// IssuedAt and ExpiresAt are the times of the credential that callers get now. Both are zero if there is none; each
	// is zero if the issuer did not report it.
	IssuedAt, ExpiresAt time.Time
	// NextCall is the time of the next call to the issuer, on the clock of this machine. The zero time means that none
	// is due.
	NextCall time.Time

	expiring bool
}

// event returns the event of a finished call. The mutex is held.
func (c *Cache) event(k *call, now instant) Event {
	entry := c.describe(k.entry, now)
	return Event{
		Key: entry.Key, Took: time.Since(k.began), Err: k.err, Failures: entry.Failures,
		IssuedAt: entry.IssuedAt, ExpiresAt: entry.ExpiresAt, NextCall: entry.NextCall,
		expiring: k.err != nil && k.entry.expiring(now),
	}
}

// expiring reports whether the entry's credential is close to its expiry; see [Hooks].Expiring.
func (e *entry) expiring(now instant) bool {
	s := e.usable(now)
	if s == nil {
		return false
	}
	if s.life() == 0 {
		return s.left(now) <= time.Minute
	}
	return s.left(now) <= s.life()/lastResort
}

func (h *Hooks) call(e Event) {
	if e.Err == nil {
		if h.Issued != nil {
			h.Issued(e)
		}
		return
	}
	if h.Failed != nil {
		h.Failed(e)
	}
	if e.expiring && h.Expiring != nil {
		h.Expiring(e)
	}
}

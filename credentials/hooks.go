package credentials

import (
	"time"
)

// Hooks are functions that a [Cache] calls. Nil means that nobody wants to know. They are called by many goroutines,
// without a lock held; those who wait for a call go on after its hooks, so keep them short.
type Hooks struct {
	// Hit is called when a caller gets a credential without waiting. It is on the path of every caller: a counter that
	// all cores share makes that path slower than all the rest of it.
	Hit func(Key)
	// Issued is called when an issuer's credential has come.
	Issued func(Event)
	// Adopted is called when the cache has taken a credential by [Cache.Adopt].
	Adopted func(Event)
	// Failed is called when a call to an issuer failed, or its credential was no good.
	Failed func(Event)
	// Expiring is called after Failed where less than a twentieth of the lifetime is left, or less than a minute if it
	// is not known when the credential was issued: soon, callers will fail.
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

// An Event is the end of a call to an issuer. It holds no secret.
type Event struct {
	Key Key
	// Took is how long the issuer took.
	Took time.Duration
	// Err is nil if a credential came.
	Err error
	// Failures is how many calls failed in a row, this one included.
	Failures int
	// IssuedAt and ExpiresAt are those of the credential that callers get now. Both are zero if there is none; each is
	// zero if the issuer did not say.
	IssuedAt, ExpiresAt time.Time
	// NextCall is when the issuer is asked again. Zero means that there is no reason to.
	NextCall time.Time

	expiring bool
}

// event says how the call ended. The mutex is held.
func (c *Cache) event(k *call, now instant) Event {
	entry := c.describe(k.entry, now)
	return Event{
		Key: entry.Key, Took: time.Since(k.began), Err: k.err, Failures: entry.Failures,
		IssuedAt: entry.IssuedAt, ExpiresAt: entry.ExpiresAt, NextCall: entry.NextCall,
		expiring: k.err != nil && k.entry.expiring(now),
	}
}

// expiring reports whether little is left of the entry's credential.
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

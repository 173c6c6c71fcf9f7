package credentials

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// An Entry is the state of one key in a [Cache], for example for a status page. It holds no secret.
type Entry struct {
	Key Key
	// Usable reports whether callers get a credential without waiting.
	Usable bool
	// IssuedAt and ExpiresAt are the times of the credential, as reported by the issuer. The zero time means that the
	// issuer did not report it, or that there is no credential.
	IssuedAt, ExpiresAt time.Time
	// NextCall is the time of the next call to the issuer, on the clock of this machine, from which the issuer's clock
	// may differ; it is the single source for the time of the next renewal. While a call is in flight, it is the latest
	// time at which that call ends. The zero time means that no renewal is due.
	NextCall time.Time
	// Calling reports whether a call is in flight or waits for the rate limit.
	Calling bool
	// Failures is the number of consecutive failed calls, and LastError the error of the last one.
	Failures  int
	LastError error
	// Holders is the number of bound sources that hold the key.
	Holders int
}

// Snapshot returns the entries of the cache, sorted by the text of their keys.
func (c *Cache) Snapshot() []Entry {
	c.init()
	c.mu.Lock()
	now := c.now()
	t := c.table.Load()
	entries := make([]Entry, 0, t.live)
	for e := range t.all {
		entries = append(entries, c.describe(e, now))
	}
	c.mu.Unlock()
	slices.SortFunc(entries, func(a, b Entry) int { return compareKeys(a.Key, b.Key) })
	return entries
}

// Lookup returns the entry of one key, and whether the cache has one. It does not count as a use of the key.
func (c *Cache) Lookup(key Key) (Entry, bool) {
	c.init()
	c.mu.Lock()
	defer c.mu.Unlock()
	e, _ := c.table.Load().find(&key)
	if e == nil {
		return Entry{}, false
	}
	return c.describe(e, c.now()), true
}

// describe returns the public state of the entry. The mutex is held.
func (c *Cache) describe(e *entry, now instant) Entry {
	shown := Entry{Key: e.key(), Calling: e.busy(), Holders: int(e.holders)}
	if t := e.pending; t != nil {
		shown.Failures, shown.LastError = t.failures, t.err
		shown.NextCall = time.Unix(0, now.wall+max(0, t.until-now.mono))
	}
	if s := e.usable(now); s != nil {
		shown.Usable = true
		shown.IssuedAt, shown.ExpiresAt = s.cred.IssuedAt, s.cred.ExpiresAt
		shown.NextCall = time.Time{}
		if renew := s.renew.Load(); renew != never {
			shown.NextCall = time.Unix(0, now.wall+renew-s.at(now))
		}
	}
	if shown.Calling {
		began := e.pending.call.began
		if began.IsZero() { // It waits for the rate limit.
			began = time.Unix(0, now.wall)
		}
		shown.NextCall = began.Add(c.timeout())
	}
	return shown
}

func compareKeys(a, b Key) int {
	return cmp.Or(
		strings.Compare(a.String(), b.String()), // The readable text comes first.
		slices.Compare(a.Login[:], b.Login[:]), slices.Compare(a.Transport[:], b.Transport[:]),
	)
}

// ErrRejected reports that a [Cache] delays a call because registries keep rejecting the issuer's new credentials.
var ErrRejected = errors.New("new credentials are rejected like the one before")

// refusalMemory is the time after which a new rejection is unrelated to the one before. It is longer than the longest
// wait between two attempts.
const refusalMemory = 10 * time.Minute

// A BackoffError reports that there is no credential, and that the cache waits after a failure before the next call.
type BackoffError struct {
	// Failures is the number of consecutive failed calls.
	Failures int
	// Until is the time from which the issuer may be called again, if a caller needs the credential.
	Until time.Time
	// Err is the error of the last call, or [ErrRejected].
	Err error
}

// Error returns the last call's error and the time of the next attempt.
func (e *BackoffError) Error() string {
	return fmt.Sprintf("no new attempt before %s: %s", stamp(e.Until), e.Err)
}

// Unwrap returns Err.
func (e *BackoffError) Unwrap() error { return e.Err }

// RetryAfter returns the time left until Until, or zero.
func (e *BackoffError) RetryAfter() time.Duration { return max(0, time.Until(e.Until)) }

// retryAfter returns the wait that the issuer demands, or zero if it demands none.
func retryAfter(err error) time.Duration {
	var asks interface{ RetryAfter() time.Duration }
	if errors.As(err, &asks) {
		return max(0, asks.RetryAfter())
	}
	return 0
}

package credentials

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// An Entry is what a [Cache] shows of one key: for a status page. It holds no secret.
type Entry struct {
	Key Key
	// Usable says that there is a credential that callers get without waiting.
	Usable bool
	// IssuedAt and ExpiresAt are those of the credential, as the issuer told them. Zero means that it did not, or that
	// there is none.
	IssuedAt, ExpiresAt time.Time
	// NextCall is when the issuer is called next: the cache's one answer to the question when a renewal is due. While a
	// call is under way, it is when that call ends at the latest. Zero means that there is nothing to renew.
	NextCall time.Time
	// Calling says that a call is under way, or waits for its turn.
	Calling bool
	// Failures is how many calls failed in a row, and LastError is what the last one ended with.
	Failures  int
	LastError error
	// Holders is how many bound sources hold the key.
	Holders int
}

// Snapshot returns what is in the cache, sorted by the text of the keys.
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

// Lookup returns what is in the cache of one key, and whether anything is. It does not count as a use of the key.
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

// describe returns what is shown of the entry. The mutex is held.
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
			shown.NextCall = time.Unix(0, renew)
		}
	}
	if shown.Calling {
		began := e.pending.call.began
		if began.IsZero() { // It waits for its turn.
			began = time.Unix(0, now.wall)
		}
		shown.NextCall = began.Add(c.timeout())
	}
	return shown
}

func compareKeys(a, b Key) int {
	return cmp.Or(
		strings.Compare(a.String(), b.String()), // What one reads comes first.
		slices.Compare(a.Login[:], b.Login[:]), slices.Compare(a.Transport[:], b.Transport[:]),
	)
}

// ErrRefused is why a [Cache] does not ask an issuer at once: what it issues is refused again and again.
var ErrRefused = errors.New("new credentials are refused like the one before")

// refusalMemory is how far apart refusals are that have nothing to do with each other. It is longer than the longest
// wait between two of them.
const refusalMemory = 10 * time.Minute

// A BackoffError is what callers get while there is no credential and its issuer is left alone after a failure.
type BackoffError struct {
	// Failures is how many calls failed in a row.
	Failures int
	// Until is when the issuer is asked again, if someone wants it to be.
	Until time.Time
	// Err is what the last call ended with, or [ErrRefused].
	Err error
}

// Error returns the last call's error and when there will be another one.
func (e *BackoffError) Error() string {
	return fmt.Sprintf("no new attempt before %s: %s", stamp(e.Until), e.Err)
}

// Unwrap returns Err.
func (e *BackoffError) Unwrap() error { return e.Err }

// RetryAfter returns how long it is until Until.
func (e *BackoffError) RetryAfter() time.Duration { return max(0, time.Until(e.Until)) }

// retryAfter returns how long the issuer wants to be left alone; zero if it did not say.
func retryAfter(err error) time.Duration {
	var asks interface{ RetryAfter() time.Duration }
	if errors.As(err, &asks) {
		return max(0, asks.RetryAfter())
	}
	return 0
}

package credentials

import (
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/regcred/regcred/internal/option"
)

// A Policy determines when a credential is renewed. The zero Policy suits lifetimes from a minute to months.
type Policy struct {
	// Fraction is the part of the lifetime after which a credential may be renewed. Zero means 0.8.
	Fraction float64
	// Spread is the part of the lifetime, after Fraction, over which renewals are spread, so that credentials that were
	// issued together are not renewed together. Zero means 0.1; negative means none.
	Spread float64
	// Reserve is the minimum time left for retries, even if Fraction is not reached; but never more than half of the
	// lifetime. Zero means one minute; negative means none.
	Reserve time.Duration
}

// RenewAt returns the time at which a credential with these times of issue and expiry is due for renewal. The jitter,
// from 0 to 1, selects a time within the Spread. If expires is zero, RenewAt returns the zero time, which means never.
// If issued is zero, the lifetime is unknown, and it returns the expiry less the Reserve; a [Cache] counts the lifetime
// of such a credential from its arrival. RenewAt reads no clock.
//
// With the zero Policy:
//
//	lifetime   jitter 0   jitter 1   left for retries
//	60 s       24 s       30 s       30 s to 36 s
//	5 min      3 min 30   4 min      1 min to 1 min 30
//	15 min     12 min     13 min 30  1 min 30 to 3 min
//	1 h        48 min     54 min     6 min to 12 min
//	12 h       9 h 36     10 h 48    1 h 12 to 2 h 24
//	90 days    72 days    81 days    9 to 18 days
//	never      never      never
func (p Policy) RenewAt(issued, expires time.Time, jitter float64) time.Time {
	if expires.IsZero() {
		return time.Time{}
	}
	if issued.IsZero() {
		return expires.Add(-option.OrOff(p.Reserve, time.Minute))
	}
	life := max(0, expires.Sub(issued))
	part := func(f float64) time.Duration { return time.Duration(f * float64(life)) }
	fraction, spread := within01(option.OrDefault(p.Fraction, 0.8)), within01(option.OrOff(p.Spread, 0.1))
	reserve := min(option.OrOff(p.Reserve, time.Minute), life/2)
	latest := min(part(fraction+spread), life-reserve)
	earliest := max(0, latest-part(spread))
	return issued.Add(earliest + time.Duration(within01(jitter)*float64(latest-earliest)))
}

func within01(f float64) float64 { return min(max(0, f), 1) }

const (
	minWait = time.Second
	// The longest wait while callers have no credential.
	maxColdWait = time.Minute
	// The longest wait while a credential is usable. Without it, a credential that lives for months would be retried
	// only after days, and an outage of minutes would go unnoticed.
	maxRenewWait = 30 * time.Minute
	// The longest Retry-After of an issuer that is respected. A broken header must not block a key for good.
	maxRetryAfter = 15 * time.Minute
	// In the last twentieth of a credential's lifetime the issuer is called again in spite of its Retry-After: one more
	// rejected call costs less than an expired credential.
	lastResort = 20
)

// retryIn returns the wait after a failed call. While a credential is usable, the wait is a third of the remaining
// lifetime, so that retries become more frequent towards the expiry. Without a credential, the wait starts at one
// second and doubles. Jitter is from 0 to 1.
func retryIn(failures int, left, life, retryAfter time.Duration, jitter float64) time.Duration {
	retryAfter = min(retryAfter, maxRetryAfter)
	if left <= 0 {
		wait := min(minWait<<min(max(0, failures-1), 10), maxColdWait)
		return max(spreadOut(wait, jitter), retryAfter+time.Duration(jitter*float64(retryAfter)/4))
	}
	wait := max(minWait, spreadOut(min(left/3, maxRenewWait), jitter))
	untilLastResort := left - max(life, left)/lastResort
	if untilLastResort <= 0 {
		return wait
	}
	return min(max(wait, retryAfter), max(wait, untilLastResort))
}

// spreadOut returns a duration between 3/4 and 5/4 of d, selected by jitter.
func spreadOut(d time.Duration, jitter float64) time.Duration {
	return time.Duration((0.75 + jitter/2) * float64(d))
}

// A state is a cached credential with its own clock. All fields but renew are immutable, so that readers need no lock.
//
// Neither clock of a computer is reliable by itself. The wall clock may be set back, and may run behind the issuer's;
// the monotonic clock stops while the machine is suspended. So a credential is judged by the later of two clocks: the
// wall clock, and a clock that starts when the credential arrives, at the wall time or the time of issue, whichever is
// later, and then runs monotonically. The only possible error is that a credential ends too early.
type state struct {
	cred Credential
	// renew is the time until which callers just use the credential. At that time a renewal or its retry is due, or the
	// credential expires while a call is in flight. It is on the state's own clock, in nanoseconds since 1970, and
	// never after the expiry.
	renew atomic.Int64
	// ahead is the difference between the state's own clock and the monotonic clock.
	ahead int64
}

const never = math.MaxInt64

// An instant is one reading of both clocks: the wall clock in nanoseconds since 1970, and the monotonic clock in
// nanoseconds since the first use of the cache.
type instant struct{ wall, mono int64 }

// at returns the time on the state's own clock.
func (s *state) at(now instant) int64 { return max(now.wall, now.mono+s.ahead) }

// fresh reports whether the credential is usable and no renewal is due.
func (s *state) fresh(now instant) bool { return s.at(now) < s.renew.Load() }

// usable reports whether the credential is not expired.
func (s *state) usable(now instant) bool { return s.at(now) < s.end() }

// end returns the expiry in nanoseconds since 1970, as reported by the issuer, or never.
func (s *state) end() int64 {
	if s.cred.ExpiresAt.IsZero() {
		return never
	}
	return s.cred.ExpiresAt.UnixNano()
}

// left returns the remaining lifetime.
func (s *state) left(now instant) time.Duration { return time.Duration(s.end() - s.at(now)) }

// life returns the whole lifetime, or zero if it is unknown.
func (s *state) life() time.Duration {
	if s.cred.IssuedAt.IsZero() {
		return 0
	}
	return s.cred.ExpiresAt.Sub(s.cred.IssuedAt)
}

// maxLife is the longest accepted time until the expiry. Tokens that people create on a web page may last some years;
// anything longer is a wrong unit or a sentinel, and is reported as an error.
const maxLife = 10 * 366 * 24 * time.Hour

// newState checks a credential that an issuer returned at the time now.
func newState(c Credential, p Policy, now instant, jitter float64) (*state, error) {
	if err := c.Validate(time.Unix(0, now.wall)); err != nil {
		return nil, err
	}
	arrived := time.Unix(0, now.wall)
	if c.ExpiresAt.After(arrived.Add(maxLife)) {
		return nil, fmt.Errorf("%w: it expires only at %s", ErrImplausibleDates, stamp(c.ExpiresAt))
	}
	if c.IssuedAt.After(arrived) {
		arrived = c.IssuedAt
	}
	s := &state{cred: c, ahead: arrived.UnixNano() - now.mono}
	s.renew.Store(never)
	if c.ExpiresAt.IsZero() {
		return s, nil
	}
	issued := c.IssuedAt
	if issued.IsZero() {
		issued = arrived
	}
	due := p.RenewAt(issued, c.ExpiresAt, jitter)
	if !due.After(arrived) {
		// A source with a cache of its own returns the old credential until it makes a new one. Such a call is retried
		// like a failed one.
		due = arrived.Add(retryIn(1, c.ExpiresAt.Sub(arrived), 0, 0, jitter))
	}
	s.renew.Store(min(due.UnixNano(), s.end()))
	return s, nil
}

package credentials

import (
	"fmt"
	"math"
	"sync/atomic"
	"time"
)

// A state is a credential in a cache and what its clock is. All but renew is immutable, so that readers need no lock.
//
// No clock of a computer is to be trusted alone. The wall clock may be set back, and may run behind the issuer's; the
// monotonic clock stands still while the machine is suspended. So a credential is judged by the later of two: the wall
// clock, and a clock that is set when the credential arrives, to the wall's time or to the instant of issue if that is
// later, and then runs monotonically. It can only err by ending a credential too early.
type state struct {
	cred Credential
	// renew is until when callers have nothing to do but take it: renewal is due then, or tried again, or the
	// credential expires while a call is under way. It is on the state's own clock, in nanoseconds since 1970, and
	// never after the expiry.
	renew atomic.Int64
	// ahead is what the own clock is ahead of the monotonic one.
	ahead int64
}

const never = math.MaxInt64

// An instant is one reading of both clocks: the wall's nanoseconds since 1970, and the monotonic ones since the cache
// was first used.
type instant struct{ wall, mono int64 }

// at returns the time on the state's own clock.
func (s *state) at(now instant) int64 { return max(now.wall, now.mono+s.ahead) }

// fresh reports whether the credential is usable and nothing is to be done.
func (s *state) fresh(now instant) bool { return s.at(now) < s.renew.Load() }

// usable reports whether the credential is not expired.
func (s *state) usable(now instant) bool { return s.at(now) < s.end() }

// end returns the expiry on the state's own clock, which is the issuer's.
func (s *state) end() int64 {
	if s.cred.ExpiresAt.IsZero() {
		return never
	}
	return s.cred.ExpiresAt.UnixNano()
}

// left returns how long the credential is usable.
func (s *state) left(now instant) time.Duration { return time.Duration(s.end() - s.at(now)) }

// life returns the whole lifetime; zero if it is not known.
func (s *state) life() time.Duration {
	if s.cred.IssuedAt.IsZero() {
		return 0
	}
	return s.cred.ExpiresAt.Sub(s.cred.IssuedAt)
}

// The longest life that is believed. Tokens that people make in a web page may last some years; what is beyond is a
// wrong unit or a sentinel, and is better said than believed.
const maxLife = 10 * 366 * 24 * time.Hour

// newState judges what an issuer returned at the instant now.
func newState(c Credential, p Policy, now instant, jitter float64) (*state, error) {
	if err := c.Validate(time.Unix(0, now.wall)); err != nil {
		return nil, err
	}
	arrived := time.Unix(0, now.wall)
	if c.IssuedAt.After(arrived) {
		arrived = c.IssuedAt
	}
	if !c.ExpiresAt.IsZero() && c.ExpiresAt.Sub(arrived) > maxLife {
		return nil, fmt.Errorf("%w: it expires only at %s", ErrAbsurd, stamp(c.ExpiresAt))
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
		// A source that caches hands out an old credential again until it makes a new one. It is asked as one that
		// failed.
		due = arrived.Add(retryIn(1, c.ExpiresAt.Sub(arrived), 0, 0, jitter))
	}
	s.renew.Store(min(due.UnixNano(), s.end()))
	return s, nil
}

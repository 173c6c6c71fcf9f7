package credentials

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/regcred/regcred/internal/option"
	"github.com/regcred/regcred/internal/panics"
)

// A call is a request to an issuer. Many callers may wait for its result.
type call struct {
	entry *entry
	src   Source
	ctx   context.Context // The context of the caller who started it, without its cancellation.
	began time.Time       // Zero while it waits for the rate limit.
	done  chan struct{}   // Closed at the end; then cred and err are set.
	cred  Credential
	err   error

	// Guarded by the cache's mutex.
	next    Source // The source for the renewal. It is src, unless a bound source was rebound during the call.
	over    bool
	urgent  bool // It was queued among the calls that callers wait for.
	waiting int  // The number of callers.
	runner  *runner
}

func jitter() float64 { return rand.Float64() }

// startCall starts a call for the entry, which has none. The mutex is held.
func (c *Cache) startCall(ctx context.Context, e *entry, src Source, urgent bool) *call {
	k := &call{entry: e, src: src, next: src, ctx: context.WithoutCancel(ctx), done: make(chan struct{}), urgent: urgent}
	e.ensurePending().call = k
	if s := e.state.Load(); s != nil {
		s.renew.Store(s.end())
	}
	c.due.remove(e)
	c.pace(e.key()).add(k, urgent)
	return k
}

// join counts one more caller that waits for the call. The mutex is held.
func (c *Cache) join(k *call) {
	k.waiting++
	if !k.urgent && k.began.IsZero() {
		k.urgent = true
		c.pace(k.entry.key()).add(k, true)
	}
}

// wait returns the result of the call, or an error if ctx ends first.
func (c *Cache) wait(ctx context.Context, k *call) (Credential, error) {
	select {
	case <-k.done:
		if k.err != nil {
			return Credential{}, k.err
		}
		// The credential may have arrived some time ago.
		if err := k.cred.Validate(time.Now()); err != nil {
			return Credential{}, err
		}
		return k.cred, nil
	case <-ctx.Done():
		c.mu.Lock()
		k.waiting--
		if k.waiting == 0 && k.began.IsZero() && !k.over { // Drop it: no caller needs the result.
			c.end(k)
			if !k.entry.removed() {
				c.used(k.entry, false)
				c.plan(k.entry, k.next, c.now())
			}
		}
		c.mu.Unlock()
		return Credential{}, fmt.Errorf("wait for the credential of %s: %w", k.entry.key(), context.Cause(ctx))
	}
}

func (c *Cache) timeout() time.Duration { return option.OrDefault(c.Timeout, 30*time.Second) }

// issue calls the source. It runs in its own goroutine.
func (c *Cache) issue(k *call) {
	timeout := c.timeout()
	late := fmt.Errorf("issuer %s did not answer within %s: %w", k.entry.key(), timeout, context.DeadlineExceeded)
	ctx, cancel := context.WithTimeoutCause(k.ctx, timeout, late)
	defer cancel()
	// A source that ignores its context must not block the callers. It gets a little extra time to return by itself,
	// because its own error is more specific.
	patience := time.AfterFunc(timeout+timeout/16, func() { c.finish(k, Credential{}, late) })
	defer patience.Stop()

	cred, err := Credential{}, errors.New("source ended its goroutine") // Stays if the source calls runtime.Goexit.
	defer func() {
		if value := recover(); value != nil {
			cred, err = Credential{}, fmt.Errorf("issuer %s: %w", k.entry.key(), panics.Error("source", value))
		}
		c.finish(k, cred, err)
	}()
	cred, err = k.src.Credential(ctx)
}

// finish stores the result of a call. Only the first invocation has an effect.
func (c *Cache) finish(k *call, cred Credential, err error) {
	c.mu.Lock()
	if k.over {
		c.mu.Unlock()
		return
	}
	now := c.now()
	var s *state
	if err == nil {
		if s, err = newState(cred, c.Policy, now, jitter()); err != nil {
			err = fmt.Errorf("issuer %s: %w", k.entry.key(), err)
		}
	}
	c.end(k)
	e := k.entry
	if err == nil {
		k.cred = cred
		if !e.removed() {
			e.state.Store(s)
			e.clearFailures()
		}
	} else {
		k.err = err
		c.fail(e, err, now)
	}
	event := c.event(k, now)
	if !e.removed() {
		// After a failed call, the entry keeps its used flag while it has a credential, because the credential still
		// has to be renewed.
		if err == nil || k.waiting > 0 || e.usable(now) == nil {
			c.used(e, k.waiting > 0)
		}
		c.plan(e, k.next, now)
	}
	c.mu.Unlock()
	defer close(k.done)
	defer func() {
		if value := recover(); value != nil {
			panicked := fmt.Errorf("issuer %s: %w", e.key(), panics.Error("hook", value))
			if k.err != nil {
				panicked = fmt.Errorf("%w; %w", k.err, panicked)
			}
			k.err = panicked
		}
	}()
	c.Hooks.call(event)
}

// end detaches the call from its entry. The mutex is held.
func (c *Cache) end(k *call) {
	k.over = true
	k.entry.pending.call = nil
	if k.runner != nil {
		k.runner.running--
		k.runner.wake()
	}
}

// fail records a failure and sets the time of the next attempt. The mutex is held.
func (c *Cache) fail(e *entry, err error, now instant) {
	t := e.ensurePending()
	t.failures++
	t.err = err
	s := e.usable(now)
	var left, life time.Duration
	if s != nil {
		left, life = s.left(now), s.life()
	}
	wait := retryIn(t.failures, left, life, retryAfter(err), jitter())
	t.until = now.mono + int64(wait)
	if s != nil {
		s.renew.Store(min(s.at(now)+int64(wait), s.end()))
	}
}

// A paceKey identifies the calls that share one rate limit of an issuer.
type paceKey struct{ issuer, scope string }

// A pace keeps the calls to one issuer within its rate limit: a token bucket, and the queues of calls that wait for a
// token. While they wait, only a timer runs. All fields are guarded by the cache's mutex.
type pace struct {
	cache  *Cache
	tokens float64
	at     time.Time // The time at which tokens was computed.

	urgent     []*call // Calls that callers wait for.
	background []*call // Renewals.
	timer      *time.Timer
}

// pace returns the pace of the key.
func (c *Cache) pace(key Key) *pace {
	k := paceKey{key.Issuer, key.Scope}
	p := c.paces[k]
	if p == nil {
		if c.paces == nil {
			c.paces = map[paceKey]*pace{}
		}
		c.forgetPaces()
		p = &pace{cache: c, tokens: c.burst(), at: time.Now()}
		c.paces[k] = p
	}
	return p
}

func (c *Cache) burst() float64 { return float64(option.OrDefault(c.Burst, 200)) }

// rate returns the calls per second to an issuer. Zero means no limit.
func (c *Cache) rate() float64 { return option.OrOff(c.Rate, 20) }

// forgetPaces removes paces that are full and idle. It runs each time their number reaches a power of two, from 64.
func (c *Cache) forgetPaces() {
	if n := len(c.paces); n < 64 || n&(n-1) != 0 {
		return
	}
	for k, p := range c.paces {
		if p.fill(); p.tokens >= c.burst() && p.timer == nil {
			delete(c.paces, k)
		}
	}
}

// fill adds the tokens that have accrued since the last fill.
func (p *pace) fill() {
	now := time.Now()
	if p.cache.rate() == 0 {
		p.tokens = math.Inf(1)
		return
	}
	p.tokens = min(p.cache.burst(), p.tokens+p.cache.rate()*now.Sub(p.at).Seconds())
	p.at = now
}

// add queues a call, which starts as soon as the limit allows. A call may be added a second time to make it urgent.
func (p *pace) add(k *call, urgent bool) {
	if urgent {
		p.urgent = append(p.urgent, k)
	} else {
		p.background = append(p.background, k)
	}
	if p.timer == nil {
		p.begin()
	}
}

// begin starts as many calls as the limit allows, and sets the timer for the next one.
func (p *pace) begin() {
	p.timer = nil
	p.fill()
	for {
		k := p.next()
		if k == nil {
			return
		}
		if p.tokens < 1 {
			break
		}
		p.tokens--
		p.drop()
		k.began = time.Now()
		go p.cache.issue(k)
	}
	// One microsecond more, so that rounding does not fire the timer too early.
	missing := time.Duration((1-p.tokens)/p.cache.rate()*float64(time.Second)) + time.Microsecond
	p.timer = time.AfterFunc(missing, func() {
		p.cache.mu.Lock()
		defer p.cache.mu.Unlock()
		p.begin()
	})
}

// next returns the next call to start, or nil if none waits.
func (p *pace) next() *call {
	for _, queue := range []*[]*call{&p.urgent, &p.background} {
		for len(*queue) > 0 {
			// Skip calls that started from the urgent queue, or were dropped.
			if k := (*queue)[0]; k.began.IsZero() && !k.over {
				return k
			}
			*queue = shift(*queue)
		}
	}
	return nil
}

// drop removes the call that next returned.
func (p *pace) drop() {
	if len(p.urgent) > 0 {
		p.urgent = shift(p.urgent)
	} else {
		p.background = shift(p.background)
	}
}

func shift(queue []*call) []*call {
	queue[0] = nil // So that it can be collected before the array.
	return queue[1:]
}

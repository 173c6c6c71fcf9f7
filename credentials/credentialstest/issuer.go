package credentialstest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/regcred/regcred/credentials"
)

// An Issuer is a [credentials.Source] that follows a script, one step per call.
//
// Its credentials have the user name "user" and the passwords "token-1", "token-2" and so on. The zero Issuer issues
// credentials for an hour, without delay. Set its fields before the first use; it is then safe for concurrent use.
type Issuer struct {
	// Steps are the results of successive calls. The last one is repeated. If empty, each call issues a credential for
	// an hour.
	Steps []Step

	// Ahead is the time by which the issuer's clock is ahead of the machine's.
	Ahead time.Duration

	mu       sync.Mutex
	calls    int
	step     int
	running  int
	most     int
	released chan struct{}
	last     context.Context
}

// A Step is the result of one call. The zero Step issues a credential that never expires, without delay.
type Step struct {
	// Life is the lifetime of the credential. Zero means that it never expires.
	Life time.Duration
	// Takes is the duration of the call.
	Takes time.Duration
	// Hang blocks the call until its context ends, or [Issuer.Release] is called.
	Hang bool
	// Deaf makes the call ignore the end of its context.
	Deaf bool
	// Err is the error of the call. If nil, the call succeeds.
	Err error
	// RetryAfter is the wait that the issuer demands, if Err is set.
	RetryAfter time.Duration
	// Change modifies the credential before it is returned, for example to make it invalid. If nil, it is not modified.
	Change func(*credentials.Credential)
}

// Credential runs the next step of the script.
func (i *Issuer) Credential(ctx context.Context) (credentials.Credential, error) {
	n, step, released := i.begin(ctx)
	defer i.end()
	over := ctx.Done()
	if step.Deaf {
		over = nil
	}
	var ready <-chan time.Time
	if !step.Hang {
		timer := time.NewTimer(step.Takes)
		defer timer.Stop()
		ready = timer.C
	}
	select {
	case <-ready:
	case <-released:
	case <-over:
		return credentials.Credential{}, fmt.Errorf("issue: %w", context.Cause(ctx))
	}
	if step.Err != nil && step.RetryAfter != 0 {
		return credentials.Credential{}, &throttled{step.Err, step.RetryAfter}
	}
	if step.Err != nil {
		return credentials.Credential{}, step.Err
	}
	c := credentials.Credential{
		Username: "user", Password: credentials.NewSecret(fmt.Sprint("token-", n)),
		IssuedAt: time.Now().Add(i.Ahead).Round(0),
	}
	if step.Life != 0 {
		c.ExpiresAt = c.IssuedAt.Add(step.Life)
	}
	if step.Change != nil {
		step.Change(&c)
	}
	return c, nil
}

func (i *Issuer) begin(ctx context.Context) (int, Step, <-chan struct{}) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.calls++
	i.running++
	i.most = max(i.most, i.running)
	i.last = ctx
	step := Step{Life: time.Hour}
	if len(i.Steps) > 0 {
		step = i.Steps[min(i.step, len(i.Steps)-1)]
	}
	i.step++
	if i.released == nil {
		i.released = make(chan struct{})
	}
	return i.calls, step, i.released
}

func (i *Issuer) end() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.running--
}

// Script replaces the steps of the next calls.
func (i *Issuer) Script(steps ...Step) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.Steps, i.step = steps, 0
}

// Calls returns the number of calls that have begun.
func (i *Issuer) Calls() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.calls
}

// AtOnce returns the maximum number of concurrent calls so far.
func (i *Issuer) AtOnce() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.most
}

// Release ends the calls in flight with the results of their steps. A later call that hangs needs another Release.
func (i *Issuer) Release() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.released != nil {
		close(i.released)
		i.released = nil
	}
}

// context returns the context of the last call.
func (i *Issuer) context() context.Context {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.last
}

// throttled is an error with a RetryAfter method.
type throttled struct {
	err  error
	wait time.Duration
}

func (t *throttled) Error() string             { return t.err.Error() }
func (t *throttled) Unwrap() error             { return t.err }
func (t *throttled) RetryAfter() time.Duration { return t.wait }

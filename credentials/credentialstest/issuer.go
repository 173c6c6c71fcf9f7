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
// each for an hour, at once. It is safe for concurrent use; set its fields before.
type Issuer struct {
	// Steps are what the calls bring, one after the other. The last one is repeated. None means that each call issues a
	// credential for an hour.
	Steps []Step

	// Ahead is how much the issuer's clock is ahead of the machine's. Zero means not at all.
	Ahead time.Duration

	mu       sync.Mutex
	calls    int
	step     int
	running  int
	most     int
	released chan struct{}
	last     context.Context
}

// A Step is what comes of one call. The zero Step issues at once a credential that never expires.
type Step struct {
	// Life is how long the credential is good. Zero means for ever.
	Life time.Duration
	// Takes is how long the call lasts.
	Takes time.Duration
	// Hang makes it last until its context ends, or [Issuer.Release] is called.
	Hang bool
	// Deaf makes it ignore that its context ends.
	Deaf bool
	// Err is what the call fails with. Nil means that it does not.
	Err error
	// RetryAfter is how long the issuer wants to be left alone, if Err is set.
	RetryAfter time.Duration
	// Change alters the credential before it is handed out, so as to spoil it. Nil means that it is left as it is.
	Change func(*credentials.Credential)
}

// Credential follows the script.
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

// Script sets the steps of the next calls.
func (i *Issuer) Script(steps ...Step) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.Steps, i.step = steps, 0
}

// Calls returns how many calls have begun.
func (i *Issuer) Calls() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.calls
}

// AtOnce returns how many calls were under way at the same time, at most.
func (i *Issuer) AtOnce() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.most
}

// Release ends at once the calls that are under way: they bring what they would have. A later call that hangs needs
// another Release.
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

// throttled is an error that says how long to wait.
type throttled struct {
	err  error
	wait time.Duration
}

func (t *throttled) Error() string             { return t.err.Error() }
func (t *throttled) Unwrap() error             { return t.err }
func (t *throttled) RetryAfter() time.Duration { return t.wait }

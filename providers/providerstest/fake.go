package providerstest

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
)

// A Fake is a [providers.Provider] for the tests of programs that use one. The zero Fake issues a credential for every
// valid profile at once. Set the fields before the first use; it is then safe for concurrent use.
//
// The n-th credential has the user name "fake" and the password "fake-secret-n", so that a test can tell them apart. An
// anonymous profile gets an anonymous one.
type Fake struct {
	// Lifetime is how long a credential is good from the instant at which it is issued. Zero means for ever.
	Lifetime time.Duration

	// Delay is how long a call takes, unless its context ends before. In a bubble of testing/synctest that costs no
	// time.
	Delay time.Duration

	// Fail returns the error that ends a call, given the number of the call, from 1; nil lets it succeed. It may be
	// called concurrently. A nil Fail means that all calls succeed.
	Fail func(call int) error

	calls atomic.Int64
}

// Calls returns how many calls were made, also those that failed; profiles that are not valid do not count.
func (f *Fake) Calls() int { return int(f.calls.Load()) }

// Credential does what the fields say. It is [registry.ErrInvalid] for a profile that is not valid.
func (f *Fake) Credential(ctx context.Context, p registry.Profile) (credentials.Credential, error) {
	fail := func(code registry.Code, err error) (credentials.Credential, error) {
		return credentials.Credential{}, &registry.Error{
			Op: "get fake credential", Ref: fmt.Sprintf("for profile %q", p.Name), Code: code, Err: err,
		}
	}
	if ctx.Err() != nil {
		return fail(registry.ErrCanceled, context.Cause(ctx))
	}
	if err := p.Validate(); err != nil {
		return fail(registry.ErrInvalid, err)
	}
	call := int(f.calls.Add(1))
	timer := time.NewTimer(f.Delay)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return fail(registry.ErrCanceled, context.Cause(ctx))
	case <-timer.C:
	}
	if f.Fail != nil {
		if err := f.Fail(call); err != nil {
			return fail(registry.CodeOf(err), err)
		}
	}
	if p.Login.Anonymous {
		return credentials.Credential{Anonymous: true}, nil
	}
	now := time.Now()
	password := credentials.NewSecret(fmt.Sprintf("fake-secret-%d", call))
	c := credentials.Credential{Username: "fake", Password: password, IssuedAt: now}
	if f.Lifetime > 0 {
		c.ExpiresAt = now.Add(f.Lifetime)
	}
	return c, nil
}

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
// valid profile, without delay. Set the fields before the first use; it is then safe for concurrent use.
//
// The n-th credential has the user name "fake" and the password "fake-secret-n", so that a test can distinguish them.
// An anonymous profile gets an anonymous credential.
type Fake struct {
	// Lifetime is the lifetime of a credential from its issue. Zero means that it never expires.
	Lifetime time.Duration

	// Delay is the duration of a call, unless its context ends before. It takes no real time in a bubble of
	// testing/synctest.
	Delay time.Duration

	// Fail returns the error of a call, or nil if the call succeeds, by the number of the call, from 1. It may be
	// called concurrently. If Fail is nil, all calls succeed.
	Fail func(call int) error

	calls atomic.Int64
}

// Calls returns the number of calls with valid profiles, including failed ones.
func (f *Fake) Calls() int { return int(f.calls.Load()) }

// Credential returns a credential or an error according to the fields. It fails with [registry.ErrInvalid] if the
// profile is not valid.
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

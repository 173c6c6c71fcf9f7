package credentials

import (
	"context"
	"errors"
	"time"
)

// A Source returns a credential on each call.
//
//   - It is safe for concurrent use.
//   - It returns soon after ctx ends, with an error that wraps [context.Cause] of ctx.
//   - A credential that it returns without an error passes [Credential.Validate]. It never returns an anonymous
//     credential because something failed.
//   - Its errors hold no secret.
//   - An error may have a method RetryAfter() time.Duration, which returns the wait that the issuer demands before the
//     next call.
//
// A wrapper of a Source is a Source. [credentialstest.TestSource] tests that an implementation follows these rules.
//
// [credentialstest.TestSource]: https://pkg.go.dev/github.com/regcred/regcred/credentials/credentialstest#TestSource
type Source interface {
	Credential(ctx context.Context) (Credential, error)
}

// Errors of a [Source] that looks up a login in another program's store, such as a docker configuration or a keychain.
// Package registry gives each of them a code.
var (
	// ErrNoLogin reports that the store has no login for the registry.
	ErrNoLogin = errors.New("no login for this registry")
	// ErrIdentityToken reports that the store has an identity token or a registry token instead of a user name and a
	// password. A pull secret can hold neither.
	ErrIdentityToken = errors.New("there is a token instead of a user name and password")
)

// A Func is an adapter that makes a function a [Source].
type Func func(ctx context.Context) (Credential, error)

// Credential calls f.
func (f Func) Credential(ctx context.Context) (Credential, error) { return f(ctx) }

// Static returns a [Source] that always returns c. It fails if c is empty, and as soon as c is expired.
func Static(c Credential) Source { return static{c} }

type static struct{ c Credential }

func (s static) Credential(ctx context.Context) (Credential, error) {
	if ctx.Err() != nil {
		return Credential{}, context.Cause(ctx)
	}
	if err := s.c.Validate(time.Now()); err != nil {
		return Credential{}, err
	}
	return s.c, nil
}

package credentials

import (
	"context"
	"errors"
	"time"
)

// A Source hands out a credential each time it is asked.
//
//   - It is safe for concurrent use.
//   - It returns soon after ctx ends, with an error that wraps [context.Cause] of ctx.
//   - What it returns without an error passes [Credential.Validate]. It never hands out an anonymous credential because
//     something failed.
//   - Its errors hold no secret.
//   - An error may have a method RetryAfter() time.Duration, which says how long the issuer wants to be left alone.
//
// A thing that wraps a Source is a Source. [credentialstest.TestSource] holds an implementation to all that.
//
// [credentialstest.TestSource]: https://pkg.go.dev/github.com/regcred/regcred/credentials/credentialstest#TestSource
type Source interface {
	Credential(ctx context.Context) (Credential, error)
}

// What a [Source] reports that looks up a login which somebody else stored, such as a docker configuration or a keychain.
// Package registry gives both a code.
var (
	// ErrNoLogin reports that the store has no login for the registry.
	ErrNoLogin = errors.New("no login for this registry")
	// ErrIdentityToken reports that the store has an identity token or a registry token in place of a user name and a
	// password. A pull secret can hold neither.
	ErrIdentityToken = errors.New("there is a token instead of a user name and password")
)

// A Func is a function that is a [Source].
type Func func(ctx context.Context) (Credential, error)

// Credential calls f.
func (f Func) Credential(ctx context.Context) (Credential, error) { return f(ctx) }

// Static returns a [Source] that always hands out c. It is an error, each time, once c is expired or if it is empty.
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

// Package orascredentials authenticates clients built on oras-go with registry profiles.
//
// A [Store] is a credentials.Store of oras-go; its method Credential is an auth.CredentialFunc. The package does not
// cache, and never turns an error into anonymous access. It is a separate module, so that only programs that use it
// require oras-go.
package orascredentials

import (
	"context"
	"errors"

	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"

	own "github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
)

// ErrReadOnly is the error of [Store.Put] and [Store.Delete].
var ErrReadOnly = errors.New("orascredentials: profiles are not changed by a login or logout")

// A Store is a read-only store that finds the login for a host in registry profiles. Set the fields before the first
// use; it is safe for concurrent use if Source is.
//
// oras-go looks up logins by host, not by repository: if several profiles are for parts of one registry, the one that
// serves the largest part is used. For a client of one repository, set Profiles to the result of [registry.Serving].
type Store struct {
	// Profiles are the registries. If empty, every host is used without a login.
	Profiles []registry.Profile
	// Source returns the credential source of a profile; most programs use the method Source of a regcred.Pipeline.
	// Required.
	Source func(registry.Profile) own.Source
}

var _ credentials.Store = Store{}

// Credential returns the login for a host, with its port if it has one, or the empty login if no profile has the host.
// It is an [auth.CredentialFunc].
func (s Store) Credential(ctx context.Context, host string) (auth.Credential, error) {
	serving := registry.ServingHost(s.Profiles, host)
	if len(serving) == 0 {
		return auth.EmptyCredential, nil
	}
	c, err := s.Source(serving[0]).Credential(ctx)
	if err != nil || c.Anonymous {
		return auth.EmptyCredential, err
	}
	return auth.Credential{Username: c.Username, Password: c.Password.Reveal()}, nil
}

// Get is like [Store.Credential], but accepts a server address in any form that oras-go uses.
func (s Store) Get(ctx context.Context, serverAddress string) (auth.Credential, error) {
	return s.Credential(ctx, serverAddress)
}

// Put fails with [ErrReadOnly].
func (s Store) Put(context.Context, string, auth.Credential) error { return ErrReadOnly }

// Delete fails with [ErrReadOnly].
func (s Store) Delete(context.Context, string) error { return ErrReadOnly }

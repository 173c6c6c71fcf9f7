// Package ggcr connects credential sources with the authn package of github.com/google/go-containerregistry.
//
// With [Authenticator] and [Keychain], its clients use a credential source; [Source] makes a credential source from one
// of its keychains. The package does not cache, and never turns an error into anonymous access.
package ggcr

import (
	"context"
	"fmt"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/internal/panics"
)

// An Authenticator authenticates go-containerregistry with the credential of a source. It is an [authn.Authenticator]
// and an [authn.ContextAuthenticator].
type Authenticator struct {
	// Source is called for each authentication. It is required, and should be a cache.
	Source credentials.Source
}

// AuthorizationContext calls the source.
func (a Authenticator) AuthorizationContext(ctx context.Context) (*authn.AuthConfig, error) {
	c, err := a.Source.Credential(ctx)
	if err != nil {
		return nil, err
	}
	if c.Anonymous {
		return &authn.AuthConfig{}, nil
	}
	return &authn.AuthConfig{Username: c.Username, Password: c.Password.Reveal()}, nil
}

// Authorization calls the source, for callers without a context.
func (a Authenticator) Authorization() (*authn.AuthConfig, error) {
	return a.AuthorizationContext(context.Background())
}

// A Keychain is a function that returns the source for a registry or repository. It is an [authn.Keychain] and an
// [authn.ContextKeychain]. If it returns a nil Source and no error, it has no source for the target, and another
// keychain may be tried; see [authn.NewMultiKeychain].
type Keychain func(ctx context.Context, target authn.Resource) (credentials.Source, error)

// ResolveContext calls k.
func (k Keychain) ResolveContext(ctx context.Context, target authn.Resource) (authn.Authenticator, error) {
	src, err := k(ctx, target)
	if err != nil {
		return nil, err
	}
	if src == nil {
		return authn.Anonymous, nil
	}
	return Authenticator{src}, nil
}

// Resolve calls k, for callers without a context.
func (k Keychain) Resolve(target authn.Resource) (authn.Authenticator, error) {
	return k.ResolveContext(context.Background(), target)
}

// A Source is a credential source that returns a keychain's login for one registry or repository. Keychains report no
// expiry, and many accept no context: their call then continues in the background after the caller's context ends. A
// Source is safe for concurrent use if its keychain is.
type Source struct {
	// Keychain is called for each credential. Required.
	Keychain authn.Keychain
	// Target is the registry or repository. Required.
	Target authn.Resource
	// Anonymous allows anonymous access if the keychain has no login. If false, Credential then fails with
	// [credentials.ErrNoLogin].
	Anonymous bool
	// GoodFor is the lifetime to assume for a credential. Zero means that it never expires; set it for a keychain whose
	// passwords are short-lived, as the passwords of clouds are.
	GoodFor time.Duration
}

// Credential calls the keychain. A panic of the keychain is an error.
func (s Source) Credential(ctx context.Context) (credentials.Credential, error) {
	if ctx.Err() != nil {
		return credentials.Credential{}, context.Cause(ctx)
	}
	results := panics.Go("ggcr.Source.Keychain", func() (*authn.AuthConfig, error) { // Many keychains accept no context.
		found, err := authn.Resolve(ctx, s.Keychain, s.Target)
		if err != nil {
			return nil, err
		}
		return authn.Authorization(ctx, found)
	})
	select {
	case r := <-results:
		if r.Err != nil {
			return credentials.Credential{}, fmt.Errorf("keychain, for %s: %w", s.Target, r.Err)
		}
		return s.credential(r.Value)
	case <-ctx.Done():
		return credentials.Credential{}, fmt.Errorf("keychain, for %s: %w", s.Target, context.Cause(ctx))
	}
}

func (s Source) credential(config *authn.AuthConfig) (credentials.Credential, error) {
	switch {
	case config == nil || *config == authn.AuthConfig{}:
		if !s.Anonymous {
			return credentials.Credential{}, fmt.Errorf("keychain, for %s: %w", s.Target, credentials.ErrNoLogin)
		}
		return credentials.Credential{Anonymous: true}, nil
	case config.IdentityToken != "" || config.RegistryToken != "":
		return credentials.Credential{}, fmt.Errorf("keychain, for %s: %w", s.Target, credentials.ErrIdentityToken)
	}
	now := time.Now()
	c := credentials.Credential{
		Username: config.Username, Password: credentials.NewSecret(config.Password), IssuedAt: now,
	}
	if s.GoodFor > 0 {
		c.ExpiresAt = now.Add(s.GoodFor)
	}
	if err := c.Validate(now); err != nil {
		return credentials.Credential{}, fmt.Errorf("keychain, for %s: %w", s.Target, err)
	}
	return c, nil
}

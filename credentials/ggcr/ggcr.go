// Package ggcr joins sources of credentials with the authn package of github.com/google/go-containerregistry.
//
// [Authenticator] and [Keychain] let its clients use a source; [Source] makes a credential source of one of its
// keychains. The package does not cache, and never turns an error into anonymous access.
package ggcr

import (
	"context"
	"fmt"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/regcred/regcred/credentials"
)

// An Authenticator lets go-containerregistry log in with what its source hands out. It is an [authn.Authenticator] and
// an [authn.ContextAuthenticator].
type Authenticator struct {
	// Source is asked each time. It has to be set; put a cache into it.
	Source credentials.Source
}

// AuthorizationContext asks the source.
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

// Authorization asks the source, for callers without a context.
func (a Authenticator) Authorization() (*authn.AuthConfig, error) {
	return a.AuthorizationContext(context.Background())
}

// A Keychain is a function that finds the source for a registry or repository. It is an [authn.Keychain] and an
// [authn.ContextKeychain]. A nil Source without an error means that there is none, so that another keychain may know
// one: see [authn.NewMultiKeychain].
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

// A Source hands out what a keychain has for one registry or repository. A keychain tells no expiry, and often takes no
// context: it then goes on beside a caller who leaves. A Source is safe for concurrent use if its keychain is.
type Source struct {
	// Keychain is asked each time. It has to be set.
	Keychain authn.Keychain
	// Target is for what. It has to be set.
	Target authn.Resource
	// Anonymous says that where the keychain has no login, anonymous access is meant. False makes that [credentials.ErrNoLogin].
	Anonymous bool
	// GoodFor is how long an answer is taken to be good. Zero means for ever; set it for a keychain whose passwords are
	// short-lived, such as those of clouds.
	GoodFor time.Duration
}

// Credential asks the keychain.
func (s Source) Credential(ctx context.Context) (credentials.Credential, error) {
	if ctx.Err() != nil {
		return credentials.Credential{}, context.Cause(ctx)
	}
	type answer struct {
		config *authn.AuthConfig
		err    error
	}
	answers := make(chan answer, 1)
	go func() { // Many keychains take no context.
		var a answer
		var found authn.Authenticator
		if found, a.err = authn.Resolve(ctx, s.Keychain, s.Target); a.err == nil {
			a.config, a.err = authn.Authorization(ctx, found)
		}
		answers <- a
	}()
	select {
	case a := <-answers:
		if a.err != nil {
			return credentials.Credential{}, fmt.Errorf("keychain, for %s: %w", s.Target, a.err)
		}
		return s.credential(a.config)
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

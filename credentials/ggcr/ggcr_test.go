package ggcr_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/credentials/credentialstest"
	"github.com/regcred/regcred/credentials/ggcr"
)

var (
	_ authn.ContextAuthenticator = ggcr.Authenticator{}
	_ authn.Authenticator        = ggcr.Authenticator{}
	_ authn.ContextKeychain      = ggcr.Keychain(nil)
	_ authn.Keychain             = ggcr.Keychain(nil)
)

// keychain is an authn.Keychain that accepts no context.
type keychain struct {
	config authn.AuthConfig
	err    error
}

func (k keychain) Resolve(authn.Resource) (authn.Authenticator, error) {
	return authn.FromConfig(k.config), k.err
}

var target, _ = name.NewRegistry("registry.example.com")

func TestSource(t *testing.T) {
	broken := errors.New("helper is broken")
	login := authn.AuthConfig{Username: "u", Password: "found in no error by chance"}
	tests := map[string]struct {
		src  ggcr.Source
		want error
	}{
		"a login":                 {ggcr.Source{Keychain: keychain{config: login}}, nil},
		"an error":                {ggcr.Source{Keychain: keychain{err: broken}, Anonymous: true}, broken},
		"nothing":                 {ggcr.Source{Keychain: keychain{}}, credentials.ErrNoLogin},
		"nothing, and it is fine": {ggcr.Source{Keychain: keychain{}, Anonymous: true}, nil},
		"an identity token":       {ggcr.Source{Keychain: keychain{config: authn.AuthConfig{IdentityToken: "t"}}}, credentials.ErrIdentityToken},
		"half a login":            {ggcr.Source{Keychain: keychain{config: authn.AuthConfig{Username: "u"}}}, credentials.ErrEmpty},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			test.src.Target = target
			c, err := test.src.Credential(t.Context())
			require.ErrorIs(t, err, test.want)
			if err == nil {
				require.NoError(t, c.Validate(time.Now()))
				credentialstest.TestSource(t, test.src)
			}
		})
	}
}

type keychainFunc func() (authn.Authenticator, error)

func (f keychainFunc) Resolve(authn.Resource) (authn.Authenticator, error) { return f() }

// The source calls the keychain in a goroutine of its own, in which no caller can recover a panic.
func TestSourceSurvivesBrokenKeychains(t *testing.T) {
	for want, keychain := range map[string]authn.Keychain{
		"keychain, for registry.example.com: ggcr.Source.Keychain panicked in ggcr_test.": keychainFunc(func() (authn.Authenticator, error) { panic("hunter2") }),
		"keychain, for registry.example.com: ggcr.Source.Keychain ended its goroutine":    keychainFunc(func() (authn.Authenticator, error) { runtime.Goexit(); return nil, nil }),
		"nil pointer dereference": nil,
	} {
		_, err := ggcr.Source{Keychain: keychain, Target: target}.Credential(t.Context())
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "hunter2")
	}
}

func TestThereAndBack(t *testing.T) {
	want := credentials.Credential{Username: "u", Password: credentials.NewSecret("p")}
	there := ggcr.Keychain(func(_ context.Context, target authn.Resource) (credentials.Source, error) {
		if target.RegistryStr() != "registry.example.com" {
			return nil, nil
		}
		return credentials.Static(want), nil
	})
	got, err := ggcr.Source{Keychain: there, Target: target, GoodFor: time.Hour}.Credential(t.Context())
	require.NoError(t, err)
	require.True(t, got.Password.Equal(want.Password))
	require.Equal(t, time.Hour, got.ExpiresAt.Sub(got.IssuedAt))

	other, _ := name.NewRegistry("other.example.com")
	_, err = ggcr.Source{Keychain: there, Target: other}.Credential(t.Context())
	require.ErrorIs(t, err, credentials.ErrNoLogin)
	found, err := there.Resolve(other)
	require.NoError(t, err)
	require.Equal(t, authn.Anonymous, found)
}

func TestAnonymousIsSaidNotFallenInto(t *testing.T) {
	config, err := ggcr.Authenticator{Source: credentials.Static(credentials.Credential{Anonymous: true})}.Authorization()
	require.NoError(t, err)
	require.Equal(t, &authn.AuthConfig{}, config)
	_, err = ggcr.Authenticator{Source: credentials.Static(credentials.Credential{})}.Authorization()
	require.ErrorIs(t, err, credentials.ErrEmpty)
}

// A client of go-containerregistry pulls with a cached source.
func ExampleAuthenticator() {
	var cache credentials.Cache
	src := cache.Source(credentials.Key{Issuer: "test"}, &credentialstest.Issuer{})
	auth := ggcr.Authenticator{Source: src} // For remote.WithAuth.
	config, err := authn.Authorization(context.Background(), auth)
	fmt.Println(config.Username, err)
	// Output: user <nil>
}

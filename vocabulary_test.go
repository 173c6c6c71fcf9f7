package regcred_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred"
	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/registry"
)

// For any failure of a provider, the caller of a Pipeline gets a registry.Error with a code and a hint.
func TestWhatAProviderDoesWrongHasACode(t *testing.T) {
	now := time.Now()
	password := credentials.NewSecret("a-password")
	for name, test := range map[string]struct {
		credential credentials.Credential
		err        error
		code       registry.Code
	}{
		"expired": {credential: credentials.Credential{
			Username: "u", Password: password, IssuedAt: now.Add(-2 * time.Hour), ExpiresAt: now.Add(-time.Hour),
		}, code: registry.ErrExpired},
		"empty": {code: registry.ErrProvider},
		"impossible dates": {credential: credentials.Credential{
			Username: "u", Password: password, IssuedAt: now, ExpiresAt: now.Add(-time.Hour),
		}, code: registry.ErrProvider},
		"implausible dates": {credential: credentials.Credential{
			Username: "u", Password: password, IssuedAt: now, ExpiresAt: now.AddDate(20_000, 0, 0),
		}, code: registry.ErrProvider},
		"a code":            {err: registry.ErrDenied, code: registry.ErrDenied},
		"no login":          {err: credentials.ErrNoLogin, code: registry.ErrNoIdentity},
		"an identity token": {err: credentials.ErrIdentityToken, code: registry.ErrUnsupported},
	} {
		t.Run(name, func(t *testing.T) {
			provider := providers.Func(func(context.Context, registry.Profile) (credentials.Credential, error) {
				return test.credential, test.err
			})
			for _, p := range []providers.Provider{provider, providers.Set{registry.Custom: provider}} {
				pipeline := regcred.Pipeline{Provider: p}
				_, err := pipeline.Credential(t.Context(), customProfile("ghcr.io"))
				hasCode(t, err, test.code)
				_, err = pipeline.Credential(t.Context(), customProfile("ghcr.io")) // Now it is a BackoffError.
				hasCode(t, err, test.code)
				_, err = pipeline.CheckLogin(t.Context(), customProfile("ghcr.io"))
				hasCode(t, err, test.code)
			}
		})
	}
}

func TestSourceThatEndsItsGoroutineOrPanicsHasACode(t *testing.T) {
	pipeline := regcred.Pipeline{Provider: providers.Func(func(context.Context, registry.Profile) (credentials.Credential, error) {
		runtime.Goexit()
		panic("not reached")
	})}
	_, err := pipeline.Credential(t.Context(), customProfile("ghcr.io"))
	hasCode(t, err, registry.ErrProvider)

	pipeline = regcred.Pipeline{Provider: providers.Func(func(context.Context, registry.Profile) (credentials.Credential, error) {
		panic("a-password")
	})}
	_, err = pipeline.Credential(t.Context(), customProfile("ghcr.io"))
	hasCode(t, err, registry.ErrProvider)
	require.ErrorContains(t, err, "panicked")
}

func hasCode(t *testing.T, err error, code registry.Code) {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, code, registry.CodeOf(err), "%v", err)
	require.ErrorIs(t, err, code)
	require.NotEmpty(t, registry.HintOf(err), "%v", err)
	require.NotContains(t, err.Error(), "a-password")
	_, ok := errors.AsType[*registry.Error](err)
	require.True(t, ok)
}

func customProfile(endpoint string) registry.Profile {
	return registry.Profile{
		Name: "x", Kind: registry.Custom, Endpoint: endpoint,
		Login: credentials.Login{Username: "u", Password: credentials.NewSecret("a-password")},
	}
}

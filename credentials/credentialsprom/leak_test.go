package credentialsprom_test

import (
	"context"
	"errors"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/credentials/credentialsprom"
)

// No metric has a secret in it, not even where the error of a careless issuer quotes one.
func TestMetricsDoNotLeak(t *testing.T) {
	const canary = "c4n4ry-l0gin"
	var cache credentials.Cache
	metrics := prometheus.NewPedanticRegistry()
	require.NoError(t, metrics.Register(credentialsprom.New(&cache)))
	login := credentials.Login{Username: "robot", Password: credentials.NewSecret(canary)}
	for scope, source := range map[string]credentials.Source{
		"good":     credentials.Static(credentials.Credential{Username: "robot", Password: login.Password}),
		"careless": credentials.Static(credentials.Credential{}),
		"quotes": credentials.Func(func(context.Context) (credentials.Credential, error) {
			return credentials.Credential{}, errors.New("not " + canary)
		}),
	} {
		_, _ = cache.Credential(t.Context(), credentials.Key{Issuer: "custom", Scope: scope, Login: login.Fingerprint()}, source)
	}
	families, err := metrics.Gather()
	require.NoError(t, err)
	require.NotEmpty(t, families)
	for _, family := range families {
		require.NotContains(t, family.String(), canary)
		require.NotContains(t, family.String(), login.Fingerprint().String())
	}
}

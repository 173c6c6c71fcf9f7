package credentialsotel_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/credentials/credentialsotel"
)

// No metric has a secret in it, not even where the error of a careless issuer quotes one.
func TestMetricsDoNotLeak(t *testing.T) {
	const canary = "c4n4ry-l0gin"
	reader := metric.NewManualReader()
	hooks, err := credentialsotel.Hooks(metric.NewMeterProvider(metric.WithReader(reader)).Meter("test"))
	require.NoError(t, err)
	cache := credentials.Cache{Hooks: hooks}
	login := credentials.Login{Username: "robot", Password: credentials.NewSecret(canary)}
	key := credentials.Key{Issuer: "custom", Scope: "good", Login: login.Fingerprint()}
	_, err = cache.Credential(t.Context(), key, credentials.Static(credentials.Credential{Username: "robot", Password: login.Password}))
	require.NoError(t, err)
	key.Scope = "careless"
	careless := errors.New("not " + canary)
	_, err = cache.Credential(t.Context(), key, credentials.Func(func(context.Context) (credentials.Credential, error) { return credentials.Credential{}, careless }))
	require.Error(t, err)
	hooks.Expiring(credentials.Event{Key: key, Err: careless})

	var got metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(t.Context(), &got))
	text, err := json.Marshal(got)
	require.NoError(t, err)
	require.Contains(t, string(text), "careless")
	require.NotContains(t, string(text), canary)
	require.NotContains(t, string(text), login.Fingerprint().String())
}

package credentialsotel_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/credentials/credentialsotel"
	"github.com/regcred/regcred/credentials/credentialstest"
)

func TestHooks(t *testing.T) {
	reader := metric.NewManualReader()
	hooks, err := credentialsotel.Hooks(metric.NewMeterProvider(metric.WithReader(reader)).Meter("test"))
	require.NoError(t, err)
	cache := credentials.Cache{Hooks: hooks}
	_, err = cache.Credential(t.Context(), credentials.Key{Issuer: "ecr", Scope: "a"}, &credentialstest.Issuer{})
	require.NoError(t, err)
	_, err = cache.Credential(t.Context(), credentials.Key{Issuer: "ecr", Scope: "b"},
		&credentialstest.Issuer{Steps: []credentialstest.Step{{Err: errors.New("refused")}}})
	require.Error(t, err)
	hooks.Expiring(credentials.Event{Key: credentials.Key{Issuer: "ecr", Scope: "c"}})

	var got metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(t.Context(), &got))
	require.Len(t, got.ScopeMetrics, 1)
	metrics := got.ScopeMetrics[0].Metrics
	require.Len(t, metrics, 2)
	results := map[string]string{}
	for _, point := range metrics[0].Data.(metricdata.Histogram[float64]).DataPoints {
		results[value(point.Attributes, "scope")] = value(point.Attributes, "result")
		require.EqualValues(t, 1, point.Count)
	}
	require.Equal(t, map[string]string{"a": "issued", "b": "failed"}, results)
	require.Equal(t, "c", value(metrics[1].Data.(metricdata.Sum[int64]).DataPoints[0].Attributes, "scope"))
}

func value(set attribute.Set, key attribute.Key) string {
	v, _ := set.Value(key)
	return v.AsString()
}

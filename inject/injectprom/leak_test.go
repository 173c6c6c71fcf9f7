package injectprom_test

import (
	"context"
	"errors"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/inject/injectprom"
	"github.com/regcred/regcred/inject/injecttest"
	"github.com/regcred/regcred/registry"
)

// No metric has a secret in it: not the one that is published, not a login in the wrong field of a profile, and not even
// one that the error of a careless provider quotes.
func TestMetricsDoNotLeak(t *testing.T) {
	const canary = "c4n4ry-l0gin"
	var cluster injecttest.Cluster
	require.NoError(t, cluster.CreateNamespace(t.Context(), "shop", nil))
	syncer := &inject.Syncer{
		Cluster: &cluster,
		Credential: func(_ context.Context, p registry.Profile) (credentials.Credential, error) {
			if p.Name == "careless" {
				return credentials.Credential{}, errors.New("not " + canary)
			}
			return credentials.Credential{Username: "robot", Password: credentials.NewSecret(canary)}, nil
		},
	}
	metrics := prometheus.NewPedanticRegistry()
	require.NoError(t, metrics.Register(injectprom.New(syncer)))
	var targets []inject.Target
	for name, endpoint := range map[string]string{
		"good": "registry.example.com", "careless": "registry.example.org", "misplaced": "https://ann:" + canary + "@registry.example.com",
	} {
		targets = append(targets, inject.Target{
			Name: name, Namespaces: inject.Selection{Names: []string{"*"}},
			Profiles: []registry.Profile{{
				Name: name, Kind: registry.Custom, Endpoint: endpoint,
				Login: credentials.Login{Username: "robot", Password: credentials.NewSecret(canary)},
			}},
		})
	}
	_, err := syncer.Sync(t.Context(), targets)
	require.NoError(t, err)
	secret, err := cluster.Secret(t.Context(), "shop", "good")
	require.NoError(t, err)
	require.NotNil(t, secret, "the canary is published")
	families, err := metrics.Gather()
	require.NoError(t, err)
	require.NotEmpty(t, families)
	for _, family := range families {
		require.NotContains(t, family.String(), canary)
	}
}

package injectprom_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/inject/injectprom"
	"github.com/regcred/regcred/inject/injecttest"
	"github.com/regcred/regcred/registry"
)

// A cluster that a rotation has not reached is behind, although its own Syncer knows no newer credential.
func TestRollout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start, rotations := time.Now(), 0
		syncers := make(map[string]*inject.Syncer)
		for _, name := range []string{"eu", "us"} {
			cluster := &injecttest.Cluster{}
			for i := range 2 {
				require.NoError(t, cluster.CreateNamespace(t.Context(), fmt.Sprint("team-", i), nil))
			}
			syncers[name] = &inject.Syncer{Cluster: cluster, Credential: func(context.Context, registry.Profile) (credentials.Credential, error) {
				issued := start.Add(time.Duration(rotations) * time.Hour)
				return credentials.Credential{Username: "u", Password: credentials.NewSecret(fmt.Sprint(rotations)), IssuedAt: issued, ExpiresAt: issued.Add(12 * time.Hour)}, nil
			}}
		}
		metrics := prometheus.NewPedanticRegistry()
		selected := func(t inject.Target) bool { return t.Name == "regcred" }
		prometheus.WrapRegistererWith(prometheus.Labels{"target": "regcred"}, metrics).MustRegister(injectprom.NewRollout(syncers, selected))
		target := inject.Target{
			Name: "regcred", Namespaces: inject.Selection{Names: []string{"*"}},
			Profiles: []registry.Profile{{Name: "quay", Kind: registry.Custom, Endpoint: "quay.io", Login: credentials.Login{Username: "u", Password: credentials.NewSecret("p")}}},
		}
		sync := func(name string) {
			_, err := syncers[name].Sync(t.Context(), []inject.Target{target})
			require.NoError(t, err)
		}
		sync("eu")
		sync("us")
		rotations++
		sync("eu")
		require.NoError(t, testutil.GatherAndCompare(metrics, strings.NewReader(`
# HELP regcred_pullsecret_rollout_expiry_seconds When the first of the secrets in all clusters expires.
# TYPE regcred_pullsecret_rollout_expiry_seconds gauge
regcred_pullsecret_rollout_expiry_seconds{target="regcred"} 9.467280e+08
# HELP regcred_pullsecret_rollout_secrets Published secrets by the age of their credentials in all clusters.
# TYPE regcred_pullsecret_rollout_secrets gauge
regcred_pullsecret_rollout_secrets{cluster="eu",state="missing",target="regcred"} 0
regcred_pullsecret_rollout_secrets{cluster="eu",state="newest",target="regcred"} 2
regcred_pullsecret_rollout_secrets{cluster="eu",state="older",target="regcred"} 0
regcred_pullsecret_rollout_secrets{cluster="us",state="missing",target="regcred"} 0
regcred_pullsecret_rollout_secrets{cluster="us",state="newest",target="regcred"} 0
regcred_pullsecret_rollout_secrets{cluster="us",state="older",target="regcred"} 2
`)))
		problems, err := testutil.GatherAndLint(metrics)
		require.NoError(t, err)
		require.Empty(t, problems)
	})
}

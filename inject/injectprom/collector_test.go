package injectprom_test

import (
	"context"
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

func TestCollector(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		var cluster injecttest.Cluster
		require.NoError(t, cluster.CreateNamespace(ctx, "shop", nil))
		changes, passes, adoptions := 0, 0, 0
		syncer := &inject.Syncer{
			Cluster: &cluster,
			Credential: func(_ context.Context, p registry.Profile) (credentials.Credential, error) {
				if p.Name == "bad" {
					return credentials.Credential{}, registry.ErrUnauthorized
				}
				return credentials.Credential{
					Username: "robot", Password: credentials.NewSecret("hunter2"), IssuedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour),
				}, nil
			},
			OnChange: func(inject.Change, error) { changes++ },
			OnAdopt:  func(registry.Profile, string, string) { adoptions++ },
			OnSync: func(ctx context.Context, _ []string) (context.Context, func(inject.Result, error)) {
				return ctx, func(inject.Result, error) { passes++ }
			},
		}
		collector := injectprom.New(syncer)
		metrics := prometheus.NewPedanticRegistry()
		require.NoError(t, metrics.Register(collector))

		target := func(name string) inject.Target {
			login := credentials.Login{Username: "u", Password: credentials.NewSecret("p")}
			if name == "good" {
				login.ExpiresAt = time.Now().Add(90 * 24 * time.Hour).Truncate(24 * time.Hour)
			}
			return inject.Target{
				Name: name, Namespaces: inject.Selection{Names: []string{"*"}},
				Profiles: []registry.Profile{{Name: name, Kind: registry.Custom, Endpoint: "registry.example.com", Login: login}},
			}
		}
		pass := func(targets ...inject.Target) {
			_, err := syncer.Sync(ctx, targets)
			require.NoError(t, err)
		}
		pass(target("good"), target("bad"))
		time.Sleep(time.Minute)
		pass(target("good"), target("bad"))
		_, err := syncer.Sync(ctx, []inject.Target{target("good")}, "elsewhere")
		require.NoError(t, err, "and it says nothing of the rest")
		cancelled, cancel := context.WithCancel(ctx)
		cancel()
		_, err = syncer.Sync(cancelled, []inject.Target{target("good"), target("bad")})
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, 2, changes, "the hook that was there is called too")
		require.Equal(t, 4, passes, "that one too")
		syncer.OnAdopt(registry.Profile{}, "shop", "good")
		require.Equal(t, 1, adoptions, "and that one")
		require.NoError(t, testutil.GatherAndCompare(metrics, strings.NewReader(`
# HELP regcred_pullsecret_adoptions_total Published credentials that were adopted.
# TYPE regcred_pullsecret_adoptions_total counter
regcred_pullsecret_adoptions_total 1
# HELP regcred_pullsecret_changes_total Changes that were tried.
# TYPE regcred_pullsecret_changes_total counter
regcred_pullsecret_changes_total{action="create_secret",result="made"} 1
regcred_pullsecret_changes_total{action="update_secret",result="made"} 1
# HELP regcred_pullsecret_credential_expiry_seconds Time at which the credential of a profile expires.
# TYPE regcred_pullsecret_credential_expiry_seconds gauge
regcred_pullsecret_credential_expiry_seconds{kind="custom",profile="good"} 9.4668846e+08
# HELP regcred_pullsecret_credentials_total Calls to issuers, by result.
# TYPE regcred_pullsecret_credentials_total counter
regcred_pullsecret_credentials_total{kind="custom",profile="bad",result="failed"} 2
regcred_pullsecret_credentials_total{kind="custom",profile="bad",result="new"} 0
regcred_pullsecret_credentials_total{kind="custom",profile="good",result="failed"} 0
regcred_pullsecret_credentials_total{kind="custom",profile="good",result="new"} 2
# HELP regcred_pullsecret_expiry_seconds Time at which the first of the published secrets expires.
# TYPE regcred_pullsecret_expiry_seconds gauge
regcred_pullsecret_expiry_seconds 9.4668846e+08
# HELP regcred_pullsecret_login_expiry_seconds Time at which the login of a profile expires.
# TYPE regcred_pullsecret_login_expiry_seconds gauge
regcred_pullsecret_login_expiry_seconds{kind="custom",profile="good"} 9.5446080e+08
# HELP regcred_pullsecret_passes_total Passes over a cluster.
# TYPE regcred_pullsecret_passes_total counter
regcred_pullsecret_passes_total{result="cut_short"} 1
regcred_pullsecret_passes_total{result="finished"} 3
# HELP regcred_pullsecret_problems Problems in all places.
# TYPE regcred_pullsecret_problems gauge
regcred_pullsecret_problems{reason="Unauthorized"} 1
# HELP regcred_pullsecret_secrets Published secrets by the age of their credentials.
# TYPE regcred_pullsecret_secrets gauge
regcred_pullsecret_secrets{state="missing"} 1
regcred_pullsecret_secrets{state="newest"} 1
regcred_pullsecret_secrets{state="older"} 0
`)))
		problems, err := testutil.GatherAndLint(metrics)
		require.NoError(t, err)
		require.Empty(t, problems)

		syncer.SetTarget(target("pattern")) // Its pass covers all namespaces, and no other target.
		_, err = syncer.SyncDue(ctx)
		require.NoError(t, err)
		n, err := testutil.GatherAndCount(metrics, "regcred_pullsecret_credentials_total")
		require.NoError(t, err)
		require.Equal(t, 6, n)

		pass(target("good"))
		n, err = testutil.GatherAndCount(metrics, "regcred_pullsecret_credentials_total", "regcred_pullsecret_problems")
		require.NoError(t, err)
		require.Equal(t, 2, n, "what is gone has no series")
	})
}

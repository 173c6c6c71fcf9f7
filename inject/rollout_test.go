package inject_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/inject/injecttest"
	"github.com/regcred/regcred/registry"
)

func TestRollout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		generation := 0
		clusters := make(map[string]*inject.Syncer)
		worlds := make(map[string]*injecttest.Cluster)
		for _, name := range []string{"eu", "us"} {
			worlds[name] = &injecttest.Cluster{}
			for i := range 3 {
				require.NoError(t, worlds[name].CreateNamespace(t.Context(), fmt.Sprintf("team-%d", i), nil))
			}
			clusters[name] = &inject.Syncer{Cluster: worlds[name], Credential: func(context.Context, registry.Profile) (credentials.Credential, error) {
				issued := start.Add(time.Duration(generation) * 10 * time.Hour)
				return credentials.Credential{Username: "u", Password: credentials.NewSecret(fmt.Sprint(generation)), IssuedAt: issued, ExpiresAt: issued.Add(12 * time.Hour)}, nil
			}}
		}
		targets := []inject.Target{target("regcred", profile("ecr")), in("other", "team-0")}
		which := func(t inject.Target) bool { return t.Name == "regcred" }
		require.False(t, inject.RolloutOf(clusters, which).Complete)
		sync := func(name string) {
			_, err := clusters[name].Sync(t.Context(), targets)
			require.NoError(t, err)
		}
		sync("eu")
		sync("us")
		same := func(want, is inject.Rollout) {
			t.Helper()
			require.True(t, want.ExpiresAt.Equal(is.ExpiresAt), "%s", is.ExpiresAt)
			want.ExpiresAt = is.ExpiresAt
			require.Equal(t, want, is)
		}
		all := map[string]int{"eu": 3, "us": 3}
		same(inject.Rollout{Newest: 6, NewestIn: all, Complete: true, ExpiresAt: start.Add(12 * time.Hour)}, inject.RolloutOf(clusters, which))
		require.Equal(t, 8, inject.RolloutOf(clusters, nil).Newest)
		require.Equal(t, 3, clusters["eu"].Rollout(which).Newest)

		generation++ // A webhook rejects the change in one namespace, and the other cluster is cut off.
		worlds["eu"].Before = func(_ context.Context, c inject.Change) error {
			if c.Namespace == "team-1" {
				return registry.ErrDenied
			}
			return nil
		}
		sync("eu")
		rollout := inject.RolloutOf(clusters, which)
		require.Equal(t, 2, rollout.Newest)
		require.Equal(t, map[string]int{"eu": 2, "us": 0}, rollout.NewestIn)
		require.Len(t, rollout.Older, 4)
		require.Len(t, rollout.Problems, 1)
		require.ErrorIs(t, rollout.Older[0].Err, registry.ErrDenied)
		require.WithinDuration(t, start.Add(12*time.Hour), rollout.ExpiresAt, 0)
		require.Equal(t, "2 of 6 secrets hold the newest credentials\n"+
			"  eu: team-1/regcred holds older ones until 2000-01-01T12:00:00Z: denied\n"+
			"  us: team-0/regcred holds older ones until 2000-01-01T12:00:00Z\n"+
			"  us: team-1/regcred holds older ones until 2000-01-01T12:00:00Z\n"+
			"  us: team-2/regcred holds older ones until 2000-01-01T12:00:00Z\n", rollout.String())

		worlds["us"].Before = func(_ context.Context, c inject.Change) error { return registry.ErrDenied }
		require.NoError(t, worlds["us"].DeleteSecret(t.Context(), "team-2", "regcred"))
		sync("us")
		rollout = clusters["us"].Rollout(which)
		require.Len(t, rollout.Missing, 1)
		require.Equal(t, "team-2", rollout.Missing[0].Namespace)
		require.Contains(t, rollout.String(), "  team-2/regcred holds none: denied\n")

		worlds["us"].Before, worlds["eu"].Before = nil, nil
		time.Sleep(time.Minute)
		sync("eu")
		sync("us")
		same(inject.Rollout{Newest: 6, NewestIn: all, Complete: true, ExpiresAt: start.Add(22 * time.Hour)}, inject.RolloutOf(clusters, which))
	})
}

// Passwords have no issue time: the newest is the one that was entered last, whichever cluster it has reached.
func TestRolloutOfPasswords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		password := "first"
		clusters := make(map[string]*inject.Syncer)
		for _, name := range []string{"eu", "us"} {
			clusters[name] = &inject.Syncer{Cluster: clusterOf(t, 3), Credential: func(context.Context, registry.Profile) (credentials.Credential, error) {
				return credentials.Credential{Username: "u", Password: credentials.NewSecret(password)}, nil
			}}
		}
		targets := []inject.Target{target("regcred", profile("quay"))}
		for name, o := range inject.SyncEach(t.Context(), clusters, targets) {
			require.NoError(t, o.Err, name)
		}
		require.Equal(t, 6, inject.RolloutOf(clusters, nil).Newest)
		for _, first := range []string{"us", "eu"} {
			time.Sleep(time.Hour)
			password = "of " + first
			_, err := clusters[first].Sync(t.Context(), targets)
			require.NoError(t, err)
			for range 20 { // The order of a map is random.
				rollout := inject.RolloutOf(clusters, nil)
				require.Equal(t, 3, rollout.NewestIn[first])
				require.Equal(t, 3, rollout.Newest)
			}
		}
	})
}

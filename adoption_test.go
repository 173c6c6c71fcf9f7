package regcred_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred"
	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/inject/injecttest"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
)

// A process adopts the credential that an earlier process published, once the registry has accepted it. If the registry
// rejects it, it is dropped, issued again, and not adopted again.
func TestAdoptedCredentialIsProven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := harbor(t)
		var issued atomic.Int32
		password := "pw-a"
		process := func(cluster inject.Cluster) (*regcred.Pipeline, *inject.Syncer) {
			p := newPipeline(hosts{"harbor.test": r})
			p.Provider = providers.Func(func(context.Context, registry.Profile) (credentials.Credential, error) {
				issued.Add(1)
				return credentials.Credential{Username: "robot-a", Password: credentials.NewSecret(password), IssuedAt: time.Now(), ExpiresAt: time.Now().Add(12 * time.Hour)}, nil
			})
			return p, &inject.Syncer{
				Cluster: cluster, Credential: p.Credential, Lookup: p.Lookup, Adopt: p.Adopt,
				AdoptionKey: credentials.NewSecret("0123456789abcdef"),
			}
		}
		cluster := &injecttest.Cluster{}
		require.NoError(t, cluster.CreateNamespace(t.Context(), "shop", nil))
		targets := []inject.Target{{
			Name: "regcred", Profiles: []registry.Profile{profile("a", "harbor.test", "robot-a", "ignored")}, Namespaces: inject.Selection{Names: []string{"*"}},
		}}
		sync := func(s *inject.Syncer) inject.Result {
			t.Helper()
			result, err := s.Sync(t.Context(), targets)
			require.NoError(t, err)
			require.NoError(t, result.Err())
			return result
		}
		_, s := process(cluster)
		require.Len(t, sync(s).Changed, 1)

		time.Sleep(time.Hour)
		asked := len(r.Requests())
		p, s := process(cluster)
		require.Empty(t, sync(s).Changed)
		require.EqualValues(t, 1, issued.Load())
		require.Greater(t, len(r.Requests()), asked, "the registry was asked about the adopted credential")
		require.True(t, p.Lookup(targets[0].Profiles[0]).Usable)

		// The credential is revoked at the registry, where another password is set.
		r.SetAccounts(registrytest.Account{Username: "robot-a", Password: credentials.NewSecret("pw-new"), Pull: []string{"team-a/*"}})
		password = "pw-new"
		time.Sleep(time.Hour)
		p, s = process(cluster)
		require.Len(t, sync(s).Changed, 1, "the published one was rejected")
		require.EqualValues(t, 2, issued.Load())
		c, err := p.Credential(t.Context(), targets[0].Profiles[0])
		require.NoError(t, err)
		require.Equal(t, "pw-new", c.Password.Reveal())
		require.Empty(t, sync(s).Changed)
		require.EqualValues(t, 2, issued.Load())
	})
}

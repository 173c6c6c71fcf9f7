package inject_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/inject/injecttest"
	"github.com/regcred/regcred/registry"
)

// unnamed is a cluster without UIDs.
type unnamed struct{ inject.Cluster }

func (u unnamed) State(ctx context.Context, scope inject.Scope) ([]inject.Namespace, error) {
	state, err := u.Cluster.State(ctx, scope)
	for i := range state {
		state[i].UID = ""
	}
	return state, err
}

// recreate deletes and creates a namespace, with only an account in it.
func (w *world) recreate(name string) {
	w.t.Helper()
	w.RemoveNamespace(name)
	require.NoError(w.t, w.CreateNamespace(w.t.Context(), name, nil))
}

// No pass notices in between that the namespace is gone.
func TestNamespaceMadeAnewUnseenIsNoFight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a")
		tg := target("one", profile("ecr"))
		for range 5 {
			w.clean(tg)
			w.recreate("a")
			require.Len(t, w.clean(tg).Changed, 2)
		}
	})
}

func TestFightEndsWithItsNamespace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a")
		tg := target("one", profile("ecr"))
		w.clean(tg)
		for range 2 {
			require.NoError(t, w.DeleteSecret(t.Context(), "a", "one"))
			w.sync(tg)
		}
		require.ErrorIs(t, w.sync(tg).Err(), registry.ErrContested)
		w.recreate("a")
		require.Len(t, w.clean(tg).Changed, 2)
		// The backoff in the new namespace starts from the beginning.
		require.NoError(t, w.DeleteSecret(t.Context(), "a", "one"))
		require.Len(t, w.clean(tg).Changed, 1)
		require.NoError(t, w.DeleteSecret(t.Context(), "a", "one"))
		require.ErrorIs(t, w.sync(tg).Err(), registry.ErrContested)
	})
}

// After a change failed in one namespace, a recreated namespace of the same name does not wait.
func TestFailureEndsWithItsNamespace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a")
		tg := target("one", profile("ecr"))
		quota := errors.New("exceeded quota")
		w.Before = func(context.Context, inject.Change) error { return quota }
		require.ErrorIs(t, w.sync(tg).Err(), quota)
		w.Before = nil
		require.ErrorIs(t, w.sync(tg).Err(), quota, "it is too early to try again")
		w.recreate("a")
		require.Len(t, w.clean(tg).Changed, 2)
	})
}

// This happens in the middle of a pass, which then reads the namespace again.
func TestFightEndsWithItsNamespaceDuringAPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a")
		one, two := target("one", profile("ecr")), target("two", profile("hub"))
		w.clean(one)
		require.NoError(t, w.DeleteSecret(t.Context(), "a", "one"))
		w.clean(one)
		require.NoError(t, w.DeleteSecret(t.Context(), "a", "one"))
		require.ErrorIs(t, w.sync(one).Err(), registry.ErrContested)
		var once sync.Once
		w.Before = func(context.Context, inject.Change) (err error) {
			once.Do(func() {
				w.recreate("a")
				err = registry.ErrConflict
			})
			return err
		}
		require.Len(t, w.clean(one, two).Changed, 3)
	})
}

// Without UIDs, the Syncer notices only if a pass finds that the namespace is gone.
func TestNamespaceWithoutUIDIsForgottenWhenItIsGone(t *testing.T) {
	for name, scope := range map[string][]string{"all namespaces": nil, "that one": {"a"}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, "a", "b")
				w.syncer.Cluster = unnamed{w.Cluster}
				tg := target("one", profile("ecr"))
				w.clean(tg)
				for range 5 {
					w.RemoveNamespace("a")
					result, err := w.syncer.Sync(t.Context(), []inject.Target{tg}, scope...)
					require.NoError(t, err)
					require.NoError(t, result.Err())
					require.NoError(t, w.CreateNamespace(t.Context(), "a", nil))
					require.Len(t, w.clean(tg).Changed, 2)
				}
			})
		})
	}
}

// A stripping cluster has an admission webhook that removes the pull secrets from each written account, within the
// request of the Syncer. No event of another client reports that.
type stripping struct{ *injecttest.Cluster }

func (c stripping) Apply(ctx context.Context, change inject.Change) error {
	err := c.Cluster.Apply(ctx, change)
	if err == nil && change.Action == inject.LinkAccount {
		return c.WriteAccount(ctx, change.Namespace, injecttest.AccountObject{Name: change.Name})
	}
	return err
}

func TestWebhookThatChangesOwnWritesIsReported(t *testing.T) {
	w := newWorld(t, "shop")
	w.syncer.Cluster = stripping{w.Cluster}
	result := w.sync(target("regcred", profile("a")))
	require.Equal(t, map[inject.Action]int{inject.CreateSecret: 1, inject.LinkAccount: 2}, actions(result))
	require.ErrorIs(t, result.Err(), registry.ErrContested)
	require.False(t, w.syncer.NextAt().IsZero())

	w.syncer.Cluster = w.Cluster // The webhook is gone.
	require.NoError(t, w.DeleteAccount(t.Context(), "shop", "default"))
	require.NoError(t, w.WriteAccount(t.Context(), "shop", injecttest.AccountObject{Name: "default", PullSecrets: []string{"regcred"}}))
	w.clean(target("regcred", profile("a")))
}

package inject_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/pullsecret"
	"github.com/regcred/regcred/registry"
)

// typed returns a profile whose credential is the password that its user has typed, as for a static login. Such a
// credential has no issue time.
func typed(name, password string) registry.Profile {
	p := profile(name)
	p.Login.Password = credentials.NewSecret(password)
	return p
}

func typedCredential(_ context.Context, p registry.Profile) (credentials.Credential, error) {
	return credentials.Credential{Username: p.Login.Username, Password: p.Login.Password}, nil
}

func (w *world) password(namespace, secret, host string) string {
	w.t.Helper()
	s := w.secret(namespace, secret)
	require.NotNil(w.t, s, "secret %s is gone", secret)
	config, err := pullsecret.Parse(s.Data[pullsecret.SecretKey])
	require.NoError(w.t, err)
	c, _ := config.Credential(host)
	return c.Password.Reveal()
}

// due makes the passes that are due now.
func (w *world) due() inject.Result {
	w.t.Helper()
	at := w.syncer.NextAt()
	require.False(w.t, at.IsZero() || at.After(time.Now()), "nothing is due")
	result, err := w.syncer.SyncDue(w.t.Context())
	require.NoError(w.t, err)
	require.NoError(w.t, result.Err())
	return result
}

// quiet requires that nothing is due.
func (w *world) quiet() {
	w.t.Helper()
	at := w.syncer.NextAt()
	require.True(w.t, at.IsZero() || at.After(time.Now()), "a pass is due")
}

// A list for a few namespaces may be older than the list that the Syncer keeps. What such a pass changes is looked at
// again with the kept list, because no event follows: a Controller takes the change for its own.
func TestChangesOfAnotherListAreVisitedAgain(t *testing.T) {
	w := newWorld(t, "shop", "other")
	w.syncer.Credential, w.syncer.CompleteLists = typedCredential, true
	was := target("regcred", typed("a", "first"))
	is, more := target("regcred", typed("a", "second")), target("more", typed("b", "first"))
	w.clean(is, more)
	w.quiet()

	_, err := w.syncer.Sync(t.Context(), []inject.Target{was}, "shop")
	require.NoError(t, err)
	require.Equal(t, "first", w.password("shop", "regcred", "a.example.com"))
	require.Equal(t, []string{"regcred", "more"}, w.pullSecrets("shop"), "what the kept list needs is not removed")
	require.Equal(t, map[inject.Action]int{inject.UpdateSecret: 1}, actions(w.due()))
	require.Equal(t, "second", w.password("shop", "regcred", "a.example.com"))
	require.Equal(t, []string{"regcred", "more"}, w.pullSecrets("shop"))
	w.quiet()

	_, err = w.syncer.Sync(t.Context(), []inject.Target{is, more}, "shop", "other")
	require.NoError(t, err)
	w.quiet() // The pass changed nothing.
}

// A change that was made in spite of an error counts, too.
func TestFailedChangesOfAnotherListAreVisitedAgain(t *testing.T) {
	w := newWorld(t, "shop")
	w.syncer.Credential = typedCredential
	is := target("regcred", typed("a", "second"))
	w.clean(is)
	w.Before = func(context.Context, inject.Change) error { return errors.New("no response") }
	_, err := w.syncer.Sync(t.Context(), []inject.Target{target("regcred", typed("a", "first"))}, "shop")
	require.NoError(t, err)
	require.Empty(t, w.due().Changed)
	w.quiet()
}

// A pass that waits for a slow credential does not see a list, a target or a key that is set meanwhile.
func TestChangesOfAPassThatWasOvertakenAreVisitedAgain(t *testing.T) {
	const slow = "slow"
	was, waits := target("regcred", typed("a", "first")), target("waits", typed(slow, "first"))
	is, more := target("regcred", typed("a", "second")), target("more", typed("b", "first"))
	newKey := credentials.NewSecret("fedcba9876543210")
	for name, tc := range map[string]struct {
		meanwhile func(w *world)
		targets   []inject.Target
		key       credentials.Secret
	}{
		"by a list": {func(w *world) { w.clean(is, waits, more) }, []inject.Target{is, waits, more}, sharedKey},
		"by a target": {func(w *world) {
			w.syncer.SetTarget(is)
			w.due()
		}, []inject.Target{is, waits}, sharedKey},
		"by a key": {func(w *world) {
			require.NoError(w.t, w.syncer.SetAdoptionKey(newKey))
			w.clean(is, waits)
		}, []inject.Target{is, waits}, newKey},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, "shop")
				w.syncer.CompleteLists, w.syncer.AdoptionKey = true, sharedKey
				issued := time.Now()
				hold := make(chan struct{})
				var held atomic.Bool
				w.syncer.Credential = func(ctx context.Context, p registry.Profile) (credentials.Credential, error) {
					if p.Name == slow && held.Load() {
						<-hold
					}
					c, err := typedCredential(ctx, p)
					c.IssuedAt = issued
					c.ExpiresAt = issued.Add(time.Hour)
					return c, err
				}
				w.clean(was, waits)
				require.NoError(t, w.DeleteSecret(t.Context(), "shop", "waits")) // A reason to write.
				held.Store(true)
				done := make(chan error)
				go func() {
					_, err := w.syncer.SyncNamespaces(t.Context(), "shop")
					done <- err
				}()
				synctest.Wait()
				held.Store(false)
				tc.meanwhile(w)
				close(hold)
				require.NoError(t, <-done)
				if at := w.syncer.NextAt(); !at.IsZero() && !at.After(time.Now()) {
					w.due()
				}
				w.quiet()
				other := &inject.Syncer{Cluster: w.Cluster, Credential: w.syncer.Credential, CompleteLists: true, AdoptionKey: tc.key}
				plan, err := other.Plan(t.Context(), tc.targets)
				require.NoError(t, err)
				require.Empty(t, plan.String())
			})
		})
	}
}

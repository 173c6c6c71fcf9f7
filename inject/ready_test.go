package inject_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/inject/injecttest"
	"github.com/regcred/regcred/pullsecret"
	"github.com/regcred/regcred/registry"
)

func TestEnsureReady(t *testing.T) {
	denied := &registry.Error{Op: "check image", Ref: "a.example.com/app:1", Code: registry.ErrDenied}
	for name, tc := range map[string]struct {
		before             func(w *world) // Prepares a world with the namespace "shop".
		meanwhile          func(w *world) // A second later.
		namespace, account string         // "shop" and "default" if they are empty.
		checked            error
		want               error // Nil means ready.
		says               string
		after              time.Duration
	}{
		"at once":            {},
		"without an account": {account: "-"},
		"namespace that is made later": {
			namespace: "late", after: time.Second,
			meanwhile: func(w *world) { require.NoError(w.t, w.CreateNamespace(w.t.Context(), "late", nil)) },
		},
		"namespace that is never made": {
			namespace: "never", want: registry.ErrNotYet, after: time.Minute,
			says: "pull secrets for never/default are not ready: the caller has no more time: namespace never does not exist: not yet",
		},
		"account that is made later": {
			account: "builder", after: time.Second,
			meanwhile: func(w *world) {
				require.NoError(w.t, w.WriteAccount(w.t.Context(), "shop", injecttest.AccountObject{Name: "builder"}))
			},
		},
		"cluster that does not answer for a while": {
			before: func(w *world) {
				until := time.Now().Add(time.Second)
				w.Before = func(context.Context, inject.Change) error {
					if time.Now().Before(until) {
						return registry.ErrClusterUnavailable
					}
					return nil
				}
			},
			after: time.Second,
		},
		"namespace that is not selected": {
			namespace: "kube-system", want: registry.ErrNotSelected,
			before: func(w *world) { require.NoError(w.t, w.CreateNamespace(w.t.Context(), "kube-system", nil)) },
		},
		"account that is not selected": {
			account: "other", want: registry.ErrNotSelected,
			before: func(w *world) {
				require.NoError(w.t, w.WriteAccount(w.t.Context(), "shop", injecttest.AccountObject{Name: "other"}))
			},
		},
		"namespace that is terminating": {
			want:   registry.ErrNamespaceGone,
			before: func(w *world) { require.NoError(w.t, w.DeleteNamespace(w.t.Context(), "shop")) },
		},
		"secret of somebody else": {
			want: registry.ErrNameTaken, says: "name taken",
			before: func(w *world) {
				require.NoError(w.t, w.WriteSecret(w.t.Context(), "shop", injecttest.SecretObject{Name: "regcred"}))
			},
		},
		"credential that cannot be had": {
			want: registry.ErrUnauthorized, says: "profile a: ",
			before: func(w *world) { w.issuer.err = &registry.Error{Op: "get credential", Code: registry.ErrUnauthorized} },
		},
		"credential that cannot be had, while the last one is good": {
			before: func(w *world) {
				w.clean(target("regcred", profile("a")))
				w.issuer.err = errors.New("issuer is down")
			},
		},
		"image that cannot be pulled": {checked: denied, want: registry.ErrDenied},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, "shop")
				asked := 0
				w.syncer.Check = func(_ context.Context, profiles []registry.Profile, images []string) error {
					asked++
					require.Equal(t, "a", profiles[0].Name)
					require.Equal(t, []string{"a.example.com/app:1"}, images)
					return tc.checked
				}
				place := func(s, or string) string {
					switch s {
					case "":
						return or
					case "-":
						return ""
					}
					return s
				}
				if tc.before != nil {
					tc.before(w)
				}
				if tc.meanwhile != nil {
					time.AfterFunc(time.Second, func() { tc.meanwhile(w) })
				}
				targets := []inject.Target{target("regcred", profile("a"))}
				targets[0].Accounts.Names = []string{"default", "builder"}
				ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, errors.New("the caller has no more time"))
				defer cancel()
				start := time.Now()
				err := w.syncer.EnsureReady(ctx, targets, place(tc.namespace, "shop"), place(tc.account, "default"), "a.example.com/app:1")
				took := time.Since(start)
				require.GreaterOrEqual(t, took, tc.after)
				require.LessOrEqual(t, took, tc.after+time.Second)
				if tc.want == nil {
					require.NoError(t, err)
					require.Equal(t, 1, asked)
					require.NotNil(t, w.secret(place(tc.namespace, "shop"), "regcred"))
					return
				}
				require.ErrorIs(t, err, tc.want)
				require.ErrorContains(t, err, tc.says)
			})
		})
	}
}

// A check may fetch a new credential because the registry rejects the published one. EnsureReady returns after the new
// credential is published.
func TestEnsureReadyPublishesWhatTheCheckProved(t *testing.T) {
	w := newWorld(t, "shop")
	w.syncer.Check = func(context.Context, []registry.Profile, []string) error {
		w.issuer.rotate("second", time.Time{})
		return nil
	}
	targets := []inject.Target{target("regcred", profile("a"))}
	require.NoError(t, w.syncer.EnsureReady(t.Context(), targets, "shop", "default", "a.example.com/app:1"))
	config, err := pullsecret.Parse(w.secret("shop", "regcred").Data[pullsecret.SecretKey])
	require.NoError(t, err)
	image, err := registry.ParseImage("a.example.com/app:1")
	require.NoError(t, err)
	require.Equal(t, "second-a", config.Match(image)[0].Credential.Password.Reveal())
}

func TestEnsureReadyWithoutCheck(t *testing.T) {
	w := newWorld(t, "shop")
	targets := []inject.Target{target("regcred", profile("a"))}
	require.NoError(t, w.syncer.EnsureReady(t.Context(), targets, "shop", "default"))
	require.ErrorContains(t, w.syncer.EnsureReady(t.Context(), targets, "shop", "default", "a.example.com/app:1"), "Check is not set")
}

// A list that changes while EnsureReady waits is used at once: the old list does not compete with the passes over the
// new one.
func TestEnsureReadyFollowsTheTargets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "shop")
		w.syncer.Credential = typedCredential
		is := target("regcred", typed("a", "first"))
		is.Accounts.Names = []string{"builder"}
		w.clean(is)
		var list atomic.Pointer[[]inject.Target]
		list.Store(&[]inject.Target{is})
		var calls atomic.Int64
		unavailable := errors.New("no list")
		targets := func(context.Context) ([]inject.Target, error) {
			if calls.Add(1)%2 == 0 {
				return nil, unavailable
			}
			return *list.Load(), nil
		}
		done := make(chan error)
		go func() { done <- w.syncer.EnsureReadyFunc(t.Context(), targets, "shop", "builder") }()
		time.Sleep(time.Minute)
		is.Profiles = []registry.Profile{typed("a", "second")}
		list.Store(&[]inject.Target{is})
		w.clean(is)
		time.Sleep(10 * time.Second)
		writes := w.Writes()
		time.Sleep(time.Minute)
		require.Equal(t, writes, w.Writes())
		require.Equal(t, "second", w.password("shop", "regcred", "a.example.com"))
		require.NoError(t, w.WriteAccount(t.Context(), "shop", injecttest.AccountObject{Name: "builder"}))
		require.NoError(t, <-done)
		require.Greater(t, calls.Load(), int64(10))
		require.Equal(t, "second", w.password("shop", "regcred", "a.example.com"))

		calls.Store(1)
		require.ErrorIs(t, w.syncer.EnsureReadyFunc(t.Context(), targets, "shop", "builder"), unavailable)
	})
}

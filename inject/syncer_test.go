package inject_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/inject/injecttest"
	"github.com/regcred/regcred/pullsecret"
	"github.com/regcred/regcred/registry"
)

// An issuer issues the credentials of a test.
type issuer struct {
	mu       sync.Mutex
	password string // The same for all profiles.
	issued   time.Time
	life     time.Duration // Zero means that they never expire.
	err      error
	failing  map[string]error // By the name of the profile.
}

func (i *issuer) Credential(_ context.Context, p registry.Profile) (credentials.Credential, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if err := errors.Join(i.err, i.failing[p.Name]); err != nil {
		return credentials.Credential{}, err
	}
	if p.Login.Anonymous {
		return credentials.Credential{Anonymous: true}, nil
	}
	c := credentials.Credential{Username: "robot", Password: credentials.NewSecret(i.password + "-" + p.Name)}
	if i.life > 0 {
		c.IssuedAt, c.ExpiresAt = i.issued, i.issued.Add(i.life)
	}
	return c, nil
}

func (i *issuer) rotate(password string, issued time.Time) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.password, i.issued = password, issued
}

func profile(name string) registry.Profile {
	return registry.Profile{Name: name, Kind: registry.Custom, Endpoint: name + ".example.com", Login: credentials.Login{Username: "u", Password: credentials.NewSecret("p")}}
}

func target(name string, profiles ...registry.Profile) inject.Target {
	return inject.Target{
		Name: name, Profiles: profiles,
		Namespaces: inject.Selection{Names: []string{"*"}, Except: []string{"kube-*"}},
		Accounts:   inject.Selection{Names: []string{"default"}},
	}
}

// A world is a cluster with a Syncer and an issuer.
type world struct {
	t *testing.T
	*injecttest.Cluster
	issuer *issuer
	syncer *inject.Syncer
}

func newWorld(t *testing.T, namespaces ...string) *world {
	w := &world{t: t, Cluster: &injecttest.Cluster{}, issuer: &issuer{password: "first"}}
	w.syncer = &inject.Syncer{Cluster: w.Cluster, Credential: w.issuer.Credential}
	for _, name := range namespaces {
		require.NoError(t, w.CreateNamespace(t.Context(), name, nil))
	}
	return w
}

func (w *world) sync(targets ...inject.Target) inject.Result {
	w.t.Helper()
	result, err := w.syncer.Sync(w.t.Context(), targets)
	require.NoError(w.t, err)
	return result
}

// clean makes a pass that must find no problem.
func (w *world) clean(targets ...inject.Target) inject.Result {
	w.t.Helper()
	result := w.sync(targets...)
	require.NoError(w.t, result.Err())
	return result
}

func (w *world) secret(namespace, name string) *injecttest.SecretObject {
	w.t.Helper()
	s, err := w.Secret(w.t.Context(), namespace, name)
	require.NoError(w.t, err)
	return s
}

func (w *world) pullSecrets(namespace string) []string {
	w.t.Helper()
	a, err := w.Account(w.t.Context(), namespace, "default")
	require.NoError(w.t, err)
	return a.PullSecrets
}

func actions(r inject.Result) map[inject.Action]int {
	counts := make(map[inject.Action]int)
	for _, c := range r.Changed {
		counts[c.Action]++
	}
	return counts
}

func TestSyncWritesOnlyWhatDiffers(t *testing.T) {
	w := newWorld(t, "a", "b", "kube-system")
	targets := []inject.Target{target("one", profile("ecr"), profile("hub")), target("two", profile("ghcr"))}

	require.Equal(t, map[inject.Action]int{inject.CreateSecret: 4, inject.LinkAccount: 2}, actions(w.clean(targets...)))
	require.Equal(t, []string{"one", "two"}, w.pullSecrets("a"))
	require.Nil(t, w.secret("kube-system", "one"))
	s := w.secret("b", "one")
	require.Equal(t, "ecr,hub", s.Annotations[inject.AnnotationProfiles])
	config, err := pullsecret.Parse(s.Data[pullsecret.SecretKey])
	require.NoError(t, err)
	require.Equal(t, []string{"ecr.example.com", "hub.example.com"}, config.Keys())

	writes := w.Writes()
	require.Empty(t, w.clean(targets...).Changed)
	require.Equal(t, writes, w.Writes(), "a pass that has nothing to do writes nothing")

	w.issuer.rotate("second", time.Time{})
	require.Equal(t, map[inject.Action]int{inject.UpdateSecret: 4}, actions(w.clean(targets...)), "a rotation is one write for each secret")
	require.Equal(t, s.UID, w.secret("b", "one").UID)
}

func TestSyncRemovesWhatIsNotWanted(t *testing.T) {
	w := newWorld(t, "a", "b")
	one, two := target("one", profile("ecr")), target("two", profile("hub"))
	w.clean(one, two)
	require.NoError(t, w.WriteSecret(t.Context(), "a", injecttest.SecretObject{Name: "theirs", Type: "Opaque"}))

	one.Namespaces.Names = []string{"b"}
	result := w.clean(one, two)
	require.Equal(t, map[inject.Action]int{inject.LinkAccount: 1, inject.DeleteSecret: 1}, actions(result))
	require.Equal(t, inject.LinkAccount, result.Changed[0].Action, "links go first")
	require.Equal(t, []string{"two"}, w.pullSecrets("a"))
	require.Nil(t, w.secret("a", "one"))
	require.NotNil(t, w.secret("b", "one"))

	w.syncer.CompleteLists = true
	w.clean()
	require.Empty(t, w.pullSecrets("b"))
	require.Nil(t, w.secret("b", "two"))
	require.NotNil(t, w.secret("a", "theirs"))
}

func TestSyncRemovesOnlyLinksOfItsOwn(t *testing.T) {
	w := newWorld(t, "a")
	require.NoError(t, w.WriteAccount(t.Context(), "a", injecttest.AccountObject{Name: "default", PullSecrets: []string{"z", "one", "y"}}))
	w.clean(target("one", profile("ecr")), target("two", profile("hub")))
	require.Equal(t, []string{"z", "one", "y", "two"}, w.pullSecrets("a"))
	w.syncer.CompleteLists = true
	w.clean()
	require.Equal(t, []string{"z", "one", "y"}, w.pullSecrets("a"), "somebody else had put the name there before")
}

func TestSyncSelectsAccounts(t *testing.T) {
	w := newWorld(t, "a")
	require.NoError(t, w.WriteAccount(t.Context(), "a", injecttest.AccountObject{Name: "builder", Labels: map[string]string{"pull": "yes"}}))
	tg := target("one", profile("ecr"))
	tg.Accounts = inject.Selection{Names: []string{"*"}, Labels: func(l map[string]string) bool { return l["pull"] == "yes" }}
	w.clean(tg)
	require.Empty(t, w.pullSecrets("a"))
	builder, err := w.Account(t.Context(), "a", "builder")
	require.NoError(t, err)
	require.Equal(t, []string{"one"}, builder.PullSecrets)

	// It was unlinked by another client and is no longer selected: only the record of the link is left to remove.
	tg.Accounts = inject.Selection{}
	w.clean(tg)
	builder, err = w.Account(t.Context(), "a", "builder")
	require.NoError(t, err)
	require.Empty(t, builder.PullSecrets)
	require.NotNil(t, w.secret("a", "one"), "the secret is still wanted")
}

func TestSyncSkipsTerminatingNamespaces(t *testing.T) {
	w := newWorld(t, "a", "b")
	require.NoError(t, w.DeleteNamespace(t.Context(), "a"))
	w.clean(target("one", profile("ecr")))
	require.Nil(t, w.secret("a", "one"))
	// The namespace starts to terminate between the plan and the change.
	require.NoError(t, w.CreateNamespace(t.Context(), "c", nil))
	w.Before = func(ctx context.Context, c inject.Change) error {
		if c.Namespace == "c" && c.Action == inject.CreateSecret {
			return w.DeleteNamespace(ctx, "c")
		}
		return nil
	}
	w.clean(target("one", profile("ecr")))
}

func TestSyncLimitedToNamespaces(t *testing.T) {
	w := newWorld(t, "a", "b")
	result, err := w.syncer.Sync(t.Context(), []inject.Target{target("one", profile("ecr"))}, "b", "gone")
	require.NoError(t, err)
	require.NoError(t, result.Err())
	require.Nil(t, w.secret("a", "one"))
	require.NotNil(t, w.secret("b", "one"))
}

func TestGoodSecretIsNeverReplacedByWorse(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	for name, test := range map[string]struct {
		spoil func(w *world)
		want  error
	}{
		"issuer fails":          {func(w *world) { w.issuer.err = errors.New("throttled") }, nil},
		"issuer fails for one":  {func(w *world) { w.issuer.failing = map[string]error{"hub": errors.New("denied")} }, nil},
		"credential is expired": {func(w *world) { w.issuer.issued = now.Add(-48 * time.Hour) }, credentials.ErrCredentialExpired},
		"credential is empty": {func(w *world) {
			w.syncer.Credential = func(context.Context, registry.Profile) (c credentials.Credential, _ error) { return }
		}, credentials.ErrEmpty},
		"credential is older": {func(w *world) { w.issuer.rotate("old", now.Add(-time.Hour)) }, registry.ErrOlderCredential},
		"credential cannot be had in time": {func(w *world) {
			w.syncer.CredentialTimeout = time.Millisecond
			w.syncer.Credential = func(ctx context.Context, _ registry.Profile) (c credentials.Credential, _ error) {
				<-ctx.Done()
				return c, context.Cause(ctx)
			}
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "a")
			w.issuer.issued, w.issuer.life = now, 12*time.Hour
			tg := target("one", profile("ecr"), profile("hub"))
			w.clean(tg)
			before, writes := w.secret("a", "one"), w.Writes()
			test.spoil(w)
			result := w.sync(tg)
			require.Error(t, result.Err())
			if test.want != nil {
				require.ErrorIs(t, result.Err(), test.want)
			}
			require.Equal(t, before, w.secret("a", "one"))
			require.Equal(t, writes, w.Writes())
			require.Equal(t, []string{"one"}, w.pullSecrets("a"))
			require.True(t, result.ExpiresAt.Equal(now.Add(12*time.Hour)), "it tells when what is published expires: %s", result.ExpiresAt)
			require.False(t, result.NextAt.IsZero())
		})
	}
}

func TestFailureOfOneTargetLeavesTheOthers(t *testing.T) {
	w := newWorld(t, "a")
	good, bad, invalid := target("good", profile("ecr")), target("bad", profile("hub")), target("invalid", profile("quay"))
	w.clean(good, bad, invalid)
	w.issuer.rotate("second", time.Time{})
	w.issuer.failing = map[string]error{"hub": errors.New("denied")}
	invalid.Namespaces.Names = []string{"[broken"}
	result := w.sync(good, bad, invalid)
	require.ErrorContains(t, result.Err(), "target bad: profile hub: denied")
	require.ErrorContains(t, result.Err(), "namespaces.names[0]")
	require.Len(t, result.Changed, 1)
	require.Equal(t, "good", result.Changed[0].Name)
	require.Equal(t, []string{"good", "bad", "invalid"}, w.pullSecrets("a"), "what is held stays linked")
	require.NotNil(t, w.secret("a", "invalid"))
}

// A selection by labels without names is a mistake, and does not mean an empty selection: the published secrets stay.
func TestSelectionWithoutNames(t *testing.T) {
	for name, selection := range map[string]inject.Selection{
		"labels": {Labels: func(map[string]string) bool { return true }},
		"except": {Except: []string{"kube-*"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "a")
			tg := target("regcred", profile("ecr"))
			w.clean(tg)
			tg.Namespaces = selection
			require.ErrorContains(t, tg.Validate(), "namespaces.names are missing")
			result := w.sync(tg)
			require.ErrorContains(t, result.Err(), "namespaces.names are missing")
			require.NotNil(t, w.secret("a", "regcred"))
			require.Equal(t, []string{"regcred"}, w.pullSecrets("a"))
		})
	}
}

func TestAnonymousAccessNeedsNoSecret(t *testing.T) {
	w := newWorld(t, "a")
	tg := target("one", profile("mcr"))
	w.clean(tg)
	tg.Profiles[0].Login = credentials.Login{Anonymous: true}
	w.clean(tg)
	require.Nil(t, w.secret("a", "one"))
	require.Empty(t, w.pullSecrets("a"))
}

func TestForeignSecretIsRefused(t *testing.T) {
	w := newWorld(t, "a", "b")
	theirs := injecttest.SecretObject{Name: "one", Type: "Opaque", Data: map[string][]byte{"k": []byte("v")}}
	require.NoError(t, w.WriteSecret(t.Context(), "a", theirs))
	result := w.sync(target("one", profile("ecr")))
	require.ErrorIs(t, result.Err(), registry.ErrNameTaken)
	require.Equal(t, []byte("v"), w.secret("a", "one").Data["k"])
	require.Empty(t, w.pullSecrets("a"), "a secret of others is not linked")
	require.Equal(t, []string{"one"}, w.pullSecrets("b"))
}

func TestWrongTypeIsReplacedOnlyOnRequest(t *testing.T) {
	w := newWorld(t, "a")
	tg := target("one", profile("ecr"))
	w.clean(tg)
	s := w.secret("a", "one")
	require.NoError(t, w.DeleteSecret(t.Context(), "a", "one"))
	s.Type = "Opaque"
	require.NoError(t, w.WriteSecret(t.Context(), "a", *s))
	require.ErrorIs(t, w.sync(tg).Err(), registry.ErrWrongType)
	require.Equal(t, "Opaque", w.secret("a", "one").Type)
	w.syncer.ReplaceWrongType = true
	require.Equal(t, map[inject.Action]int{inject.ReplaceSecret: 1}, actions(w.clean(tg)))
	require.Equal(t, pullsecret.SecretType, w.secret("a", "one").Type)
}

func TestWhatOthersPutOnOurSecretStays(t *testing.T) {
	w := newWorld(t, "a")
	tg := target("one", profile("ecr"))
	w.clean(tg)
	s := w.secret("a", "one")
	s.Labels["theirs"], s.Data["theirs"] = "x", []byte("y")
	delete(s.Annotations, inject.AnnotationProfiles)
	s.Data[pullsecret.SecretKey] = []byte(`{"auths":{}}`)
	require.NoError(t, w.WriteSecret(t.Context(), "a", *s))
	w.clean(tg)
	now := w.secret("a", "one")
	require.Equal(t, "x", now.Labels["theirs"])
	require.Equal(t, []byte("y"), now.Data["theirs"])
	require.Equal(t, "ecr", now.Annotations[inject.AnnotationProfiles])
	require.Contains(t, string(now.Data[pullsecret.SecretKey]), "ecr.example.com")
}

func TestConflictsAreRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a")
		var interfered atomic.Int32
		w.Before = func(ctx context.Context, c inject.Change) error {
			if c.Action != inject.LinkAccount || interfered.Add(1) > 2 {
				return nil
			}
			a, err := w.Account(ctx, "a", "default")
			if err != nil {
				return err
			}
			a.PullSecrets = append(a.PullSecrets, fmt.Sprint("theirs-", interfered.Load()))
			return w.WriteAccount(ctx, "a", *a)
		}
		w.clean(target("one", profile("ecr")))
		require.Equal(t, []string{"theirs-1", "theirs-2", "one"}, w.pullSecrets("a"))
	})
}

func TestEndlessConflictsAreReportedAndComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a")
		w.Before = func(ctx context.Context, c inject.Change) error { return registry.ErrConflict }
		result := w.sync(target("one", profile("ecr")))
		require.ErrorIs(t, result.Err(), registry.ErrConflict)
		require.Equal(t, time.Second, time.Until(result.NextAt))
	})
}

func TestNamespaceThatComesBackIsNoFight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a", "b")
		tg := target("one", profile("ecr"))
		w.clean(tg)
		for range 5 {
			require.NoError(t, w.DeleteNamespace(t.Context(), "a"))
			result, err := w.syncer.Sync(t.Context(), []inject.Target{tg}, "a") // After an event.
			require.NoError(t, err)
			require.Empty(t, result.Changed)
			w.RemoveNamespace("a")
			require.NoError(t, w.CreateNamespace(t.Context(), "a", nil))
			require.NoError(t, w.WriteAccount(t.Context(), "a", injecttest.AccountObject{Name: "default"}))
			result = w.sync(tg)
			require.NoError(t, result.Err())
			require.Len(t, result.Changed, 2)
		}
	})
}

func TestFightIsNoticedAndSlowsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a")
		tg := target("one", profile("ecr"))
		w.clean(tg)
		made, contested := 0, 0
		// For an hour, another client removes the link as soon as it is made. A pass follows each change, and is made
		// whenever one is due.
		for start := time.Now(); time.Since(start) < time.Hour; {
			require.NoError(t, w.WriteAccount(t.Context(), "a", injecttest.AccountObject{Name: "default"}))
			result := w.sync(tg)
			made += len(result.Changed)
			if errors.Is(result.Err(), registry.ErrContested) {
				contested++
				require.True(t, result.NextAt.After(time.Now()))
			}
			time.Sleep(time.Second)
		}
		require.InDelta(t, 12, made, 3, "ten seconds, twenty, ... ten minutes")
		require.Greater(t, contested, 3000)

		// A new goal is not delayed.
		w.clean(target("one", profile("ecr")), target("two", profile("hub")))
		require.Equal(t, []string{"one", "two"}, w.pullSecrets("a"))
	})
}

func TestClusterThatDoesNotAnswerEndsThePass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		namespaces := make([]string, 500)
		for i := range namespaces {
			namespaces[i] = fmt.Sprintf("ns-%03d", i)
		}
		w := newWorld(t, namespaces...)
		w.syncer.Concurrency = 4
		var tried atomic.Int32
		w.Before = func(context.Context, inject.Change) error {
			tried.Add(1)
			return fmt.Errorf("connection refused: %w", registry.ErrClusterUnavailable)
		}
		var waits []time.Duration
		for range 3 {
			result, err := w.syncer.Sync(t.Context(), []inject.Target{target("one", profile("ecr"))})
			require.ErrorIs(t, err, registry.ErrClusterUnavailable)
			waits = append(waits, time.Until(result.NextAt))
		}
		require.Less(t, tried.Load(), int32(40))
		require.Equal(t, []time.Duration{time.Second, 2 * time.Second, 4 * time.Second}, waits)
		w.Before = nil
		time.Sleep(waits[2])
		w.clean(target("one", profile("ecr")))
		require.Equal(t, 1000, w.Writes())
	})
}

// For example, an admission webhook that fails in one namespace.
func TestNamespaceThatDoesNotAnswerHoldsUpNobody(t *testing.T) {
	w := newWorld(t, "a", "b", "c", "d")
	w.syncer.Concurrency = 1
	w.Before = func(_ context.Context, c inject.Change) error {
		if c.Namespace == "b" {
			return fmt.Errorf("webhook failed: %w", registry.ErrClusterUnavailable)
		}
		return nil
	}
	result := w.sync(target("one", profile("ecr")))
	require.Len(t, result.Problems, 1)
	require.Equal(t, "b", result.Problems[0].Namespace)
	require.ErrorIs(t, result.Err(), registry.ErrClusterUnavailable)
	require.False(t, result.NextAt.IsZero())
	require.Equal(t, 6, w.Writes())
}

func TestPassEndsWithItsContext(t *testing.T) {
	w := newWorld(t, "a", "b")
	cause := errors.New("lost the lease")
	ctx, cancel := context.WithCancelCause(t.Context())
	w.syncer.Concurrency = 1
	w.Before = func(context.Context, inject.Change) error { cancel(cause); return nil }
	_, err := w.syncer.Sync(ctx, []inject.Target{target("one", profile("ecr"))})
	require.ErrorIs(t, err, cause)
	require.Less(t, w.Writes(), 4)
}

func TestNextAtFollowsExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a")
		w.issuer.issued, w.issuer.life = time.Now(), 10*time.Hour
		tg := target("one", profile("ecr"))
		require.Equal(t, 9*time.Hour, time.Until(w.clean(tg).NextAt), "by then, a cache with the zero Policy has renewed it")
		time.Sleep(9 * time.Hour)
		require.Equal(t, 20*time.Minute, time.Until(w.clean(tg).NextAt), "a third of what is left")
		time.Sleep(59 * time.Minute)
		require.Equal(t, 20*time.Second, time.Until(w.clean(tg).NextAt))
		w.issuer.life = 0
		require.True(t, w.clean(tg).NextAt.IsZero(), "it never expires")
	})
}

func TestSyncEachDoesNotWaitForAClusterThatIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down, up := newWorld(t, "a"), newWorld(t, "a")
		down.Before = func(ctx context.Context, _ inject.Change) error { <-ctx.Done(); return context.Cause(ctx) }
		syncers := map[string]*inject.Syncer{"down": down.syncer, "up": up.syncer}
		for name, outcome := range inject.SyncEach(t.Context(), syncers, []inject.Target{target("one", profile("ecr"))}) {
			require.Equal(t, "up", name)
			require.NoError(t, outcome.Err)
			break // The other goroutine ends with it; otherwise synctest fails.
		}
	})
}

func TestOwnersDoNotTouchEachOther(t *testing.T) {
	w := newWorld(t, "a")
	other := &inject.Syncer{Cluster: w.Cluster, Credential: w.issuer.Credential, Owner: "other"}
	w.clean(target("one", profile("ecr")))
	_, err := other.Sync(t.Context(), []inject.Target{target("two", profile("hub"))})
	require.NoError(t, err)
	w.clean(target("one", profile("ecr")))
	require.Equal(t, []string{"one", "two"}, w.pullSecrets("a"))
	result, err := other.Sync(t.Context(), []inject.Target{target("one", profile("hub"))})
	require.NoError(t, err)
	require.ErrorIs(t, result.Err(), registry.ErrNameTaken)
	_, err = (&inject.Syncer{Cluster: w.Cluster, Credential: w.issuer.Credential, Owner: "No Label"}).Sync(t.Context(), nil)
	require.Error(t, err)
}

func TestOnChangeIsToldOfEach(t *testing.T) {
	w := newWorld(t, "a", "b")
	var mu sync.Mutex
	told := make(map[string]error)
	w.syncer.OnChange = func(c inject.Change, err error) {
		mu.Lock()
		defer mu.Unlock()
		told[c.Namespace+" "+string(c.Action)] = err
	}
	w.Before = func(_ context.Context, c inject.Change) error {
		if c.Namespace == "b" {
			return registry.ErrNameTaken
		}
		return nil
	}
	w.sync(target("one", profile("ecr")))
	require.Equal(t, []string{"a create secret", "a link account", "b create secret"}, slices.Sorted(maps.Keys(told)))
	require.ErrorIs(t, told["b create secret"], registry.ErrNameTaken)
}

func TestOnSyncGivesAPassItsContext(t *testing.T) {
	w := newWorld(t, "a", "b")
	type key struct{}
	var told []string
	var asked, changed atomic.Int32
	w.syncer.OnSync = func(ctx context.Context, namespaces []string) (context.Context, func(inject.Result, error)) {
		return context.WithValue(ctx, key{}, int32(1)), func(r inject.Result, err error) {
			told = append(told, fmt.Sprint(namespaces, len(r.Changed), err))
		}
	}
	w.syncer.Credential = func(ctx context.Context, p registry.Profile) (credentials.Credential, error) {
		asked.Add(ctx.Value(key{}).(int32))
		return w.issuer.Credential(ctx, p)
	}
	w.Before = func(ctx context.Context, _ inject.Change) error {
		changed.Add(ctx.Value(key{}).(int32))
		return nil
	}
	tg := target("one", profile("ecr"))
	w.clean(tg)
	_, err := w.syncer.Sync(t.Context(), []inject.Target{tg}, "a")
	require.NoError(t, err)
	w.syncer.Owner = "No Label"
	_, err = w.syncer.Sync(t.Context(), nil)
	require.Error(t, err)
	require.Equal(t, []string{"[] 4 <nil>", "[a] 0 <nil>", "[] 0 " + err.Error()}, told)
	require.EqualValues(t, 2, asked.Load())
	require.EqualValues(t, 4, changed.Load())
}

func TestRequiredFields(t *testing.T) {
	w := newWorld(t, "a")
	for want, s := range map[string]*inject.Syncer{
		"Syncer.Cluster is not set":    {Credential: w.issuer.Credential},
		"Syncer.Credential is not set": {Cluster: w.Cluster},
	} {
		targets := []inject.Target{target("one", profile("ecr"))}
		_, err := s.Sync(t.Context(), targets)
		require.EqualError(t, err, "sync pull secrets: invalid: "+want)
		_, err = s.Plan(t.Context(), targets)
		require.EqualError(t, err, "plan pull secrets: invalid: "+want)
		require.ErrorContains(t, s.EnsureReady(t.Context(), targets, "a", "default"), want)
	}
}

func TestPanicInCredentialIsAProblem(t *testing.T) {
	w := newWorld(t, "a")
	w.syncer.Credential = func(ctx context.Context, p registry.Profile) (credentials.Credential, error) {
		if p.Name == "bad" {
			panic("hunter2")
		}
		return w.issuer.Credential(ctx, p)
	}
	result := w.sync(target("bad", profile("bad")), target("good", profile("good")))
	require.Len(t, result.Problems, 1)
	require.ErrorContains(t, result.Problems[0].Err, "Syncer.Credential panicked in inject_test.TestPanicInCredentialIsAProblem.func1")
	require.NotContains(t, result.Problems[0].Error(), "hunter2")
	require.NotNil(t, w.secret("a", "good"))
}

func TestNegativeOptions(t *testing.T) {
	w := newWorld(t, "a")
	w.syncer.Concurrency, w.syncer.CredentialTimeout = -1, -1
	w.clean(target("regcred", profile("a")))
	require.NotNil(t, w.secret("a", "regcred"))
}

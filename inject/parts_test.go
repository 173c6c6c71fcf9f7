package inject_test

import (
	"context"
	"errors"
	"fmt"
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
	"github.com/regcred/regcred/registry"
)

// A scoped cluster records the namespaces that a Syncer requests.
type scoped struct {
	*injecttest.Cluster
	mu    sync.Mutex
	asked []string // "*" means all namespaces.
}

func (c *scoped) State(ctx context.Context, scope inject.Scope) ([]inject.Namespace, error) {
	c.mu.Lock()
	if len(scope.Namespaces) == 0 {
		c.asked = append(c.asked, "*")
	}
	c.asked = append(c.asked, scope.Namespaces...)
	c.mu.Unlock()
	return c.Cluster.State(ctx, scope)
}

func (c *scoped) takeAsked() []string {
	asked := slices.Compact(slices.Sorted(slices.Values(c.asked)))
	c.asked = nil
	return asked
}

// in returns a target with a profile of its own, in namespaces of these names.
func in(name string, namespaces ...string) inject.Target {
	t := target(name, profile(name))
	t.Namespaces.Names = namespaces
	return t
}

// cached returns a world whose Syncer uses a cache, as with a Pipeline, and a counter of calls for credentials.
func cached(t *testing.T, namespaces ...string) (w *world, cluster *scoped, cache *credentials.Cache, issued, fetched *atomic.Int64) {
	w = newWorld(t, namespaces...)
	cluster, cache = &scoped{Cluster: w.Cluster}, &credentials.Cache{}
	issued, fetched = &atomic.Int64{}, &atomic.Int64{}
	w.syncer.Cluster = cluster
	w.syncer.Credential = func(ctx context.Context, p registry.Profile) (credentials.Credential, error) {
		fetched.Add(1)
		return cache.Credential(ctx, credentials.Key{Issuer: p.Name}, credentials.Func(func(context.Context) (credentials.Credential, error) {
			now := time.Now()
			return credentials.Credential{Username: "u", Password: credentials.NewSecret(fmt.Sprint(p.Name, issued.Add(1))), IssuedAt: now, ExpiresAt: now.Add(12 * time.Hour)}, nil
		}))
	}
	w.syncer.Lookup = func(p registry.Profile) credentials.Entry {
		key := credentials.Key{Issuer: p.Name}
		entry, _ := cache.Lookup(key)
		entry.Key = key
		return entry
	}
	cache.Hooks.Issued = w.syncer.Renewed
	return w, cluster, cache, issued, fetched
}

// A renewal costs one pass over the targets that hold the credential, and no pass is made before it.
func TestSyncDueFollowsTheCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, cluster, cache, _, fetched := cached(t, "a", "b", "c")
		ctx, stop := context.WithCancel(t.Context())
		go func() { _ = cache.Run(ctx) }()
		targets := []inject.Target{in("one", "a"), in("two", "b"), in("three", "c")}
		first := w.clean(targets...)
		cluster.takeAsked()
		renewal := w.syncer.Lookup(profile("one")).NextCall
		for _, p := range []string{"two", "three"} {
			if at := w.syncer.Lookup(profile(p)).NextCall; at.Before(renewal) {
				renewal = at
			}
		}
		require.Equal(t, renewal, first.NextAt, "the cache decides")

		fetched.Store(0)
		_, err := w.syncer.SyncDue(t.Context())
		require.NoError(t, err)
		require.Empty(t, cluster.takeAsked(), "nothing is due")
		require.Zero(t, fetched.Load())

		passes, writes, names := 0, w.Writes(), []string(nil)
		for time.Since(renewal) < 24*time.Hour {
			time.Sleep(time.Until(w.syncer.NextAt()))
			synctest.Wait()
			result, err := w.syncer.SyncDue(t.Context())
			require.NoError(t, err)
			passes++
			names = append(names, cluster.takeAsked()...)
			_ = result
		}
		require.NotContains(t, names, "*")
		written := w.Writes() - writes
		require.InDelta(t, 3*24/10.2, written, 3, "each credential is renewed after 9.6 to 10.8 hours")
		require.LessOrEqual(t, passes, 2*written+2, "there are no passes without effect, but one that waits for the call")
		stop()
		synctest.Wait()
	})
}

func TestRenewedMakesTheHoldersDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, cluster, cache, _, fetched := cached(t, "a", "b")
		shared := in("shared", "b")
		shared.Profiles = append(shared.Profiles, profile("one"))
		w.clean(in("one", "a"), in("two", "a"), shared)
		require.Empty(t, due(t, w), "what a pass had issued itself makes nothing due")
		cluster.takeAsked()

		c, err := w.syncer.Credential(t.Context(), profile("one"))
		require.NoError(t, err)
		cache.Invalidate(credentials.Key{Issuer: "one"}, c) // As after a check of an image elsewhere in the program.
		time.Sleep(time.Second)
		_, err = w.syncer.Credential(t.Context(), profile("one"))
		require.NoError(t, err)
		fetched.Store(0)
		require.ElementsMatch(t, []string{"a/one", "b/shared"}, due(t, w))
		require.Equal(t, []string{"a", "b"}, cluster.takeAsked())
		require.EqualValues(t, 3, fetched.Load(), "the profiles of the two targets that hold it")
		require.Empty(t, due(t, w))
	})
}

// A credential that is issued while a pass works with the previous one is published soon, whenever that happens.
func TestRenewalDuringAPass(t *testing.T) {
	for _, first := range []bool{true, false} {
		for _, when := range []string{"after Credential", "after Lookup"} {
			if first && when == "after Lookup" {
				continue // Only a target that already holds a credential learns of a renewal that is this late.
			}
			t.Run(fmt.Sprint(when, ", first pass: ", first), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w, _, cache, _, _ := cached(t, "a", "b")
					credential, lookup := w.syncer.Credential, w.syncer.Lookup
					renew := ""
					renewIf := func(point string, c credentials.Credential) {
						if renew == point {
							renew = ""
							time.Sleep(time.Second)
							cache.Invalidate(credentials.Key{Issuer: "one"}, c) // As after a check elsewhere in the program.
							_, err := credential(t.Context(), profile("one"))
							require.NoError(t, err)
						}
					}
					var last credentials.Credential
					w.syncer.Credential = func(ctx context.Context, p registry.Profile) (credentials.Credential, error) {
						c, err := credential(ctx, p)
						last = c
						renewIf("after Credential", c)
						return c, err
					}
					w.syncer.Lookup = func(p registry.Profile) credentials.Entry {
						entry := lookup(p)
						renewIf("after Lookup", last)
						return entry
					}
					targets := []inject.Target{in("one", "a", "b")}
					if !first {
						w.clean(targets...)
					}
					renew = when
					w.clean(targets...)
					require.Empty(t, renew)
					require.LessOrEqual(t, time.Until(w.syncer.NextAt()), 5*time.Second)
					time.Sleep(time.Until(w.syncer.NextAt()))
					require.ElementsMatch(t, []string{"a/one", "b/one"}, due(t, w))
					require.Equal(t, lookup(profile("one")).NextCall, w.syncer.NextAt())
				})
			})
		}
	}
}

// A pass over some of the namespaces finds a new credential. The other namespaces get it, too.
func TestRenewalIsFoundByAPartialPass(t *testing.T) {
	for _, late := range []bool{false, true} { // Renewed is called before or after the pass.
		w, _, cache, _, _ := cached(t, "a", "b")
		var (
			mu     sync.Mutex
			missed []credentials.Event
		)
		if late {
			cache.Hooks.Issued = func(e credentials.Event) {
				mu.Lock()
				defer mu.Unlock()
				missed = append(missed, e)
			}
		}
		w.clean(in("one", "a", "b"), in("two", "b"))
		c, err := w.syncer.Credential(t.Context(), profile("one"))
		require.NoError(t, err)
		cache.Invalidate(credentials.Key{Issuer: "one"}, c)
		result, err := w.syncer.SyncNamespaces(t.Context(), "a")
		require.NoError(t, err)
		require.Len(t, result.Changed, 1)
		mu.Lock()
		for _, e := range missed {
			w.syncer.Renewed(e)
		}
		mu.Unlock()
		require.Equal(t, []string{"b/one"}, due(t, w))
		require.Empty(t, due(t, w))
	}
}

// due makes the passes that are due, and returns the secrets that were changed.
func due(t *testing.T, w *world) []string {
	t.Helper()
	result, err := w.syncer.SyncDue(t.Context())
	require.NoError(t, err)
	require.NoError(t, result.Err())
	var changed []string
	for _, c := range result.Changed {
		if c.Action != inject.LinkAccount {
			changed = append(changed, c.Namespace+"/"+c.Name)
		}
	}
	return changed
}

func TestTargetsAreSetOneByOne(t *testing.T) {
	w, cluster, _, _, fetched := cached(t, "a", "b", "c", "d")
	_, err := w.syncer.SyncDue(t.Context())
	require.ErrorIs(t, err, registry.ErrInvalid, "there are no targets yet")
	_, err = w.syncer.SyncNamespaces(t.Context(), "a")
	require.ErrorIs(t, err, registry.ErrInvalid)

	w.clean(in("one", "a"), in("two", "a", "b"))
	cluster.takeAsked()
	fetched.Store(0)

	w.syncer.SetTarget(in("three", "c"))
	require.Equal(t, []string{"c/three"}, due(t, w))
	require.Equal(t, []string{"c"}, cluster.takeAsked())
	require.EqualValues(t, 1, fetched.Load())

	w.syncer.SetTarget(in("two", "b", "c")) // It moves from a to c.
	require.ElementsMatch(t, []string{"a/two", "c/two"}, due(t, w))
	require.Equal(t, []string{"a", "b", "c"}, cluster.takeAsked())
	require.Nil(t, w.secret("a", "two"))
	require.Equal(t, []string{"one"}, w.pullSecrets("a"))
	require.Equal(t, []string{"three", "two"}, w.pullSecrets("c"))

	w.syncer.SetTarget(in("two", "[bd]")) // For a pattern, all namespaces are visited.
	require.ElementsMatch(t, []string{"c/two", "d/two"}, due(t, w))
	require.Equal(t, "*", cluster.takeAsked()[0])

	w.syncer.RemoveTarget("two")
	require.ElementsMatch(t, []string{"b/two", "d/two"}, due(t, w))
	require.Equal(t, []string{"b", "d"}, cluster.takeAsked())
	require.Empty(t, w.pullSecrets("d"))
	require.Empty(t, due(t, w))

	invalid := in("one", "a")
	invalid.Profiles = nil
	w.syncer.SetTarget(invalid)
	result, err := w.syncer.SyncDue(t.Context())
	require.NoError(t, err)
	require.Equal(t, "Invalid", result.Problems[0].Reason())
	require.NotNil(t, w.secret("a", "one"), "what an invalid target has published stays")
	w.syncer.SetTarget(in("one", "a"))
	require.Empty(t, due(t, w))
}

func TestSyncNamespaces(t *testing.T) {
	w, cluster, _, _, fetched := cached(t, "a", "b")
	w.clean(in("one", "a"), in("two", "b", "new"))
	cluster.takeAsked()
	fetched.Store(0)
	require.NoError(t, w.CreateNamespace(t.Context(), "new", nil))
	require.NoError(t, w.DeleteSecret(t.Context(), "a", "one"))
	result, err := w.syncer.SyncNamespaces(t.Context(), "new", "gone")
	require.NoError(t, err)
	require.Equal(t, map[inject.Action]int{inject.CreateSecret: 1, inject.LinkAccount: 1}, actions(result))
	require.Equal(t, []string{"gone", "new"}, cluster.takeAsked())
	require.EqualValues(t, 1, fetched.Load())
	require.Nil(t, w.secret("a", "one"), "nobody said that something happened there")
	_, err = w.syncer.SyncNamespaces(t.Context(), "a")
	require.NoError(t, err)
	require.NotNil(t, w.secret("a", "one"))
}

// A lister that has not synced yet returns an empty or short list.
func TestShortListRemovesNothing(t *testing.T) {
	w := newWorld(t, "a", "b")
	targets := []inject.Target{in("one", "a"), in("two", "a"), in("three", "b"), in("four", "b"), in("five", "b")}
	w.clean(targets...)
	for _, restarted := range []bool{false, true} {
		if restarted {
			w.syncer = &inject.Syncer{Cluster: w.Cluster, Credential: w.issuer.Credential}
		}
		before := w.Writes()
		for _, list := range [][]inject.Target{nil, targets[:2]} {
			result := w.sync(list...)
			require.ErrorIs(t, result.Err(), registry.ErrRemovalWithheld)
			require.Equal(t, "RemovalWithheld", result.Problems[0].Reason())
			require.NotEmpty(t, registry.HintOf(result.Problems[0].Err))
			_, err := w.syncer.SyncNamespaces(t.Context(), "a", "b")
			require.NoError(t, err)
			_, err = w.syncer.Sync(t.Context(), list, "a", "b")
			require.NoError(t, err)
		}
		require.Equal(t, before, w.Writes(), "neither secrets nor links have gone")
	}
	w.clean(targets[:4]...)
	require.Nil(t, w.secret("b", "five"), "one of five is no such loss")

	w.syncer.RemoveTarget("three") // Each is declared separately.
	w.syncer.RemoveTarget("four")
	w.syncer.RemoveTarget("two")
	w.clean(targets[:1]...)
	require.Nil(t, w.secret("b", "three"))
	require.NotNil(t, w.secret("a", "one"))

	w.syncer.CompleteLists = true
	w.clean()
	require.Nil(t, w.secret("a", "one"))
}

// After a restart, targets are set before the first list is known.
func TestTargetsThatAreSetBeforeTheFirstListRemoveNothing(t *testing.T) {
	for _, completeLists := range []bool{false, true} {
		w := newWorld(t, "a", "b")
		targets := []inject.Target{in("one", "a"), in("two", "a"), in("three", "b")}
		w.clean(targets...)
		w.syncer = &inject.Syncer{Cluster: w.Cluster, Credential: w.issuer.Credential, CompleteLists: completeLists}
		before := w.Writes()
		w.syncer.SetTarget(targets[0])
		w.syncer.SetTarget(targets[1])
		_, err := w.syncer.SyncNamespaces(t.Context(), "a", "b")
		require.NoError(t, err)
		require.Empty(t, due(t, w))
		_, err = w.syncer.SyncNamespaces(t.Context(), "a", "b")
		require.NoError(t, err)
		require.Equal(t, before, w.Writes())

		w.syncer.SetTarget(in("one", "b"))
		require.ElementsMatch(t, []string{"a/one", "b/one"}, due(t, w), "a target moves")
		w.syncer.RemoveTarget("two")
		require.Equal(t, []string{"a/two"}, due(t, w), "a removal is made")
		require.NotNil(t, w.secret("b", "three"))
		w.clean(in("one", "b"))
		require.Nil(t, w.secret("b", "three"), "a list is complete")
	}
}

// A pass that began with an earlier list removes nothing that the current list needs.
func TestPassWithAnEarlierListRemovesNothing(t *testing.T) {
	for name, earlier := range map[string]func(w *world, list []inject.Target) error{
		"targets that were set": func(w *world, list []inject.Target) error {
			w.syncer.SetTarget(list[0])
			_, err := w.syncer.SyncNamespaces(w.t.Context(), "a")
			return err
		},
		"full pass": func(w *world, list []inject.Target) error {
			_, err := w.syncer.Sync(w.t.Context(), list)
			return err
		},
		"limited pass": func(w *world, list []inject.Target) error {
			_, err := w.syncer.Sync(w.t.Context(), list, "a")
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, "a")
				one, two, three := in("one", "a"), in("two", "a"), in("three", "a")
				w.clean(one, two, three)
				before := w.Writes()
				continues := make(chan bool)
				w.syncer = &inject.Syncer{Cluster: w.Cluster, CompleteLists: true}
				w.syncer.Credential = func(ctx context.Context, p registry.Profile) (credentials.Credential, error) {
					if p.Name == "first" {
						<-continues
						p.Name = "one"
					}
					return w.issuer.Credential(ctx, p)
				}
				slow := in("one", "a")
				slow.Profiles[0].Name = "first"
				elsewhere := in("two", "b")
				ended := make(chan error)
				go func() { ended <- earlier(w, []inject.Target{slow, elsewhere}) }()
				synctest.Wait()
				w.clean(one, two, three)
				require.Equal(t, before, w.Writes())
				close(continues)
				require.NoError(t, <-ended)
				for _, name := range []string{"one", "two", "three"} {
					require.NotNil(t, w.secret("a", name), name)
				}
				require.ElementsMatch(t, []string{"one", "two", "three"}, w.pullSecrets("a"))
			})
		})
	}
}

// Targets that are set or removed while a list is being read count as later than the list.
func TestTargetsThatAreSetWhileAListIsRead(t *testing.T) {
	w := newWorld(t, "a", "b", "c")
	w.syncer.CompleteLists = true
	one, two := in("one", "a"), in("two", "a")
	list := []inject.Target{one, two}
	w.clean(list...)
	pass := func(meanwhile func()) inject.Result {
		result, err := w.syncer.SyncFunc(t.Context(), func(context.Context) ([]inject.Target, error) {
			meanwhile()
			return list, nil
		})
		require.NoError(t, err)
		require.NoError(t, result.Err())
		return result
	}
	result := pass(func() {
		w.syncer.SetTarget(in("new", "b"))
		require.Equal(t, []string{"b/new"}, due(t, w))
		w.syncer.SetTarget(in("one", "a", "c"))
		w.syncer.RemoveTarget("two")
		require.ElementsMatch(t, []string{"c/one", "a/two"}, due(t, w))
		w.syncer.RemoveTarget("one")
		w.syncer.SetTarget(in("one", "c"))
	})
	require.Equal(t, map[inject.Action]int{inject.DeleteSecret: 1, inject.LinkAccount: 1}, actions(result), "only the last change is left to make")
	require.NotNil(t, w.secret("b", "new"))
	require.Nil(t, w.secret("a", "one"))
	require.NotNil(t, w.secret("c", "one"))
	require.Nil(t, w.secret("a", "two"))
	require.Empty(t, due(t, w))

	pass(func() {}) // A list that is read later counts again.
	require.Nil(t, w.secret("b", "new"))
	require.NotNil(t, w.secret("a", "one"))
	require.NotNil(t, w.secret("a", "two"))

	failure := errors.New("not synced")
	_, err := w.syncer.SyncFunc(t.Context(), func(context.Context) ([]inject.Target, error) {
		w.syncer.RemoveTarget("two")
		return nil, failure
	})
	require.ErrorIs(t, err, failure)
	require.Equal(t, []string{"a/two"}, due(t, w))
	pass(func() {
		pass(func() { w.syncer.SetTarget(in("new", "b")) })
		require.NotNil(t, w.secret("b", "new"))
	})
	require.NotNil(t, w.secret("b", "new"), "two lists are read at once")
}

// A plan for another list decides nothing about the current list.
func TestPlanPermitsNoRemoval(t *testing.T) {
	w := newWorld(t, "a", "b")
	targets := []inject.Target{in("one", "a"), in("two", "a"), in("three", "b")}
	w.clean(targets...)
	before := w.Writes()
	require.ErrorIs(t, w.sync(targets[0]).Err(), registry.ErrRemovalWithheld)
	_, err := w.syncer.Plan(t.Context(), targets)
	require.NoError(t, err)
	_, err = w.syncer.SyncNamespaces(t.Context(), "a", "b")
	require.NoError(t, err)
	require.Equal(t, before, w.Writes(), "the list is still too short")

	w.clean(targets[:2]...)
	require.Nil(t, w.secret("b", "three"))
	plan, err := w.syncer.Plan(t.Context(), targets[:0])
	require.NoError(t, err)
	require.Empty(t, plan.Changes)
	require.NoError(t, w.WriteSecret(t.Context(), "b", injecttest.SecretObject{
		Name: "three", Type: "Opaque", Labels: map[string]string{inject.LabelOwner: "regcred"},
	}))
	_, err = w.syncer.SyncNamespaces(t.Context(), "b")
	require.NoError(t, err)
	require.Nil(t, w.secret("b", "three"), "the list is still plausible")
}

// A target that is listed again is no longer declared to be removed.
func TestDeclaredRemovalEnds(t *testing.T) {
	w := newWorld(t, "a")
	one, two := in("one", "a"), in("two", "a")
	w.clean(one, two)
	w.syncer.RemoveTarget("one")
	w.syncer.RemoveTarget("two")
	w.clean(one, two)
	require.ErrorIs(t, w.sync().Err(), registry.ErrRemovalWithheld)
	require.NotNil(t, w.secret("a", "one"))
}

func TestDuplicateTargetIsAProblem(t *testing.T) {
	w := newWorld(t, "a")
	require.Error(t, w.sync(in("one", "a"), in("one", "a")).Err())
	problems, _ := w.syncer.Problems("one")
	require.Len(t, problems, 1)
}

// A pass over some namespaces of an edited target comes before the pass for the edit.
func TestEditedTargetStaysDue(t *testing.T) {
	w, _, _, _, _ := cached(t, "a", "b", "c")
	w.clean(in("one", "a"), in("two", "a"))
	w.syncer.SetTarget(in("one", "b"))
	w.syncer.SetTarget(target("two", profile("two")))
	for range 2 {
		_, err := w.syncer.SyncNamespaces(t.Context(), "c")
		require.NoError(t, err)
		_, err = w.syncer.SyncNamespaces(t.Context(), "b")
		require.NoError(t, err)
	}
	require.NotNil(t, w.secret("b", "one"))
	require.NotNil(t, w.secret("c", "two"))
	w.syncer.SetTarget(in("one", "b", "c"))
	_, err := w.syncer.SyncNamespaces(t.Context(), "b")
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"a/one", "c/one"}, due(t, w))
	require.Empty(t, due(t, w))
}

// A target that selects by a pattern is set together with one that selects by names: its pass says nothing of the other.
func TestTargetsThatAreSetTogether(t *testing.T) {
	w, _, cache, _, _ := cached(t, "a", "b")
	w.clean(in("one", "a"))
	w.syncer.SetTarget(in("one", "a", "b"))
	w.syncer.SetTarget(target("two", profile("two")))
	require.Len(t, due(t, w), 3)
	c, err := w.syncer.Credential(t.Context(), profile("one"))
	require.NoError(t, err)
	cache.Invalidate(credentials.Key{Issuer: "one"}, c)
	_, err = w.syncer.Credential(t.Context(), profile("one"))
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"a/one", "b/one"}, due(t, w), "its places are known")
}

// A target is complete only once a pass has covered it as it is now.
func TestProblemsOfATargetThatNoPassHasCovered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a", "b")
		complete := func(target string) bool {
			problems, complete := w.syncer.Problems(target)
			require.Empty(t, problems)
			return complete
		}
		one, pattern, none := in("one", "a"), target("pattern", profile("ecr")), target("none", profile("none"))
		none.Namespaces = inject.Selection{}
		w.syncer.SetTarget(one)
		require.False(t, complete("one"))
		w.clean(one, pattern)
		require.True(t, complete("one"))
		require.False(t, complete("unknown"))
		for _, added := range []inject.Target{in("two", "b"), target("three", profile("hub")), in("nowhere", "c"), none} {
			w.syncer.SetTarget(added)
			require.False(t, complete(added.Name))
			_, err := w.syncer.SyncNamespaces(t.Context(), "a", "b")
			require.NoError(t, err)
			require.False(t, complete(added.Name), "the pass was for other reasons")
			due(t, w)
			require.True(t, complete(added.Name))
			require.True(t, complete("one"))
			w.syncer.SetTarget(added)
			require.True(t, complete(added.Name), "nothing has changed")
			added.Accounts = inject.Selection{}
			w.syncer.SetTarget(added)
			require.False(t, complete(added.Name))
			due(t, w)
			require.True(t, complete(added.Name))
		}
		changed := in("one", "a", "b")
		_, err := w.syncer.SyncFunc(t.Context(), func(context.Context) ([]inject.Target, error) {
			return []inject.Target{changed, pattern, in("new", "a")}, nil
		})
		require.NoError(t, err)
		require.True(t, complete("new"))

		cancelled, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = w.syncer.Sync(cancelled, []inject.Target{one, pattern, in("newer", "a")})
		require.ErrorIs(t, err, context.Canceled)
		require.False(t, complete("one"), "the pass was not made")
		require.True(t, complete("pattern"))
		require.False(t, complete("newer"))
		time.Sleep(time.Until(w.syncer.NextAt()))
		due(t, w)
		require.True(t, complete("one"))
		require.True(t, complete("newer"))
		w.syncer.RemoveTarget("newer")
		require.False(t, complete("newer"))
	})
}

// A secret that cannot be built is tried again, because its credentials change.
func TestFailedBuildIsRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _, _, _, _ := cached(t, "a")
		credential, username := w.syncer.Credential, "a:b" // A colon would end the username.
		w.syncer.Credential = func(ctx context.Context, p registry.Profile) (credentials.Credential, error) {
			c, err := credential(ctx, p)
			c.Username = username
			return c, err
		}
		require.Error(t, w.sync(in("one", "a")).Err())
		require.LessOrEqual(t, time.Until(w.syncer.NextAt()), 5*time.Minute)
		username = "robot"
		time.Sleep(time.Until(w.syncer.NextAt()))
		require.Equal(t, []string{"a/one"}, due(t, w))
	})
}

// A target is set, and then narrowed, while a pass over all namespaces is running, which began with neither. The secret
// that an earlier process left outside of the new selection is removed.
func TestTargetThatIsNarrowedDuringAFullPass(t *testing.T) {
	w := newWorld(t, "a-1", "b")
	edited, other := in("edited", "a-*"), in("other", "*")
	w.clean(edited, other)
	require.NoError(t, w.DeleteSecret(t.Context(), "b", "other")) // The pass publishes it again.
	var fetched, changed sync.Once
	var syncer *inject.Syncer
	syncer = &inject.Syncer{
		Cluster: w.Cluster,
		Credential: func(ctx context.Context, p registry.Profile) (credentials.Credential, error) {
			fetched.Do(func() { syncer.SetTarget(edited) })
			return w.issuer.Credential(ctx, p)
		},
		OnChange: func(inject.Change, error) {
			changed.Do(func() { syncer.SetTarget(in("edited", "b")) })
		},
	}
	_, err := syncer.Sync(t.Context(), []inject.Target{other})
	require.NoError(t, err)
	_, err = syncer.SyncDue(t.Context())
	require.NoError(t, err)
	for namespace, want := range map[string]bool{"a-1": false, "b": true} {
		s, err := w.Secret(t.Context(), namespace, "edited")
		require.NoError(t, err)
		require.Equal(t, want, s != nil, namespace)
	}
}

// A removal that was declared before the first pass after a restart is made in that pass.
func TestRemovalDeclaredAfterARestart(t *testing.T) {
	w := newWorld(t, "a")
	w.clean(in("one", "a"))
	w.syncer = &inject.Syncer{Cluster: w.Cluster, Credential: w.issuer.Credential}
	w.syncer.RemoveTarget("one")
	w.clean()
	require.Nil(t, w.secret("a", "one"))
}

// A failure in one place is retried there, and is remembered during passes over others.
func TestProblemsOfAllPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, cluster, _, _, _ := cached(t, "a", "b", "c")
		_, complete := w.syncer.Problems("one")
		require.False(t, complete)
		broken := errors.New("webhook refuses")
		w.Before = func(_ context.Context, c inject.Change) error {
			if c.Namespace == "b" {
				return broken
			}
			return nil
		}
		w.sync(in("one", "a", "b"), in("two", "c"))
		problems := func(target string) []inject.Problem {
			p, complete := w.syncer.Problems(target)
			require.True(t, complete)
			return p
		}
		require.Len(t, problems("one"), 1)
		require.Empty(t, problems("two"))
		_, err := w.syncer.SyncNamespaces(t.Context(), "a", "c")
		require.NoError(t, err)
		require.Len(t, problems("one"), 1, "a pass over other namespaces says nothing of b")
		cluster.takeAsked()

		require.Equal(t, time.Now().Add(time.Second), w.syncer.NextAt())
		time.Sleep(time.Second)
		_, err = w.syncer.SyncDue(t.Context())
		require.NoError(t, err)
		require.Equal(t, []string{"b"}, cluster.takeAsked())
		require.Len(t, problems("one"), 1)
		w.Before = nil
		time.Sleep(time.Until(w.syncer.NextAt()))
		require.Equal(t, []string{"b/one"}, due(t, w))
		require.Empty(t, problems("one"))

		// A secret of another owner is not watched, but is retried nevertheless.
		require.NoError(t, w.WriteSecret(t.Context(), "c", injecttest.SecretObject{Name: "three", Type: "Opaque"}))
		w.syncer.SetTarget(in("three", "c"))
		_, err = w.syncer.SyncDue(t.Context())
		require.NoError(t, err)
		require.ErrorIs(t, problems("three")[0].Err, registry.ErrNameTaken)
		require.NoError(t, w.DeleteSecret(t.Context(), "c", "three"))
		require.LessOrEqual(t, time.Until(w.syncer.NextAt()), 5*time.Minute)
		time.Sleep(time.Until(w.syncer.NextAt()))
		require.Equal(t, []string{"c/three"}, due(t, w))
		require.Empty(t, problems("three"))

		// When a namespace is gone, its problems are gone.
		w.Before = func(context.Context, inject.Change) error { return broken }
		require.NoError(t, w.DeleteSecret(t.Context(), "b", "one"))
		_, err = w.syncer.SyncNamespaces(t.Context(), "b")
		require.NoError(t, err)
		require.Len(t, problems("one"), 1)
		require.NoError(t, w.DeleteNamespace(t.Context(), "b"))
		_, err = w.syncer.SyncNamespaces(t.Context(), "b")
		require.NoError(t, err)
		require.Empty(t, problems("one"))
	})
}

// If a cluster does not respond to a partial pass, the next pass covers everything.
func TestPartThatWasCutShortIsMadeUpFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, cluster, _, _, _ := cached(t, "a")
		w.clean(in("one", "a"))
		down := &flaky{Cluster: cluster, err: registry.ErrClusterUnavailable}
		w.syncer.Cluster = down
		result, err := w.syncer.SyncNamespaces(t.Context(), "a")
		require.ErrorIs(t, err, registry.ErrClusterUnavailable)
		require.Equal(t, result.NextAt, w.syncer.NextAt())
		down.err = nil
		cluster.takeAsked()
		time.Sleep(time.Until(w.syncer.NextAt()))
		require.Empty(t, due(t, w))
		require.Equal(t, []string{"*"}, cluster.takeAsked())
		require.True(t, w.syncer.NextAt().After(time.Now().Add(time.Hour)))
	})
}

type flaky struct {
	inject.Cluster
	err error
}

func (f *flaky) State(ctx context.Context, scope inject.Scope) ([]inject.Namespace, error) {
	if f.err != nil {
		return nil, f.err
	}
	return f.Cluster.State(ctx, scope)
}

func TestLoginThatExpiresIsReportedInAdvance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a")
		tg := in("one", "a")
		tg.Profiles[0].Login.ExpiresAt = time.Now().Add(30 * 24 * time.Hour)
		require.Empty(t, w.clean(tg).Warnings)
		time.Sleep(17 * 24 * time.Hour)
		result := w.clean(tg)
		require.Len(t, result.Warnings, 1)
		require.Equal(t, "LoginExpires", result.Warnings[0].Reason())
		require.Contains(t, result.Warnings[0].Error(), "target one: profile one: login expires: on ")
		require.Equal(t, result.Warnings, w.syncer.Warnings("one"))
		require.Empty(t, w.syncer.Warnings("two"))
		w.syncer.WarnBefore = 24 * time.Hour
		require.Empty(t, w.clean(tg).Warnings)
		require.Equal(t, tg.Profiles[0].Login.ExpiresAt.Add(-24*time.Hour), w.syncer.NextAt(), "the warning comes in time")
		time.Sleep(time.Until(w.syncer.NextAt()))
		result, err := w.syncer.SyncDue(t.Context())
		require.NoError(t, err)
		require.Len(t, result.Warnings, 1)
		w.syncer.WarnBefore = -1
		require.Empty(t, w.clean(tg).Warnings)
	})
}

// A renamed target keeps its old secret fresh until nothing refers to it.
func TestRenamedTargetKeepsItsSecretWhileInUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a", "b")
		w.issuer.issued, w.issuer.life = time.Now(), 12*time.Hour
		used := map[string]bool{"a": true}
		w.syncer.InUse = func(_ context.Context, namespace, secret string) (bool, error) {
			require.Equal(t, "old", secret)
			return used[namespace], nil
		}
		old := target("old", profile("hub"))
		w.clean(old, target("other", profile("other")))
		renamed := old
		renamed.Name = "new"
		list := []inject.Target{renamed, target("other", profile("other"))}
		w.clean(list...)
		require.NotNil(t, w.secret("a", "old"), "a pod names it")
		require.Nil(t, w.secret("b", "old"))
		require.Equal(t, []string{"other", "new"}, w.pullSecrets("a"), "new pods get the new one")

		w.issuer.rotate("second", time.Now().Add(time.Second))
		time.Sleep(10 * time.Minute)
		require.Equal(t, time.Now(), w.syncer.NextAt())
		_, err := w.syncer.SyncDue(t.Context())
		require.NoError(t, err)
		require.Equal(t, w.secret("a", "new").Data, w.secret("a", "old").Data, "it is kept fresh")
		require.ElementsMatch(t, []string{"b/new", "b/other"}, due(t, w), "the pass over one namespace found the new credentials")

		used["a"] = false
		time.Sleep(10 * time.Minute)
		require.Equal(t, []string{"a/old"}, due(t, w))
		require.Nil(t, w.secret("a", "old"))

		w.syncer.InUse = nil
		// A name that another client has added to a service account counts as use, too.
		require.NoError(t, w.WriteAccount(t.Context(), "b", injecttest.AccountObject{Name: "default", PullSecrets: []string{"other"}}))
		w.clean(list...)
		require.NoError(t, w.WriteAccount(t.Context(), "b", injecttest.AccountObject{Name: "theirs", PullSecrets: []string{"new"}}))
		list[0].Name = "newest"
		w.clean(list...)
		require.Nil(t, w.secret("a", "new"))
		require.NotNil(t, w.secret("b", "new"))
	})
}

func TestImmutableSecret(t *testing.T) {
	w := newWorld(t, "a")
	tg := target("one", profile("ecr"))
	w.clean(tg)
	s := *w.secret("a", "one")
	s.Immutable = true
	require.NoError(t, w.WriteSecret(t.Context(), "a", s))
	require.Empty(t, w.clean(tg).Changed, "what is immutable and right stays")
	w.issuer.password = "second"
	result := w.sync(tg)
	require.Len(t, result.Problems, 1)
	require.ErrorIs(t, result.Problems[0].Err, registry.ErrSecretImmutable)
	require.Equal(t, "SecretImmutable", result.Problems[0].Reason())
	require.Contains(t, registry.HintOf(result.Problems[0].Err), "ReplaceImmutable")
	require.Equal(t, s.UID, w.secret("a", "one").UID)

	w.syncer.ReplaceImmutable = true
	require.Equal(t, map[inject.Action]int{inject.ReplaceSecret: 1}, actions(w.clean(tg)))
	require.NotEqual(t, s.UID, w.secret("a", "one").UID)
	require.False(t, w.secret("a", "one").Immutable)
}

// A pass over one target that cannot link its new secret schedules another pass over the namespace: no event follows,
// because the secret is a write of the pass itself.
func TestFailedLinkOfAPartialPassIsRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _, _, _, _ := cached(t, "a", "b")
		failing := inject.CreateSecret
		w.Before = func(_ context.Context, c inject.Change) error {
			if c.Action == failing && c.Namespace == "a" {
				return fmt.Errorf("webhook: %w", registry.ErrClusterUnavailable)
			}
			return nil
		}
		_, err := w.syncer.Sync(t.Context(), []inject.Target{in("one", "a"), in("two", "a", "b")})
		require.NoError(t, err)
		due := func() inject.Result {
			t.Helper()
			require.Less(t, time.Until(w.syncer.NextAt()), time.Minute)
			time.Sleep(time.Until(w.syncer.NextAt()))
			result, err := w.syncer.SyncDue(t.Context())
			require.NoError(t, err)
			return result
		}
		failing = inject.LinkAccount
		require.Error(t, due().Err(), "the secrets are created, and not linked")
		require.Empty(t, w.pullSecrets("a"))
		for _, name := range []string{"one", "two"} {
			problems, _ := w.syncer.Problems(name)
			require.Len(t, problems, 1)
			require.ErrorIs(t, problems[0], registry.ErrClusterUnavailable)
		}
		failing = ""
		require.NoError(t, due().Err())
		require.ElementsMatch(t, []string{"one", "two"}, w.pullSecrets("a"))
		problems, _ := w.syncer.Problems("one")
		require.Empty(t, problems)
	})
}

// Package injecttest has a conformance suite for implementations of [inject.Cluster], and a cluster in memory for the
// tests of programs that keep pull secrets in one.
//
// [TestCluster] tests the contract, rule by rule: call it from a test of your own implementation. [Cluster] is a
// cluster in memory. A test chooses its faults, and can change it as another client would.
//
// Nothing runs in the cluster: there is no kubelet, and no controller creates or deletes objects by itself.
package injecttest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/internal/option"
)

// A Fixture is a cluster under test.
type Fixture struct {
	// Cluster is the implementation under test.
	Cluster inject.Cluster
	// World acts as all other clients of the same cluster.
	World World
	// Patience is the time within which State must show the changes of others. Zero means 10 seconds.
	Patience time.Duration
	// Except maps the names of rules that the World cannot support to reasons. These rules are skipped, and the
	// reasons are printed. A name without a rule fails the test. Nil means none.
	Except map[string]string
}

// TestCluster tests that a cluster fulfills the contract of [inject.Cluster]. Each rule is a subtest with its name,
// and works in namespaces of its own. Run it with the race detector.
func TestCluster(t *testing.T, fx Fixture) {
	t.Helper()
	if fx.Cluster == nil || fx.World == nil {
		t.Fatal("the subject of the test has no cluster or no world")
	}
	for name := range fx.Except {
		if !slices.ContainsFunc(rules, func(r rule) bool { return r.name == name }) {
			t.Errorf("no rule is named %q", name)
		}
	}
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			if why, ok := fx.Except[r.name]; ok {
				t.Skip(why)
			}
			if err := r.broken(t.Context(), fx); err != nil {
				t.Error(err)
			}
		})
	}
}

// A rule is one sentence of the contract. Its test returns the violation by the subject, or nil.
type rule struct {
	name string
	test func(ctx context.Context, s *scene) error
}

func (r rule) broken(ctx context.Context, fx Fixture) error {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, errors.New("the rule took more than a minute"))
	defer cancel()
	sc, err := newScene(ctx, fx)
	if err != nil {
		return err
	}
	defer sc.close()
	return r.test(ctx, sc)
}

var rules = []rule{
	{name: "State: namespaces have their labels", test: showsNamespaces},
	{name: "State: namespaces have their UIDs", test: showsUIDs},
	{name: "State: only namespaces in the scope are shown", test: keepsToScope},
	{name: "State: only secrets of the owner are shown", test: showsOwnSecrets},
	{name: "State: what was just written is shown at once", test: showsOwnWrites},
	{name: "State: what others change is shown", test: showsOthersWrites},
	{name: "State: accounts are shown with their pull secrets in order", test: showsAccounts},
	{name: "CreateSecret: the whole secret is written", test: createsSecret},
	{name: "CreateSecret: what is foreign stays as it is", test: refusesForeign},
	{name: "CreateSecret: one that is there is a conflict", test: createConflicts},
	{name: "UpdateSecret: it happens in place, and what others have put there stays", test: updatesInPlace},
	{name: "UpdateSecret: what has changed since is a conflict", test: updateConflicts},
	{name: "UpdateSecret: the content of an immutable secret stays", test: keepsImmutable},
	{name: "Read: it returns the content, and a conflict if the secret is gone", test: readsContent},
	{name: "ReplaceSecret: the secret gets the right type", test: replacesSecret},
	{name: "ReplaceSecret: what has changed since is a conflict", test: replaceConflicts},
	{name: "DeleteSecret: the secret goes, and going twice is fine", test: deletesSecret},
	{name: "DeleteSecret: what has changed since is a conflict", test: deleteConflicts},
	{name: "LinkAccount: names are appended once, in order", test: appendsOnce},
	{name: "LinkAccount: only what is named is taken out", test: unlinksOnly},
	{name: "LinkAccount: labels and annotations of others stay", test: linkKeepsOthers},
	{name: "LinkAccount: owners are told apart", test: linksByOwner},
	{name: "LinkAccount: what has changed since is a conflict", test: linkConflicts},
	{name: "LinkAccount: of many at once, none is lost", test: linksConcurrently},
	{name: "nothing is created in a namespace that is gone or going", test: refusesTerminating},
	{name: "a context that has ended is obeyed, with its cause", test: obeysContext},
	{name: "errors hold no secret", test: errorsHoldNoSecret},
}

func (fx Fixture) patience() time.Duration { return option.OrDefault(fx.Patience, 10*time.Second) }

package inject_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/registry"
)

// A stale cluster returns its last known state after its watches break.
type stale struct {
	inject.Cluster
	known []inject.Namespace
	err   error // Nil means that the watches work.
}

func (s *stale) State(ctx context.Context, scope inject.Scope) ([]inject.Namespace, error) {
	if s.err == nil {
		return s.Cluster.State(ctx, scope)
	}
	if len(scope.Namespaces) == 0 {
		return s.known, s.err
	}
	for _, ns := range s.known {
		if ns.Name == scope.Namespaces[0] {
			return []inject.Namespace{ns}, s.err
		}
	}
	return nil, s.err
}

func (s *stale) breaks(t *testing.T) {
	t.Helper()
	known, err := s.Cluster.State(t.Context(), inject.Scope{Owner: "regcred"})
	require.NoError(t, err)
	s.known, s.err = known, fmt.Errorf("%w: out of paper", registry.ErrStale)
}

func TestPassGoesOnFromWhatWasKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a", "b")
		cluster := &stale{Cluster: w.Cluster}
		w.syncer.Cluster = cluster
		tg := target("one", profile("ecr"))
		w.clean(tg)
		cluster.breaks(t)

		w.issuer.password = "second"
		result := w.sync(tg)
		require.Len(t, result.Changed, 2, "a renewal is better than none")
		problem := inject.Problem{Err: cluster.err, RetryAt: time.Now().Add(time.Minute)}
		require.Equal(t, []inject.Problem{problem}, result.Problems)
		require.Equal(t, problem.RetryAt, result.NextAt)

		// A change that was planned on old state does no harm.
		before := w.secret("a", "one")
		w.issuer.password = "third"
		result = w.sync(tg)
		require.ErrorIs(t, result.Err(), registry.ErrConflict)
		require.Equal(t, before, w.secret("a", "one"))

		plan, err := w.syncer.Plan(t.Context(), []inject.Target{tg})
		require.NoError(t, err)
		require.Contains(t, plan.String(), "! stale: out of paper\n")

		cluster.err = nil
		time.Sleep(time.Minute)
		require.Len(t, w.clean(tg).Changed, 2)
	})
}

func TestGateSaysThatItMayNotSee(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a")
		cluster := &stale{Cluster: w.Cluster}
		w.syncer.Cluster = cluster
		w.clean(target("one", profile("ecr")))
		cluster.breaks(t)
		require.NoError(t, w.CreateNamespace(t.Context(), "new", nil))
		for place, account := range map[string]string{"new": "default", "a": "new"} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			err := w.syncer.EnsureReady(ctx, []inject.Target{target("one", profile("ecr"))}, place, account)
			cancel()
			require.ErrorIs(t, err, registry.ErrNotYet)
			require.ErrorIs(t, err, registry.ErrStale)
		}
	})
}

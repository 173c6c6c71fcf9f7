package inject_test

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/registry"
)

// To repeat one run, give its seed; to make many runs, their number:
//
//	go test -run TestModel -seed 17 .
var (
	modelSeed = flag.Int("seed", 0, "the first seed of TestModel")
	modelRuns = flag.Int("runs", 100, "how many runs TestModel makes")
)

// TestModel makes random operations, also in the middle of others: targets are set and removed one by one and as lists,
// credentials are renewed, namespaces have events, processes restart. It compares the cluster with a model of what the
// program wants: no secret that it wants is ever deleted, and once nothing is due, all is as it should be.
func TestModel(t *testing.T) {
	for i := range *modelRuns {
		seed := *modelSeed + i
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newModel(t, uint64(seed))
				ctx, stop := context.WithCancel(t.Context())
				go func() { _ = m.cache.Run(ctx) }()
				for range 40 {
					m.step()
				}
				stop()
				synctest.Wait()
			})
		})
	}
}

type model struct {
	*world
	cache  *credentials.Cache
	issued atomic.Int64
	listed bool // The Syncer has a list.

	edit   sync.Mutex // Held while a target is set or removed.
	mu     sync.Mutex
	random *rand.Rand
	wanted map[string]inject.Target // What the program wants.
	nested int                      // The number of operations that may still begin in the middle of this one.
	log    []string
}

var modelNamespaces = []string{"a", "b", "c"}

func newModel(t *testing.T, seed uint64) *model {
	m := &model{world: newWorld(t, modelNamespaces...), cache: &credentials.Cache{Rate: -1}, random: rand.New(rand.NewPCG(seed, 0)), wanted: make(map[string]inject.Target)}
	m.restart()
	return m
}

func (m *model) n(n int) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.random.IntN(n)
}

func (m *model) logf(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.log = append(m.log, fmt.Sprintf(format, args...))
}

// restart replaces the Syncer by one that knows nothing yet. The cache is kept.
func (m *model) restart() {
	m.logf("restart")
	s := &inject.Syncer{Cluster: m.Cluster, CompleteLists: true, Concurrency: 1}
	s.Credential = func(ctx context.Context, p registry.Profile) (credentials.Credential, error) {
		c, err := m.credential(ctx, p)
		if m.syncer == s {
			m.interrupt("Credential of " + p.Name)
		}
		return c, err
	}
	s.Lookup = func(p registry.Profile) credentials.Entry {
		entry, _ := m.cache.Lookup(credentials.Key{Issuer: p.Name})
		entry.Key = credentials.Key{Issuer: p.Name}
		return entry
	}
	s.OnChange = func(c inject.Change, err error) {
		m.logf("%s: %v", c, err)
		if c.Action == inject.DeleteSecret && m.wants(c.Name, c.Namespace) {
			m.fail("a secret is deleted that is wanted: %s", c)
		}
	}
	m.syncer, m.listed = s, false
	m.cache.Hooks.Issued = s.Renewed
}

func (m *model) fail(format string, args ...any) {
	m.t.Helper()
	for _, line := range m.log {
		m.t.Log(line)
	}
	m.t.Errorf(format, args...)
}

func (m *model) credential(ctx context.Context, p registry.Profile) (credentials.Credential, error) {
	return m.cache.Credential(ctx, credentials.Key{Issuer: p.Name}, credentials.Func(func(context.Context) (credentials.Credential, error) {
		now := time.Now()
		password := credentials.NewSecret(fmt.Sprint(p.Name, "-", m.issued.Add(1)))
		return credentials.Credential{Username: "u", Password: password, IssuedAt: now, ExpiresAt: now.Add(12 * time.Hour)}, nil
	}))
}

func (m *model) wants(name, namespace string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	t, ok := m.wanted[name]
	return ok && t.Namespaces.Selects(namespace, nil)
}

// interrupt makes an operation in the middle of another.
func (m *model) interrupt(where string) {
	m.mu.Lock()
	may := m.nested > 0 && m.random.IntN(3) == 0
	if may {
		m.nested--
		m.log = append(m.log, "meanwhile, in "+where)
	}
	m.mu.Unlock()
	if may {
		m.small()
	}
}

// step makes an operation, with others in the middle of it, and sometimes waits until nothing is due.
func (m *model) step() {
	m.mu.Lock()
	m.nested = m.random.IntN(4)
	m.mu.Unlock()
	switch m.n(8) {
	case 0:
		m.restart()
	case 1, 2:
		m.list()
	default:
		m.small()
	}
	m.mu.Lock()
	m.nested = 0
	m.mu.Unlock()
	if m.n(3) == 0 {
		m.settle()
	}
	time.Sleep(time.Duration(m.n(20)) * time.Minute)
}

func (m *model) list() {
	m.logf("full pass")
	result, err := m.syncer.SyncFunc(m.t.Context(), func(context.Context) ([]inject.Target, error) {
		m.mu.Lock()
		list := slices.Collect(maps.Values(m.wanted))
		m.mu.Unlock()
		m.interrupt("Targets")
		return list, nil
	})
	require.NoError(m.t, err)
	require.NoError(m.t, result.Err())
	m.listed = true
}

// small makes an operation that may happen at any time.
func (m *model) small() {
	name := fmt.Sprint("t", m.n(4))
	switch m.n(6) {
	case 0, 1:
		t := target(name, profile(fmt.Sprint("p", m.n(3))))
		if m.n(4) > 0 {
			t.Namespaces = inject.Selection{Names: slices.DeleteFunc(slices.Clone(modelNamespaces), func(string) bool { return m.n(2) == 0 })}
		}
		m.logf("set %s: %s in %v", name, t.Profiles[0].Name, t.Namespaces.Names)
		m.edit.Lock()
		m.syncer.SetTarget(t)
		m.mu.Lock()
		m.wanted[name] = t
		m.mu.Unlock()
		m.edit.Unlock()
	case 2:
		m.logf("remove %s", name)
		m.edit.Lock()
		m.mu.Lock()
		delete(m.wanted, name)
		m.mu.Unlock()
		m.syncer.RemoveTarget(name)
		m.edit.Unlock()
	case 3:
		p := profile(fmt.Sprint("p", m.n(3)))
		m.logf("renew %s", p.Name)
		time.Sleep(time.Second) // Issue times differ.
		c, err := m.credential(m.t.Context(), p)
		require.NoError(m.t, err)
		if time.Since(c.IssuedAt) < time.Hour {
			return // A cache that calls an issuer too often has to wait.
		}
		m.cache.Invalidate(credentials.Key{Issuer: p.Name}, c)
		_, err = m.credential(m.t.Context(), p)
		require.NoError(m.t, err)
	case 4:
		if m.syncer.HasTargets() {
			ns := modelNamespaces[m.n(len(modelNamespaces))]
			m.logf("event in %s", ns)
			_, err := m.syncer.SyncNamespaces(m.t.Context(), ns)
			require.NoError(m.t, err)
		}
	case 5:
		m.due()
	}
}

func (m *model) due() {
	if m.syncer.HasTargets() {
		m.logf("due")
		_, err := m.syncer.SyncDue(m.t.Context())
		require.NoError(m.t, err)
	}
}

// settle makes the passes that are due soon, and compares the cluster with the model.
func (m *model) settle() {
	if !m.listed {
		m.list()
	}
	synctest.Wait()
	for range 50 {
		at := m.syncer.NextAt()
		if at.IsZero() || time.Until(at) > time.Minute {
			break
		}
		time.Sleep(time.Until(at))
		m.due()
	}
	m.logf("settled, the next pass is in %s", time.Until(m.syncer.NextAt()))
	m.mu.Lock()
	list := slices.Collect(maps.Values(m.wanted))
	m.mu.Unlock()
	other := &inject.Syncer{Cluster: m.Cluster, Credential: m.credential, CompleteLists: true}
	plan, err := other.Plan(m.t.Context(), list)
	require.NoError(m.t, err)
	if plan.String() != "" {
		m.fail("nothing is due, but this is left to do:\n%s", plan)
		m.t.FailNow()
	}
	for _, t := range list {
		if problems, complete := m.syncer.Problems(t.Name); len(problems) > 0 || !complete {
			m.fail("target %s: complete is %t, %v", t.Name, complete, problems)
		}
	}
}

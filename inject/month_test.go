package inject_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/inject/injecttest"
	"github.com/regcred/regcred/registry"
)

// The default takes a few seconds of processor time. Of 10,000 profiles, run by hand:
//
//	go test -run TestMonth -v -timeout 1h -clusters 1000 .
var (
	monthClusters = flag.Int("clusters", 10, "how many clusters TestMonth keeps, of ten profiles each")
	monthDays     = flag.Int("days", 30, "for how many days it does")
)

// lifetimes are the lifetimes of the credentials in a cluster: AWS ECR, Google, a System registry, and passwords,
// which never expire.
var lifetimes = []time.Duration{12 * time.Hour, 12 * time.Hour, 12 * time.Hour, 12 * time.Hour, time.Hour, 6 * time.Hour, 0, 0, 0, 0}

// lifetime returns the lifetime of a credential in a cluster. In every tenth cluster, the System registry is a strict
// one.
func lifetime(cluster, kind int) time.Duration {
	if kind == 5 && cluster%10 == 0 {
		return 15 * time.Minute
	}
	return lifetimes[kind]
}

// TestMonth keeps the secrets of many clusters for 30 days. Once a day, all processes end and are restarted with empty
// caches. Every issuer is down once a day: for an hour, or for a twelfth of a lifetime if that is shorter, because the
// last renewals are due when a tenth is left. No published secret is expired at any instant.
func TestMonth(t *testing.T) {
	clusters, days := *monthClusters, *monthDays
	if raceDetector || testing.Short() {
		clusters, days = min(clusters, 5), min(days, 3)
	}
	synctest.Test(t, func(t *testing.T) {
		m := &month{start: time.Now()}
		kept := make([]*keptCluster, clusters)
		for c := range kept {
			kept[c] = newKeptCluster(t, c)
		}
		for day := range days {
			end := m.start.AddDate(0, 0, day+1)
			ctx, stop := context.WithCancel(t.Context())
			cache := &credentials.Cache{Rate: -1}
			var running, keeping sync.WaitGroup
			for _, c := range kept {
				c.start(t, m, cache)
			}
			byName := make(map[string]*inject.Syncer, clusters)
			for _, c := range kept {
				byName[c.name] = c.syncer
			}
			cache.Hooks.Issued = func(e credentials.Event) { byName[e.Key.Tenant].Renewed(e) }
			running.Go(func() { _ = cache.Run(ctx) })
			for _, c := range kept {
				keeping.Go(func() { m.keep(t, c, end) })
			}
			keeping.Wait()
			stop()
			running.Wait()
			time.Sleep(time.Second) // Calls to issuers that are in progress finish.
		}

		least, profiles := 0.0, clusters*len(lifetimes)
		for i := range profiles {
			if life := lifetime(i/len(lifetimes), i%len(lifetimes)); life > 0 {
				least += math.Ceil(float64(days) * 24 * float64(time.Hour) / float64(life))
			}
		}
		writes := 0
		for _, c := range kept {
			writes += c.Writes()
		}
		t.Logf("%d clusters, %d profiles, %d days: %d passes, %d writes; %d credentials issued, "+
			"%.3f times the least that lifetimes allow; %d calls in outages",
			clusters, profiles, days, m.passes, writes, m.issued, float64(m.issued)/least, m.down)
		require.LessOrEqual(t, float64(m.issued), 1.3*least)
		require.LessOrEqual(t, writes, m.issued+2*profiles, "one write a credential, the first secret and the link of each account")
	})
}

type month struct {
	start time.Time

	mu                   sync.Mutex
	passes, issued, down int
}

// A keptCluster outlives the processes that keep it.
type keptCluster struct {
	*injecttest.Cluster
	number  int
	name    string
	targets []inject.Target
	syncer  *inject.Syncer
}

func newKeptCluster(t *testing.T, number int) *keptCluster {
	c := &keptCluster{Cluster: &injecttest.Cluster{}, number: number, name: fmt.Sprint(number)}
	for i := range lifetimes {
		ns := fmt.Sprintf("ns-%d", i)
		require.NoError(t, c.CreateNamespace(t.Context(), ns, nil))
		p := profile(fmt.Sprint("p", i))
		p.Tenant = c.name
		target := target("regcred-"+ns, p)
		target.Namespaces.Names = []string{ns}
		c.targets = append(c.targets, target)
	}
	return c
}

// start creates the Syncer of a new process.
func (c *keptCluster) start(t *testing.T, m *month, cache *credentials.Cache) {
	key := func(p registry.Profile) credentials.Key {
		return credentials.Key{Tenant: c.name, Issuer: "issuer-" + p.Name, Scope: c.name}
	}
	source := func(p registry.Profile) credentials.Source {
		return credentials.Func(func(context.Context) (credentials.Credential, error) {
			kind, err := strconv.Atoi(p.Name[1:])
			require.NoError(t, err)
			return m.issue(kind, lifetime(c.number, kind))
		})
	}
	c.syncer = &inject.Syncer{
		Cluster: c.Cluster, AdoptionKey: sharedKey,
		Credential: func(ctx context.Context, p registry.Profile) (credentials.Credential, error) {
			return cache.Credential(ctx, key(p), source(p))
		},
		Lookup: func(p registry.Profile) credentials.Entry {
			entry, _ := cache.Lookup(key(p))
			entry.Key = key(p)
			return entry
		},
		Adopt: func(p registry.Profile, cred credentials.Credential) bool {
			return cache.Adopt(key(p), source(p), cred)
		},
	}
}

// keep makes only the passes that are due in a cluster, until the process ends.
func (m *month) keep(t *testing.T, c *keptCluster, end time.Time) {
	_, err := c.syncer.Sync(t.Context(), c.targets)
	require.NoError(t, err)
	passes := 1
	for {
		next := c.syncer.NextAt()
		time.Sleep(min(time.Until(next), time.Until(end)))
		m.noneExpired(t, c.Cluster)
		if !time.Now().Before(end) {
			break
		}
		_, err := c.syncer.SyncDue(t.Context())
		require.NoError(t, err)
		passes++
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.passes += passes
}

// noneExpired checks just before secrets change: a secret that is valid then has been valid since the last change.
func (m *month) noneExpired(t *testing.T, cluster *injecttest.Cluster) {
	state, err := cluster.State(t.Context(), inject.Scope{Owner: "regcred"})
	require.NoError(t, err)
	for _, ns := range state {
		for _, s := range ns.Secrets {
			text := s.Annotations[inject.AnnotationExpiresAt]
			if text == "" {
				continue
			}
			at, err := time.Parse(time.RFC3339, text)
			require.NoError(t, err)
			if !time.Now().Before(at) {
				t.Fatalf("%s after the start, secret %s/%s is over since %s", time.Since(m.start), ns.Name, s.Name, time.Since(at))
			}
		}
	}
}

// issue simulates an issuer that is slow, and down once a day, at a different hour for each kind.
func (m *month) issue(kind int, life time.Duration) (credentials.Credential, error) {
	if life == 0 { // The credential is in the profile.
		return credentials.Credential{Username: "robot", Password: credentials.NewSecret("password")}, nil
	}
	time.Sleep(200 * time.Millisecond)
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	outage := time.Hour
	if life > 0 {
		outage = min(outage, life/12)
	}
	if since := now.Sub(m.start.Add(time.Duration((5*kind+3)%24) * time.Hour)); since > 0 && since%(24*time.Hour) < outage {
		m.down++
		return credentials.Credential{}, errors.New("issuer is down")
	}
	m.issued++
	return credentials.Credential{
		Username: "robot", Password: credentials.NewSecret(fmt.Sprint("token-", m.issued)), IssuedAt: now, ExpiresAt: now.Add(life),
	}, nil
}

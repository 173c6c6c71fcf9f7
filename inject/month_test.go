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

// Ten clusters take twenty seconds of processor time for 30 days. A thousand, which are 10,000 profiles, take half an
// hour.
var (
	monthClusters = flag.Int("clusters", 10, "how many clusters TestMonth keeps, of ten profiles each")
	monthDays     = flag.Int("days", 30, "for how many days it does")
)

// lifetimes are those of the credentials in a cluster: AWS ECR, Google, a System registry, and passwords, which live for
// ever.
var lifetimes = []time.Duration{12 * time.Hour, 12 * time.Hour, 12 * time.Hour, 12 * time.Hour, time.Hour, 6 * time.Hour, 0, 0, 0, 0}

// lifetime is that of a credential in a cluster. In every tenth cluster, the System registry is a strict one.
func lifetime(cluster, kind int) time.Duration {
	if kind == 5 && cluster%10 == 0 {
		return 15 * time.Minute
	}
	return lifetimes[kind]
}

// TestMonth keeps the secrets of many clusters for 30 days. Every issuer is down once a day: for an hour, or for a twelfth
// of the lifetime if that is shorter, for a tenth is what is left when the last renewals are due. At no instant is a
// published secret expired.
func TestMonth(t *testing.T) {
	clusters, days := *monthClusters, *monthDays
	if raceDetector || testing.Short() {
		clusters, days = min(clusters, 5), min(days, 3)
	}
	profiles := clusters * len(lifetimes)
	synctest.Test(t, func(t *testing.T) {
		m := &month{start: time.Now()}
		end := m.start.AddDate(0, 0, days)
		ctx, stop := context.WithCancel(t.Context())
		cache := &credentials.Cache{}
		var running sync.WaitGroup
		running.Go(func() { _ = cache.Run(ctx) })
		var keeping sync.WaitGroup
		for c := range clusters {
			keeping.Go(func() { m.keep(t, cache, c, end) })
		}
		keeping.Wait()
		stop()
		running.Wait()
		time.Sleep(time.Second) // Calls to issuers that are under way go on to their end.

		least := 0.0
		for i := range profiles {
			if life := lifetime(i/len(lifetimes), i%len(lifetimes)); life > 0 {
				least += math.Ceil(float64(end.Sub(m.start)) / float64(life))
			} else {
				least++
			}
		}
		t.Logf("%d clusters, %d profiles, %d days: %d passes, %d writes; %d credentials issued, "+
			"%.3f times the least that lifetimes allow; %d calls in outages",
			clusters, profiles, days, m.passes, m.writes, m.issued, float64(m.issued)/least, m.down)
		require.LessOrEqual(t, float64(m.issued), 1.35*least)
		require.LessOrEqual(t, m.writes, m.issued+profiles, "one write a credential, and the link of each account")
	})
}

type month struct {
	start time.Time

	mu                           sync.Mutex
	passes, writes, issued, down int
}

// keep makes passes over a cluster when they are due, and no others.
func (m *month) keep(t *testing.T, cache *credentials.Cache, number int, end time.Time) {
	cluster, name := &injecttest.Cluster{}, fmt.Sprint(number)
	var targets []inject.Target
	for i := range lifetimes {
		ns := fmt.Sprintf("ns-%d", i)
		require.NoError(t, cluster.CreateNamespace(t.Context(), ns, nil))
		p := profile(fmt.Sprint("p", i))
		target := target("regcred-"+ns, p)
		target.Namespaces.Names = []string{ns}
		targets = append(targets, target)
	}
	syncer := &inject.Syncer{Cluster: cluster, Credential: func(ctx context.Context, p registry.Profile) (credentials.Credential, error) {
		kind, err := strconv.Atoi(p.Name[1:])
		require.NoError(t, err)
		key := credentials.Key{Tenant: name, Issuer: "issuer-" + p.Name, Scope: name}
		return cache.Credential(ctx, key, credentials.Func(func(context.Context) (credentials.Credential, error) {
			return m.issue(kind, lifetime(number, kind))
		}))
	}}
	passes := 0
	for time.Now().Before(end) {
		m.noneExpired(t, cluster)
		result, err := syncer.Sync(t.Context(), targets)
		require.NoError(t, err)
		passes++
		time.Sleep(min(time.Until(result.NextAt), time.Until(end)))
	}
	m.noneExpired(t, cluster)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.passes += passes
	m.writes += cluster.Writes()
}

// noneExpired looks just before secrets change: what is good then was good since the last change.
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

// issue is an issuer that takes its time, and is down once a day, each kind at another hour.
func (m *month) issue(kind int, life time.Duration) (credentials.Credential, error) {
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
	c := credentials.Credential{Username: "robot", Password: credentials.NewSecret(fmt.Sprint("token-", m.issued))}
	if life > 0 {
		c.IssuedAt, c.ExpiresAt = now, now.Add(life)
	}
	return c, nil
}

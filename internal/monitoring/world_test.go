package monitoring_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/util/teststorage"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/credentials/credentialsprom"
	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/inject/injectprom"
	"github.com/regcred/regcred/inject/injecttest"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/providers/providerstest"
	"github.com/regcred/regcred/registry"
)

// A world is a program with the collectors, its issuer and its cluster, in a bubble of testing/synctest. It is scraped
// each minute.
type world struct {
	t           *testing.T
	cluster     cluster
	edge        cluster // Another cluster of the same program.
	issuer      *providerstest.Fake
	issuerDown  atomic.Bool
	adoptionKey string
	targets     []inject.Target

	metrics *prometheus.Registry // Of the current process.
	syncers [2]*inject.Syncer    // Of cluster and edge.
	stop    func()

	start   time.Time
	over    time.Time // The end of the last time without a process.
	samples []sample
}

type sample struct {
	labels labels.Labels
	at     int64 // In milliseconds since 1970.
	value  float64
}

// cluster is a cluster whose API server may be out of reach.
type cluster struct {
	injecttest.Cluster
	down atomic.Bool
}

func (c *cluster) State(ctx context.Context, scope inject.Scope) ([]inject.Namespace, error) {
	if c.down.Load() {
		return nil, errors.New("connection refused")
	}
	return c.Cluster.State(ctx, scope)
}

// inWorld runs a scenario and returns what was scraped.
func inWorld(t *testing.T, scenario func(w *world)) *world {
	t.Helper()
	var w *world
	synctest.Test(t, func(t *testing.T) {
		w = &world{t: t, start: time.Now(), adoptionKey: "0123456789abcdef"}
		w.issuer = &providerstest.Fake{Lifetime: 12 * time.Hour, Delay: time.Second, Fail: func(int) error {
			if w.issuerDown.Load() {
				return registry.ErrUnavailable
			}
			return nil
		}}
		for _, namespace := range []string{"shop", "blog"} {
			require.NoError(t, w.cluster.CreateNamespace(t.Context(), namespace, nil))
			require.NoError(t, w.edge.CreateNamespace(t.Context(), namespace, nil))
		}
		w.targets = []inject.Target{target("main", time.Time{})}
		w.restart()
		scenario(w)
		w.stop()
	})
	return w
}

func target(name string, loginExpires time.Time) inject.Target {
	return inject.Target{
		Name: name, Namespaces: inject.Selection{Names: []string{"*"}},
		Profiles: []registry.Profile{{
			Name: name, Kind: registry.Custom, Endpoint: "registry.example.com/" + name,
			Login: credentials.Login{Username: "robot", Password: credentials.NewSecret(name), ExpiresAt: loginExpires},
		}},
	}
}

// restart replaces the process.
func (w *world) restart() {
	if w.stop != nil {
		w.stop()
	}
	cache := new(credentials.Cache)
	for i, c := range []*cluster{&w.cluster, &w.edge} {
		w.syncers[i] = &inject.Syncer{
			Cluster: c, AdoptionKey: credentials.NewSecret(w.adoptionKey),
			Credential: func(ctx context.Context, p registry.Profile) (credentials.Credential, error) {
				return cache.Credential(ctx, providers.Key(w.issuer, p), providers.Source(w.issuer, p))
			},
			Lookup: func(p registry.Profile) credentials.Entry {
				key := providers.Key(w.issuer, p)
				if entry, ok := cache.Lookup(key); ok {
					return entry
				}
				return credentials.Entry{Key: key}
			},
			Adopt: func(p registry.Profile, c credentials.Credential) bool {
				return cache.Adopt(providers.Key(w.issuer, p), providers.Source(w.issuer, p), c)
			},
		}
	}
	cache.Hooks.Issued = func(e credentials.Event) {
		for _, s := range w.syncers {
			s.Renewed(e)
		}
	}
	w.metrics = prometheus.NewRegistry()
	began := prometheus.NewGauge(prometheus.GaugeOpts{Name: "process_start_time_seconds", Help: "Start."})
	began.Set(float64(time.Now().Unix()))
	w.metrics.MustRegister(began, credentialsprom.New(cache), injectprom.New(w.syncers[0]),
		injectprom.NewRollout(map[string]*inject.Syncer{"main": w.syncers[0], "edge": w.syncers[1]}, nil))
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		assert.NoError(w.t, cache.Run(ctx))
	}()
	w.stop = func() {
		cancel()
		<-done
	}
}

// run lets time pass, with a pass over each cluster each five minutes, and one for what is due each minute. The errors
// of passes are in the metrics.
func (w *world) run(d time.Duration) {
	for minute := range int(d / time.Minute) {
		for _, s := range w.syncers {
			if minute%5 == 0 {
				_, _ = s.Sync(w.t.Context(), w.targets)
			} else {
				_, _ = s.SyncDue(w.t.Context())
			}
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		w.scrape()
	}
}

// down stops the process, and lets time pass without it.
func (w *world) down(d time.Duration) {
	w.stop()
	time.Sleep(d)
	w.over = time.Now()
}

func (w *world) scrape() {
	families, err := w.metrics.Gather()
	require.NoError(w.t, err)
	at := time.Now().UnixMilli()
	add := func(name string, m *dto.Metric, value float64, more ...string) {
		b := labels.NewBuilder(labels.FromStrings(append([]string{model.MetricNameLabel, name, "job", "controller", "instance", "1"}, more...)...))
		for _, pair := range m.GetLabel() {
			b.Set(pair.GetName(), pair.GetValue())
		}
		w.samples = append(w.samples, sample{b.Labels(), at, value})
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			switch f.GetType() {
			case dto.MetricType_COUNTER:
				add(f.GetName(), m, m.GetCounter().GetValue())
			case dto.MetricType_GAUGE:
				add(f.GetName(), m, m.GetGauge().GetValue())
			case dto.MetricType_HISTOGRAM:
				h := m.GetHistogram()
				add(f.GetName()+"_count", m, float64(h.GetSampleCount()))
				add(f.GetName()+"_sum", m, h.GetSampleSum())
				for _, bucket := range h.GetBucket() {
					add(f.GetName()+"_bucket", m, float64(bucket.GetCumulativeCount()), "le", labels.FormatOpenMetricsFloat(bucket.GetUpperBound()))
				}
				add(f.GetName()+"_bucket", m, float64(h.GetSampleCount()), "le", "+Inf")
			default:
				w.t.Errorf("%s has the type %s", f.GetName(), f.GetType())
			}
		}
	}
}

// store returns what was scraped as a database of Prometheus.
func (w *world) store(t *testing.T) *teststorage.TestStorage {
	t.Helper()
	s := teststorage.New(t)
	app := s.Appender(t.Context())
	for _, sample := range w.samples {
		_, err := app.Append(0, sample.labels, sample.at, sample.value)
		require.NoError(t, err)
	}
	require.NoError(t, app.Commit())
	return s
}

func (w *world) end() time.Time {
	if last := time.UnixMilli(w.samples[len(w.samples)-1].at); last.After(w.over) {
		return last
	}
	return w.over
}

package systemregistry_test

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/systemregistry"
	"github.com/regcred/regcred/systemregistry/store"
)

// maintained is a registry whose collections are noted. It is opened outside the bubble in which it is maintained,
// because goroutines of distribution never end.
type maintained struct {
	*systemregistry.Registry
	start     time.Time
	collected []time.Duration // After the start.
	stop      func()
}

func opened(t *testing.T, s systemregistry.Server) *maintained {
	t.Helper()
	m := new(maintained)
	s.OnEvent = func(e systemregistry.Event) {
		if e.Kind == systemregistry.EventCollect {
			m.collected = append(m.collected, time.Since(m.start).Round(time.Minute))
		}
	}
	var err error
	m.Registry, err = s.Open(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m
}

func (m *maintained) maintain(t *testing.T, start time.Time) {
	m.start = start
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.MaintainInBubble(ctx, nil)
	}()
	m.stop = func() {
		cancel()
		<-done
	}
}

// last returns the metric of the last collection as a time after the start, and whether it exists.
func (m *maintained) last(t *testing.T) (time.Duration, bool) {
	t.Helper()
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(m)
	families, err := metrics.Gather()
	require.NoError(t, err)
	for _, f := range families {
		if f.GetName() == "regcred_registry_last_collection_timestamp_seconds" {
			return time.Unix(int64(f.GetMetric()[0].GetGauge().GetValue()), 0).Sub(m.start).Round(time.Minute), true
		}
	}
	return 0, false
}

// A registry that is restarted more often than CollectEvery collects as often as one that is not.
func TestCollectsAcrossRestarts(t *testing.T) {
	s := systemregistry.Server{Driver: inmemory.New(), Store: new(store.Memory)}
	var processes []*maintained
	for range 12 {
		processes = append(processes, opened(t, s))
	}
	late := opened(t, s)
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var collected []time.Duration
		for _, m := range processes { // Four days.
			m.maintain(t, start)
			time.Sleep(8 * time.Hour)
			m.stop()
			last, _ := m.last(t)
			collected = append(collected, m.collected...)
			require.Equal(t, collected[len(collected)-1], last, "the metric survives a restart")
		}
		day, soon := 24*time.Hour, 10*time.Minute
		require.Equal(t, []time.Duration{soon, day + soon, 2*day + soon, 3*day + soon}, collected)

		time.Sleep(3 * day)
		late.maintain(t, time.Now())
		time.Sleep(time.Hour)
		late.stop()
		require.Equal(t, []time.Duration{soon}, late.collected, "it is overdue")
	})
}

// Replicas collect once in each interval together, and each knows when that was.
func TestReplicasCollectInTurns(t *testing.T) {
	s := systemregistry.Server{Driver: inmemory.New(), Store: new(store.Memory), CollectEvery: 2 * time.Hour}
	a, b := opened(t, s), opened(t, s)
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		a.maintain(t, start)
		time.Sleep(7 * time.Minute)
		b.maintain(t, start)
		time.Sleep(6 * time.Hour)
		a.stop()
		b.stop()
		require.Len(t, append(a.collected, b.collected...), 3)
		for _, m := range []*maintained{a, b} {
			last, _ := m.last(t)
			require.Equal(t, 4*time.Hour+10*time.Minute, last)
		}
	})
}

// broken is a storage that cannot be listed.
type broken struct {
	storagedriver.StorageDriver
	on atomic.Bool
}

func (d *broken) List(ctx context.Context, path string) ([]string, error) {
	if d.on.Load() {
		return nil, errors.New("input/output error")
	}
	return d.StorageDriver.List(ctx, path)
}

// A collection that fails is not remembered as one, and is tried again at the next interval.
func TestFailedCollection(t *testing.T) {
	driver := &broken{StorageDriver: inmemory.New()}
	m := opened(t, systemregistry.Server{Driver: driver, CollectEvery: time.Hour})
	synctest.Test(t, func(t *testing.T) {
		m.maintain(t, time.Now())
		driver.on.Store(true)
		time.Sleep(90 * time.Minute)
		m.stop()
		require.Equal(t, []time.Duration{10 * time.Minute, 70 * time.Minute}, m.collected)
		last, ok := m.last(t)
		require.True(t, ok)
		require.Equal(t, time.Unix(0, 0).Sub(m.start), last, "never")
	})
}

// A registry that does not collect has no time of its last collection, which an alert would take for a fault.
func TestCollectsNever(t *testing.T) {
	m := opened(t, systemregistry.Server{CollectEvery: -1})
	synctest.Test(t, func(t *testing.T) {
		m.maintain(t, time.Now())
		time.Sleep(48 * time.Hour)
		m.stop()
		_, ok := m.last(t)
		require.False(t, ok)
		require.Empty(t, m.collected)
	})
}

// If the storage is full, uploads that were in progress then are removed as well, soon after they have become idle.
func TestPurgeAfterFull(t *testing.T) {
	r := open(t, systemregistry.Server{CollectEvery: -1})
	synctest.Test(t, func(t *testing.T) {
		r.Client = &http.Client{Transport: inProcess{r.Registry}}
		token := r.token(t, "ann", password("ann"), "repository:team/app:pull,push")
		resp, _ := r.do(t, "POST", "/v2/team/app/blobs/uploads/", "", bearer(token))
		resp, _ = r.do(t, "PATCH", resp.Header.Get("Location"), "layer", bearer(token))
		require.Equal(t, http.StatusAccepted, resp.StatusCode)
		time.Sleep(time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		full, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			r.MaintainInBubble(ctx, full)
		}()
		full <- struct{}{}
		time.Sleep(5 * time.Minute)
		removed, err := r.Catalog().PurgeUploads(t.Context(), true)
		require.NoError(t, err)
		require.Zero(t, removed, "it is removed already")
		cancel()
		<-done
	})
}

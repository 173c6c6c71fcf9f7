package catalog_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/systemregistry/images"
	"github.com/regcred/regcred/systemregistry/internal/catalog"
	"github.com/regcred/regcred/systemregistry/internal/shared"
	"github.com/regcred/regcred/systemregistry/store"
)

// hookedStore calls the functions that are set around calls of a store.
type hookedStore struct {
	store.Store
	get         func(ctx context.Context, key string) error
	put, delete func(ctx context.Context, key string) error
	wasPut      func(key string)
	list        func(prefix string)
}

func (s *hookedStore) Get(ctx context.Context, key string) (store.Entry, error) {
	if s.get != nil {
		if err := s.get(ctx, key); err != nil {
			return store.Entry{}, err
		}
	}
	return s.Store.Get(ctx, key)
}

func (s *hookedStore) Put(ctx context.Context, key string, value []byte, version uint64) (uint64, error) {
	if s.put != nil {
		if err := s.put(ctx, key); err != nil {
			return 0, err
		}
	}
	v, err := s.Store.Put(ctx, key, value, version)
	if s.wasPut != nil && err == nil {
		s.wasPut(key)
	}
	return v, err
}

func (s *hookedStore) Delete(ctx context.Context, key string, version uint64) error {
	if s.delete != nil {
		if err := s.delete(ctx, key); err != nil {
			return err
		}
	}
	return s.Store.Delete(ctx, key, version)
}

func (s *hookedStore) List(ctx context.Context, prefix string) iter.Seq2[store.Entry, error] {
	if s.list != nil {
		s.list(prefix)
	}
	return s.Store.List(ctx, prefix)
}

// A measurement that began before a request ended, and read the uploads after it, has not counted the bytes that the
// request returned. They are not subtracted again.
func TestMeasurementBeganBeforeUploadEnded(t *testing.T) {
	for name, outcome := range map[string]catalog.Outcome{"pause": catalog.UploadGoesOn, "fail": catalog.UploadFailed} {
		t.Run(name, func(t *testing.T) {
			policy := images.Policy{Repositories: "**", MaxBytes: 1 << 30}
			storage, table := inmemory.New(), new(store.Memory)
			began, scan, measured := make(chan struct{}), make(chan struct{}), make(chan error, 1)
			other := replica(t, storage, &hookedStore{Store: table, list: func(prefix string) {
				if began != nil && prefix == "upload/" {
					close(began)
					<-scan
				}
			}}, policy)
			finish := func() {
				if scan != nil {
					close(scan)
					require.NoError(t, <-measured)
					scan = nil
				}
			}
			s := &hookedStore{Store: table}
			f := replica(t, storage, s, policy)
			require.NoError(t, f.Measure(t.Context()))
			require.NoError(t, f.upload(t.Context(), "team/app", strings.Repeat("y", 300_000)))
			id, err := f.begin(t.Context(), "team/app")
			require.NoError(t, err)
			u, err := f.Upload(t.Context(), "team/app", id, -1)
			require.NoError(t, err)
			w, err := f.repository(t, "team/app").Blobs(t.Context()).Resume(t.Context(), id)
			require.NoError(t, err)
			_, err = io.Copy(w, u.Body(t.Context(), io.NopCloser(strings.NewReader(strings.Repeat("x", 200_000)))))
			require.NoError(t, err)
			require.NoError(t, w.Close())

			go func() { measured <- other.Measure(t.Context()) }()
			<-began
			began = nil
			removed := false
			s.wasPut = func(key string) {
				if outcome == catalog.UploadGoesOn && strings.HasPrefix(key, "upload/") {
					finish()
				}
			}
			s.delete = func(_ context.Context, key string) error { removed = strings.HasPrefix(key, "upload/"); return nil }
			s.get = func(_ context.Context, key string) error {
				if removed && strings.HasPrefix(key, "image/quota/") { // The next call after the entry is removed.
					finish()
				}
				return nil
			}
			require.NoError(t, u.End(t.Context(), outcome))
			require.Nil(t, scan, "the measurement must end during the request")
			want := int64(entry + 300_000)
			if outcome == catalog.UploadGoesOn {
				want += entry + shared.Block + 200_000
			}
			require.GreaterOrEqual(t, ledgerOf(t, f, "team/app"), want)
		})
	}
}

// The fullest quota of replicas is in the store.
func TestFullestQuotaOfReplicas(t *testing.T) {
	s := &hookedStore{Store: new(store.Memory)}
	f := replica(t, inmemory.New(), s, images.Policy{Repositories: "team/**", MaxBytes: 51_000}, images.Policy{Repositories: "**", MaxBytes: 100_000})
	require.NoError(t, f.upload(t.Context(), "team/app", strings.Repeat("x", 9000)))
	fullest, err := f.FullestQuota(t.Context())
	require.NoError(t, err)
	require.InDelta(t, (entry+9000)/51_000.0, fullest, 0.001)

	away := errors.New("the store is away")
	s.get = func(context.Context, string) error { return away }
	_, err = f.FullestQuota(t.Context())
	require.ErrorIs(t, err, away)
}

// A replica forgets an upload at the end of each request, because another replica may receive the rest.
func TestReplicaForgetsUploads(t *testing.T) {
	storage, table := inmemory.New(), new(store.Memory)
	a, b := replica(t, storage, table), replica(t, storage, table)
	id, err := a.begin(t.Context(), "team/app")
	require.NoError(t, err)
	require.NoError(t, a.chunk(t.Context(), "team/app", id, "x", ""))
	require.NoError(t, b.chunk(t.Context(), "team/app", id, "y", digest.FromString("xy")))
	require.Zero(t, a.OpenUploads())
	require.Zero(t, b.OpenUploads())
}

// A layer counts from the moment at which its link is written, whenever the client disconnects.
func TestClientLeavesAfterLink(t *testing.T) {
	for at, more := 1, true; more; at++ {
		s := &hookedStore{Store: new(store.Memory)}
		f := replica(t, inmemory.New(), s, images.Policy{Repositories: "**", MaxBytes: 1 << 30})
		id, err := f.begin(t.Context(), "team/app")
		require.NoError(t, err)
		layer := strings.Repeat("x", 9000)
		require.NoError(t, f.chunk(t.Context(), "team/app", id, layer[1:], ""))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		linked, calls := false, 0
		s.wasPut = func(key string) { linked = linked || strings.HasPrefix(key, shared.Layers) }
		call := func(ctx context.Context, _ string) error {
			if linked {
				calls++
			}
			if calls == at {
				cancel()
			}
			return ctx.Err()
		}
		s.get, s.put, s.delete = call, call, call
		_ = f.chunk(ctx, "team/app", id, "x", digest.FromString(layer))
		require.True(t, linked)
		more = calls >= at
		s.get, s.put, s.delete = nil, nil, nil
		require.True(t, f.Has(t.Context(), "team/app", digest.FromString(layer).String()), "left at call %d", at)
		require.GreaterOrEqual(t, ledgerOf(t, f, "team/app"), int64(entry+9000), "left at call %d", at)
		require.NoError(t, f.Measure(t.Context()))
		require.Equal(t, int64(entry+9000), ledgerOf(t, f, "team/app"), "left at call %d", at)
	}
}

// If the count cannot be completed after a link was written, the link stays, because another image may use it already.
func TestLinkStaysIfTheStoreFails(t *testing.T) {
	for _, failing := range []string{"image/quota/", "upload/"} {
		s := &hookedStore{Store: new(store.Memory)}
		storage := inmemory.New()
		policy := images.Policy{Repositories: "**", MaxBytes: 1 << 30}
		f, other := replica(t, storage, s, policy), replica(t, storage, s.Store, policy)
		id, err := f.begin(t.Context(), "team/app")
		require.NoError(t, err)
		layer := strings.Repeat("x", 9000)
		require.NoError(t, f.chunk(t.Context(), "team/app", id, layer[1:], ""))
		linked, away := false, errors.New("the store is away")
		s.wasPut = func(key string) { linked = linked || strings.HasPrefix(key, shared.Layers) }
		fail := func(_ context.Context, key string) error {
			if linked && strings.HasPrefix(key, failing) {
				return away
			}
			return nil
		}
		s.put, s.delete = fail, fail
		if failing == "upload/" {
			err = f.chunk(t.Context(), "team/app", id, "x", digest.FromString(layer))
		} else { // Without the upload in the context, the whole layer is counted for its link.
			var w distribution.BlobWriter
			w, err = f.repository(t, "team/app").Blobs(t.Context()).Resume(t.Context(), id)
			require.NoError(t, err)
			_, err = w.Write([]byte("x"))
			require.NoError(t, err)
			_, err = w.Commit(t.Context(), v1.Descriptor{Digest: digest.FromString(layer)})
		}
		require.ErrorIs(t, err, away)
		require.True(t, other.Has(t.Context(), "team/app", digest.FromString(layer).String()))
		require.GreaterOrEqual(t, ledgerOf(t, other, "team/app"), int64(entry+9000))
		require.NoError(t, other.Measure(t.Context()))
		require.GreaterOrEqual(t, ledgerOf(t, other, "team/app"), int64(entry+9000))
	}
}

// A layer is stored although the bytes that were reserved for it cannot be returned. The error is still reported.
func TestLayerIsStoredIfReturningBytesFails(t *testing.T) {
	s := &hookedStore{Store: new(store.Memory)}
	f := replica(t, inmemory.New(), s, images.Policy{Repositories: "**", MaxBytes: 1 << 30})
	layer := strings.Repeat("x", 9000)
	id, err := f.begin(t.Context(), "team/app")
	require.NoError(t, err)
	u, err := f.Upload(t.Context(), "team/app", id, -1)
	require.NoError(t, err)
	w, err := f.repository(t, "team/app").Blobs(t.Context()).Resume(t.Context(), id)
	require.NoError(t, err)
	_, err = io.Copy(w, u.Body(t.Context(), io.NopCloser(strings.NewReader(layer))))
	require.NoError(t, err)
	removed, away := false, errors.New("the store is away")
	s.delete = func(_ context.Context, key string) error {
		removed = removed || strings.HasPrefix(key, "upload/")
		return nil
	}
	s.put = func(_ context.Context, key string) error {
		if removed && strings.HasPrefix(key, "image/quota/") {
			return away
		}
		return nil
	}
	_, err = w.Commit(u.Context(t.Context()), v1.Descriptor{Digest: digest.FromString(layer)})
	require.NoError(t, err)
	require.ErrorIs(t, u.End(t.Context(), catalog.UploadStored), away)
	require.GreaterOrEqual(t, ledgerOf(t, f, "team/app"), int64(entry+9000))
}

// Requests that find no room at once cause one measurement, and a request that can never fit causes none. No replica
// starts a measurement while another one measures.
func TestMeasurementsOfReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = entry + 14_000
		policy := images.Policy{Repositories: "**", MaxBytes: limit}
		storage, table := inmemory.New(), new(store.Memory)
		var scans atomic.Int64
		list := func(prefix string) {
			if prefix == "upload/" {
				scans.Add(1)
				time.Sleep(5 * time.Second) // A long scan.
			}
		}
		var replicas []fixture
		for range 3 {
			replicas = append(replicas, replica(t, storage, &hookedStore{Store: table, list: list}, policy))
		}
		all := func(size int64, want error) {
			var wg sync.WaitGroup
			for i := range 30 {
				wg.Go(func() {
					u, err := replicas[i%3].Upload(t.Context(), "team/app", fmt.Sprint("a", i), size)
					if want != nil {
						if !errors.Is(err, want) {
							t.Error(err)
						}
					} else if err != nil {
						t.Error(err)
					} else {
						_ = u.End(t.Context(), catalog.UploadFailed)
					}
				})
			}
			wg.Wait()
		}
		all(9000, nil)
		require.Equal(t, int64(1), scans.Swap(0), "the first measurement")
		require.NoError(t, replicas[0].upload(t.Context(), "team/app", strings.Repeat("x", 9000)))

		time.Sleep(time.Hour)
		all(limit+1, images.ErrQuotaExceeded)
		require.Zero(t, scans.Swap(0), "it can never fit")
		all(5001, images.ErrQuotaExceeded)
		require.Equal(t, int64(1), scans.Swap(0), "all replicas share a measurement")
		time.Sleep(90 * time.Second)
		all(5001, images.ErrQuotaExceeded)
		require.Zero(t, scans.Swap(0), "too soon after a long measurement")
		time.Sleep(time.Hour)
		all(5001, images.ErrQuotaExceeded)
		require.Equal(t, int64(1), scans.Load())
	})
}

// A limit is unknown until its first measurement has ended.
func TestFirstMeasurement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		policy := images.Policy{Repositories: "**", MaxBytes: entry + 10_000}
		storage, table := inmemory.New(), new(store.Memory)
		require.NoError(t, replica(t, storage, table).upload(t.Context(), "team/app", strings.Repeat("x", 9000)))
		crash := make(chan struct{})
		crashes := replica(t, storage, &hookedStore{Store: table, list: func(string) { <-crash }}, policy)
		go func() { _ = crashes.Measure(context.WithoutCancel(t.Context())) }()
		synctest.Wait()
		f := replica(t, storage, table, policy)
		_, err := f.Upload(t.Context(), "team/app", "a", 5000)
		require.ErrorIs(t, err, images.ErrQuotaExceeded)
		u, err := f.Upload(t.Context(), "team/app", "a", 500)
		require.NoError(t, err)
		require.NoError(t, u.End(t.Context(), catalog.UploadFailed))
		close(crash)
		synctest.Wait()
		require.Equal(t, int64(entry+9000), ledgerOf(t, f, "team/app"))
	})
}

// A client that disconnects does not abort the measurement that it has caused.
func TestClientLeavesDuringMeasurement(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	scans := 0
	s := &hookedStore{Store: new(store.Memory), list: func(prefix string) {
		if prefix == "upload/" {
			scans++
			cancel()
		}
	}}
	s.put = func(ctx context.Context, _ string) error { return ctx.Err() }
	f := replica(t, inmemory.New(), s, images.Policy{Repositories: "**", MaxBytes: 10_000})
	_, _ = f.Upload(ctx, "team/app", "a", 500)
	u, err := f.Upload(t.Context(), "team/app", "a", 500)
	require.NoError(t, err)
	require.NoError(t, u.End(t.Context(), catalog.UploadFailed))
	require.Equal(t, 1, scans)
}

// A replica does not remove an upload for which it has a request in progress. Other replicas do not remove one that was
// renewed lately.
func TestUploadInProgressStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage, table := inmemory.New(), new(store.Memory)
		policy := images.Policy{Repositories: "**", MaxBytes: 1 << 20}
		f, other := replica(t, storage, table, policy), replica(t, storage, table, policy)
		id, err := f.begin(t.Context(), "team/app")
		require.NoError(t, err)
		require.NoError(t, f.chunk(t.Context(), "team/app", id, "x", ""))
		u, err := f.Upload(t.Context(), "team/app", id, 0)
		require.NoError(t, err)
		time.Sleep(2 * time.Hour) // It is being completed.
		removed, err := f.PurgeUploads(t.Context(), true)
		require.NoError(t, err)
		require.Zero(t, removed)

		require.NoError(t, f.RenewUpload(u.Context(t.Context())))
		removed, err = other.PurgeUploads(t.Context(), true)
		require.NoError(t, err)
		require.Zero(t, removed)
		require.NoError(t, u.End(t.Context(), catalog.UploadGoesOn))
		require.NoError(t, f.RenewUpload(t.Context()), "there is nothing to renew")

		time.Sleep(2 * time.Hour)
		removed, err = f.PurgeUploads(t.Context(), true)
		require.NoError(t, err)
		require.Equal(t, 1, removed)
	})
}

package catalog_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/distribution/distribution/v3"
	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/semaphore"

	"github.com/regcred/regcred/systemregistry/images"
	"github.com/regcred/regcred/systemregistry/internal/catalog"
	"github.com/regcred/regcred/systemregistry/internal/shared"
	"github.com/regcred/regcred/systemregistry/store"
)

// start starts an upload, as the server does.
func (f fixture) start(ctx context.Context, repository string) (w distribution.BlobWriter, err error) {
	done, err := f.MayStart(ctx, repository, "", "")
	if err != nil {
		return nil, err
	}
	defer func() { done(false, err == nil) }()
	r, err := f.open(ctx, repository)
	if err != nil {
		return nil, err
	}
	if w, err = r.Blobs(ctx).Create(ctx); err != nil {
		return nil, err
	}
	return w, f.Started(ctx, repository, w)
}

// begin starts an upload, and returns its ID.
func (f fixture) begin(ctx context.Context, repository string) (string, error) {
	w, err := f.start(ctx, repository)
	if err != nil {
		return "", err
	}
	return w.ID(), w.Close()
}

// chunk sends one request with a part of an upload, as the server does. If last is not empty, it completes the upload.
func (f fixture) chunk(ctx context.Context, repository, id, content string, last digest.Digest) (err error) {
	u, err := f.Upload(ctx, repository, id, int64(len(content)))
	if err != nil {
		return err
	}
	outcome := catalog.UploadGoesOn
	defer func() { err = errors.Join(err, u.End(ctx, outcome)) }()
	r, err := f.open(ctx, repository)
	if err != nil {
		return err
	}
	w, err := r.Blobs(ctx).Resume(ctx, id)
	if err != nil {
		return err
	}
	if _, err = io.Copy(w, u.Body(ctx, io.NopCloser(strings.NewReader(content)))); err != nil {
		outcome = catalog.UploadFailed
		return errors.Join(err, w.Cancel(ctx))
	}
	if last == "" {
		return w.Close()
	}
	if _, err = w.Commit(u.Context(ctx), v1.Descriptor{Digest: last}); err != nil {
		outcome = catalog.UploadFailed
		return errors.Join(err, w.Cancel(ctx))
	}
	outcome = catalog.UploadStored
	return nil
}

// ledgerOf returns the usage that replicas count.
func ledgerOf(t *testing.T, f fixture, repository string) int64 {
	t.Helper()
	e, err := f.Effective(t.Context(), repository)
	require.NoError(t, err)
	return e.Quotas[0].Used
}

// Unfinished uploads at several replicas count together.
func TestUnfinishedUploadsOfReplicas(t *testing.T) {
	policy := images.Policy{Repositories: "team/**", MaxBytes: 3*entry + 2*shared.Block + 10_000}
	storage, table := inmemory.New(), new(store.Memory)
	replicas := []fixture{replica(t, storage, table, policy), replica(t, storage, table, policy), replica(t, storage, table, policy)}
	ids := make([]string, 3)
	for i, f := range replicas {
		id, err := f.begin(t.Context(), "team/app")
		require.NoError(t, err)
		ids[i] = id
		err = f.chunk(t.Context(), "team/app", id, strings.Repeat("x", 4000), "")
		if i == 2 {
			require.ErrorIs(t, err, images.ErrQuotaExceeded)
			continue
		}
		require.NoError(t, err)
	}
	require.Equal(t, int64(2*(entry+shared.Block)+8000), ledgerOf(t, replicas[2], "team/app"), "exactly what was received")

	// Another replica continues the upload, and what becomes a layer counts once.
	layer := strings.Repeat("x", 4000) + "y"
	require.NoError(t, replicas[2].chunk(t.Context(), "team/app", ids[0], "y", digest.FromString(layer)))
	require.Equal(t, int64(2*entry+shared.Block+8001), ledgerOf(t, replicas[0], "team/app"))
	require.NoError(t, replicas[1].Measure(t.Context()))
	require.Equal(t, int64(2*entry+shared.Block+8001), ledgerOf(t, replicas[0], "team/app"))

	// A layer that the repository has does not count again.
	id, err := replicas[1].begin(t.Context(), "team/app")
	require.NoError(t, err)
	require.NoError(t, replicas[1].chunk(t.Context(), "team/app", id, "y", ""))
	u, err := replicas[1].Upload(t.Context(), "team/app", id, 0)
	require.NoError(t, err)
	require.NoError(t, u.End(t.Context(), catalog.UploadFailed))
	require.Equal(t, int64(2*entry+shared.Block+8001), ledgerOf(t, replicas[0], "team/app"))

	// A layer of more than half of the limit fits.
	id, err = replicas[1].begin(t.Context(), "other/app")
	require.NoError(t, err)
	require.NoError(t, replicas[1].chunk(t.Context(), "other/app", id, strings.Repeat("z", 20_000), digest.FromString(strings.Repeat("z", 20_000))))
}

// An upload that becomes a layer does not need room twice.
func TestUploadNeedsRoomOnce(t *testing.T) {
	f := replica(t, inmemory.New(), new(store.Memory), images.Policy{Repositories: "**", MaxBytes: 4*entry + 10_000},
		images.Policy{Repositories: "team/**", MaxBytes: 2*entry + shared.Block + 9_500})
	layer := strings.Repeat("x", 9_000)
	require.NoError(t, f.upload(t.Context(), "team/app", layer))
	require.Equal(t, int64(entry+9_000), ledgerOf(t, f, "team/app"))
	require.NoError(t, f.upload(t.Context(), "team/app", "y"), "and then there is room for little")
	require.ErrorIs(t, f.upload(t.Context(), "team/app", strings.Repeat("z", 600)), images.ErrQuotaExceeded)
	require.NoError(t, f.upload(t.Context(), "other/app", strings.Repeat("z", 600)))
	for _, q := range []string{"team/app", "other/app"} {
		before := ledgerOf(t, f, q)
		require.NoError(t, f.Measure(t.Context()))
		require.Equal(t, before, ledgerOf(t, f, q))
	}
}

// An upload whose client or replica is gone is removed, and its bytes stop counting. A replica that continues it later
// fails.
func TestAbandonedUploadOfReplica(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage, table := inmemory.New(), new(store.Memory)
		policy := images.Policy{Repositories: "**", MaxBytes: 2*entry + shared.Block + 10_000}
		crashed, other := replica(t, storage, table, policy), replica(t, storage, table, policy)
		id, err := crashed.begin(t.Context(), "team/app")
		require.NoError(t, err)
		u, err := crashed.Upload(t.Context(), "team/app", id, -1)
		require.NoError(t, err)
		body := u.Body(t.Context(), io.NopCloser(strings.NewReader(strings.Repeat("x", 9000))))
		_, err = io.CopyN(io.Discard, body, 1000)
		require.NoError(t, err)
		require.ErrorIs(t, other.upload(t.Context(), "team/app", strings.Repeat("y", 9500)), images.ErrQuotaExceeded)

		// While bytes arrive, even slowly, the upload stays.
		for range 20 {
			time.Sleep(30 * time.Second)
			_, err = io.CopyN(io.Discard, body, 1)
			require.NoError(t, err)
			removed, err := other.PurgeUploads(t.Context(), true)
			require.NoError(t, err)
			require.Zero(t, removed)
		}
		time.Sleep(3 * time.Minute)
		removed, err := other.PurgeUploads(t.Context(), false)
		require.NoError(t, err)
		require.Zero(t, removed)
		removed, err = other.PurgeUploads(t.Context(), true)
		require.NoError(t, err)
		require.Equal(t, 1, removed)
		require.Zero(t, ledgerOf(t, other, "team/app"))
		require.NoError(t, other.upload(t.Context(), "team/app", "small"))

		_, err = io.Copy(io.Discard, body)
		require.ErrorIs(t, err, shared.ErrUploadGone)
		require.NoError(t, u.End(t.Context(), catalog.UploadGoesOn))
		require.Equal(t, int64(entry+len("small")), ledgerOf(t, other, "team/app"))
		left, err := storage.List(t.Context(), "/docker/registry/v2/repositories/team/app/_uploads")
		require.True(t, err == nil && len(left) == 0 || errors.As(err, new(storagedriver.PathNotFoundError)), "%v %v", left, err)
	})
}

// countingStore counts the changes.
type countingStore struct {
	store.Store
	changes atomic.Int64
}

func (s *countingStore) Put(ctx context.Context, key string, value []byte, version uint64) (uint64, error) {
	s.changes.Add(1)
	return s.Store.Put(ctx, key, value, version)
}

// A large layer changes the store a few times, and not for each chunk.
func TestChangesOfTheStoreForAnUpload(t *testing.T) {
	table := &countingStore{Store: new(store.Memory)}
	f := replica(t, inmemory.New(), table, images.Policy{Repositories: "**", MaxBytes: 1 << 30})
	require.NoError(t, f.Measure(t.Context()))
	for size, most := range map[int64]int64{1000: 4, 100 << 20: 50} {
		before := table.changes.Load()
		u, err := f.Upload(t.Context(), "team/app", fmt.Sprint("a", size), -1)
		require.NoError(t, err)
		n, err := io.Copy(io.Discard, u.Body(t.Context(), io.NopCloser(io.LimitReader(rand.NewChaCha8([32]byte{}), size))))
		require.NoError(t, err)
		require.Equal(t, size, n)
		require.NoError(t, u.End(t.Context(), catalog.UploadFailed))
		changes := table.changes.Load() - before
		t.Logf("%d changes of the store for %d bytes", changes, size)
		require.LessOrEqual(t, changes, most+2)
	}
	require.Zero(t, ledgerOf(t, f, "team/app"))
}

// Replicas upload, complete, fail, abandon, measure and purge at random. At no time is more stored than the limit, and
// in the end, exactly what is stored counts.
func TestUploadsOfReplicasAtRandom(t *testing.T) {
	const limit = 20*entry + 100_000
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			storage, table := inmemory.New(), new(store.Memory)
			policy := images.Policy{Repositories: "**", MaxBytes: limit}
			var replicas []fixture
			for range 3 {
				replicas = append(replicas, replica(t, storage, table, policy))
			}
			// Each step is atomic for the check of what is stored, but not for the other replicas' changes of the store.
			quiet := semaphore.NewWeighted(4)
			var workers sync.WaitGroup
			for worker := range 4 {
				workers.Go(func() {
					random := rand.New(rand.NewPCG(seed, uint64(worker)))
					step := func(f func() error) error {
						if err := quiet.Acquire(t.Context(), 1); err != nil {
							return err
						}
						defer quiet.Release(1)
						return f()
					}
					for n := range 60 {
						one := func() fixture { return replicas[random.IntN(len(replicas))] }
						id := ""
						err := step(func() (err error) { id, err = one().begin(t.Context(), "team/app"); return err })
						if err != nil && !errors.Is(err, images.ErrQuotaExceeded) {
							t.Error(err)
						}
						content := strings.Repeat(fmt.Sprint(seed, worker, n, "."), 1+random.IntN(2000))
						half := random.IntN(len(content))
						if err != nil {
							id = "none" // The requests below fail.
						}
						_ = step(func() error { return one().chunk(t.Context(), "team/app", id, content[:half], "") })
						if random.IntN(4) == 0 { // Two requests to one upload at once, which a client must not do.
							a, b := one(), one()
							_ = step(func() error {
								var both sync.WaitGroup
								both.Go(func() { _ = a.chunk(t.Context(), "team/app", id, content[half:], digest.FromString(content)) })
								_ = b.chunk(t.Context(), "team/app", id, content[half:], "")
								both.Wait()
								return nil
							})
							continue
						}
						time.Sleep(time.Duration(random.IntN(40)) * time.Second)
						switch random.IntN(6) {
						case 0: // Abandoned.
						case 1:
							_ = step(func() error {
								f := one()
								u, err := f.Upload(t.Context(), "team/app", id, 0)
								if err == nil {
									err = u.End(t.Context(), catalog.UploadFailed)
								}
								return err
							})
						default:
							_ = step(func() error {
								return one().chunk(t.Context(), "team/app", id, content[half:], digest.FromString(content))
							})
						}
						switch random.IntN(10) {
						case 0:
							if err := step(func() error { return one().Measure(t.Context()) }); err != nil {
								t.Error(err)
							}
						case 1:
							if err := step(func() error { _, err := one().PurgeUploads(t.Context(), true); return err }); err != nil {
								t.Error(err)
							}
						case 2:
							if err := quiet.Acquire(t.Context(), 4); err != nil {
								t.Error(err)
								return
							}
							stored, counts := used(t, one()), ledgerOf(t, one(), "team/app")
							if stored > limit || counts < stored {
								t.Errorf("%d bytes are stored, and %d count, seed %d", stored, counts, seed)
							}
							quiet.Release(4)
						}
					}
				})
			}
			workers.Wait()
			time.Sleep(2 * time.Hour)
			_, err := replicas[0].PurgeUploads(t.Context(), true)
			require.NoError(t, err)
			require.NoError(t, replicas[1].Measure(t.Context()))
			require.Equal(t, used(t, replicas[0]), ledgerOf(t, replicas[2], "team/app"), "seed %d", seed)
		})
	}
}

// A measurement by another replica before any call to the store, during any end of a request or a push, does not count
// too little.
func TestMeasurementDuringUpload(t *testing.T) {
	policy := images.Policy{Repositories: "**", MaxBytes: 1 << 30}
	content := strings.Repeat("x", 200_000) // Less is received than is reserved.
	for name, end := range map[string]func(t *testing.T, f fixture, id string) error{
		"pause": func(t *testing.T, f fixture, id string) error {
			return f.chunk(t.Context(), "team/app", id, content, "")
		},
		"complete": func(t *testing.T, f fixture, id string) error {
			return f.chunk(t.Context(), "team/app", id, content, digest.FromString(content))
		},
		"fail": func(t *testing.T, f fixture, id string) error {
			return f.chunk(t.Context(), "team/app", id, content, "sha256:"+digest.Digest(strings.Repeat("0", 64)))
		},
		"push": func(t *testing.T, f fixture, _ string) error {
			return f.tryPush(t.Context(), "team/app", "1", content, true)
		},
		"unknown length": func(t *testing.T, f fixture, id string) error {
			u, err := f.Upload(t.Context(), "team/app", id, -1)
			require.NoError(t, err)
			r := f.repository(t, "team/app")
			w, err := r.Blobs(t.Context()).Resume(t.Context(), id)
			require.NoError(t, err)
			_, err = io.Copy(w, u.Body(t.Context(), io.NopCloser(strings.NewReader(content))))
			require.NoError(t, err)
			require.NoError(t, w.Close())
			return u.End(t.Context(), catalog.UploadGoesOn)
		},
	} {
		for at, more := 1, true; more; at++ {
			storage, table := inmemory.New(), new(store.Memory)
			other := replica(t, storage, table, policy)
			require.NoError(t, other.Measure(t.Context()))
			s := &staller{at: -1, during: func() { require.NoError(t, other.Measure(t.Context())) }}
			f := replica(t, storage, stallingStore{table, s}, policy)
			id, err := f.begin(t.Context(), "team/app")
			require.NoError(t, err)
			s.calls, s.at = 0, at
			_ = end(t, f, id)
			more = s.calls >= at
			require.GreaterOrEqual(t, ledgerOf(t, other, "team/app"), used(t, other), "%s, measured at call %d", name, at)
			require.NoError(t, other.Measure(t.Context()))
			require.Equal(t, used(t, other), ledgerOf(t, other, "team/app"), "%s, measured at call %d", name, at)
		}
	}
}

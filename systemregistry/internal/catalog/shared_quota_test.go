package catalog_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/systemregistry/images"
	"github.com/regcred/regcred/systemregistry/internal/shared"
	"github.com/regcred/regcred/systemregistry/store"
)

// entry is what each tag, link and unfinished upload of "team/app" counts beside its data, and of "team/app0".
const entry = 9 * shared.Block

// sharedLimit is the limit for about three images.
const sharedLimit = 12*entry + 10_000

func big(name string) string { return name + strings.Repeat(".", 3000) }

func used(t *testing.T, f fixture) int64 {
	t.Helper()
	n, err := f.Usage(t.Context(), func(string) bool { return true })
	require.NoError(t, err)
	return n
}

// Replicas that push concurrently do not exceed a limit together, and deletions make room.
func TestQuotaOfReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		policy := images.Policy{Repositories: "team/**", KeepUntagged: time.Hour, MaxBytes: sharedLimit}
		storage, table := inmemory.New(), new(store.Memory)
		replicas := make([]fixture, 3)
		for i := range replicas {
			replicas[i] = replica(t, storage, table, policy)
		}
		var wg sync.WaitGroup
		done := make([]int, len(replicas))
		for i, r := range replicas {
			wg.Go(func() {
				for n := range 5 {
					err := r.tryPush(t.Context(), fmt.Sprint("team/app", i), fmt.Sprint(n), big(fmt.Sprint(i, n)), true)
					if err == nil {
						done[i]++
					} else if !errors.Is(err, images.ErrQuotaExceeded) {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		time.Sleep(2 * day)
		_, err := replicas[0].PurgeUploads(t.Context(), false) // The failed ones, which the registry removes at once.
		require.NoError(t, err)
		require.LessOrEqual(t, used(t, replicas[0]), int64(sharedLimit))
		require.Positive(t, done[0]+done[1]+done[2])
		require.ErrorIs(t, replicas[0].tryPush(t.Context(), "team/new", "1", big("new"), true), images.ErrQuotaExceeded)
		require.NoError(t, replicas[0].tryPush(t.Context(), "other/new", "1", big("new"), true))

		for i := range replicas {
			name := fmt.Sprint("team/app", i)
			tags, err := replicas[0].Tags(t.Context(), name)
			require.NoError(t, err)
			for _, tag := range tags {
				require.NoError(t, replicas[1].Delete(t.Context(), name, tag))
			}
		}
		for range 2 {
			time.Sleep(2 * day)
			_, err := replicas[2].Collect(t.Context())
			require.NoError(t, err)
		}
		require.NoError(t, replicas[0].tryPush(t.Context(), "team/new", "1", big("new"), true))
	})
}

// Replicas that set tags concurrently fill a limit exactly, and tags that are deleted make room.
func TestQuotaOfTagsOfReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const fit = 20
		policy := images.Policy{Repositories: "team/**", MaxBytes: (3+fit)*entry + 10_000}
		storage, table := inmemory.New(), new(store.Memory)
		replicas := []fixture{replica(t, storage, table, policy), replica(t, storage, table, policy), replica(t, storage, table, policy)}
		require.NoError(t, replicas[0].tryPush(t.Context(), "team/app", "0", big("app"), true))
		tag := func(f fixture, tag string) error { return f.tryPush(t.Context(), "team/app", tag, big("app"), false) }
		var wg sync.WaitGroup
		var set atomic.Int64
		for i, f := range replicas {
			wg.Go(func() {
				for n := range fit {
					if err := tag(f, fmt.Sprint(i, "-", n)); err == nil {
						set.Add(1)
					} else if !errors.Is(err, images.ErrQuotaExceeded) {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		require.Equal(t, int64(fit-1), set.Load(), "the first tag is one of them")
		require.Equal(t, used(t, replicas[0]), ledgerOf(t, replicas[1], "team/app"))
		require.NoError(t, tag(replicas[1], "0"), "a tag that exists needs no room")
		require.ErrorIs(t, tag(replicas[1], "new"), images.ErrQuotaExceeded)
		require.NoError(t, replicas[2].Delete(t.Context(), "team/app", "0"))
		time.Sleep(time.Minute)
		require.NoError(t, tag(replicas[1], "new"))
		require.Equal(t, used(t, replicas[0]), ledgerOf(t, replicas[1], "team/app"))
	})
}

// A tag that one replica deletes while another one sets it counts, if it is there at the end.
func TestQuotaOfTagsThatComeAndGo(t *testing.T) {
	policy := images.Policy{Repositories: "**", MaxBytes: 1 << 30}
	for at, more := 1, true; more; at++ {
		storage, table := inmemory.New(), new(store.Memory)
		other := replica(t, storage, table, policy)
		require.NoError(t, other.tryPush(t.Context(), "team/app", "1", "layer", true))
		require.NoError(t, other.tryPush(t.Context(), "team/app", "2", "layer", false))
		s := &staller{at: -1, during: func() {
			require.NoError(t, other.Delete(t.Context(), "team/app", "2"))
			require.NoError(t, other.Measure(t.Context()))
		}}
		f := replica(t, storage, stallingStore{table, s}, policy)
		s.calls, s.at = 0, at
		require.NoError(t, f.tryPush(t.Context(), "team/app", "2", "layer", false))
		more = s.calls >= at
		require.GreaterOrEqual(t, ledgerOf(t, other, "team/app"), used(t, other), "deleted at call %d", at)
	}
}

// A replica that stalls while it sets a tag, while others use the room for it and measure, does not leave the tag behind:
// no collection would remove it.
func TestQuotaOfStalledTag(t *testing.T) {
	policy := images.Policy{Repositories: "**", MaxBytes: 5*entry + 10_000}
	refused := 0
	for at, more := 1, true; more; at++ {
		synctest.Test(t, func(t *testing.T) {
			storage, table := inmemory.New(), new(store.Memory)
			other := replica(t, storage, table, policy)
			require.NoError(t, other.tryPush(t.Context(), "team/app", "0", big("app"), true))
			s := &staller{at: -1, during: func() {
				for range 4 {
					require.NoError(t, other.Measure(t.Context()))
				}
				if err := other.tryPush(t.Context(), "team/app", "2", big("app"), false); err != nil {
					require.ErrorIs(t, err, images.ErrQuotaExceeded)
				}
			}}
			f := replica(t, storage, stallingStore{table, s}, policy)
			s.calls, s.at = 0, at
			err := f.tryPush(t.Context(), "team/app", "1", big("app"), false)
			more = s.calls >= at
			if err != nil {
				require.ErrorIs(t, err, images.ErrQuotaExceeded)
				refused++
			}
			require.LessOrEqual(t, used(t, other), policy.MaxBytes, "stalled at call %d: %v", at, err)
			require.NoError(t, other.Measure(t.Context()))
			require.Equal(t, used(t, other), ledgerOf(t, other, "team/app"), "stalled at call %d: %v", at, err)
		})
	}
	require.Positive(t, refused)
}

// What is not set or started does not count.
func TestQuotaOfFailedEntriesOfReplicas(t *testing.T) {
	all, team := images.Policy{Repositories: "**", MaxBytes: 1 << 30}, images.Policy{Repositories: "team/**", MaxBytes: entry + 100}
	storage := inmemory.New()
	f := replica(t, storage, new(store.Memory), all, team)
	require.NoError(t, f.Measure(t.Context()))
	err := f.repository(t, "team/app").Tags(t.Context()).Tag(t.Context(), "1", v1.Descriptor{Digest: digest.FromString("gone")})
	require.ErrorIs(t, err, shared.ErrDataGone)
	require.Zero(t, ledgerOf(t, f, "team/app"))

	_, err = f.begin(t.Context(), "team/app")
	require.NoError(t, err)
	w, err := f.repository(t, "team/app").Blobs(t.Context()).Create(t.Context())
	require.NoError(t, err)
	require.ErrorIs(t, f.Started(t.Context(), "team/app", w), images.ErrQuotaExceeded)
	require.Equal(t, int64(entry), ledgerOf(t, f, "other/app"))
	require.Equal(t, int64(entry), ledgerOf(t, f, "team/app"))
	require.Equal(t, int64(entry), used(t, f))
}

// A replica that stalls in the middle of a push, while others fill the room and measure, does not exceed a limit when
// it resumes. If its push fails after a link was written, a collection removes the link.
func TestQuotaOfStalledReplica(t *testing.T) {
	policy := images.Policy{Repositories: "team/**", KeepUntagged: time.Hour, MaxBytes: sharedLimit}
	for at, more := 1, true; more; at++ {
		synctest.Test(t, func(t *testing.T) {
			storage, table := inmemory.New(), new(store.Memory)
			other := replica(t, storage, table, policy)
			require.NoError(t, other.tryPush(t.Context(), "team/app", "0", big("0"), true))
			s := &staller{at: -1, during: func() {
				for n := range 5 {
					time.Sleep(time.Hour)
					_, err := other.PurgeUploads(t.Context(), true)
					require.NoError(t, err)
					for range 4 {
						require.NoError(t, other.Measure(t.Context()))
					}
					err = other.tryPush(t.Context(), "team/other", fmt.Sprint(n), big(fmt.Sprint(n)), true)
					if err != nil {
						require.ErrorIs(t, err, images.ErrQuotaExceeded)
					}
				}
			}}
			stops := replica(t, stallingDriver{storage, s}, stallingStore{table, s}, policy)
			s.calls, s.at = 0, at
			err := stops.tryPush(t.Context(), "team/app", "1", big("stalled"), true)
			more = s.calls >= at
			if !errors.Is(err, shared.ErrUploadGone) && !errors.Is(err, images.ErrQuotaExceeded) && !errors.Is(err, context.DeadlineExceeded) && !errors.As(err, new(storagedriver.PathNotFoundError)) {
				require.NoError(t, err)
			}
			if err != nil {
				for range 3 {
					time.Sleep(2 * day)
					_, err := other.Collect(t.Context())
					require.NoError(t, err)
				}
			}
			require.LessOrEqual(t, used(t, other), int64(sharedLimit), "stalled at call %d: %v", at, err)
		})
	}
}

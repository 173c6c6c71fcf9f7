package catalog_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/systemregistry/images"
	"github.com/regcred/regcred/systemregistry/internal/shared"
	"github.com/regcred/regcred/systemregistry/store"
)

const sharedLimit = 10_000

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

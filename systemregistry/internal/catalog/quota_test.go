package catalog_test

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/systemregistry/images"
	"github.com/regcred/regcred/systemregistry/internal/catalog"
	"github.com/regcred/regcred/systemregistry/internal/shared"
)

// send sends content to the upload with the ID, as the server does, and ends it with the outcome.
func (f fixture) send(t *testing.T, repository, id string, size int64, content string, outcome catalog.Outcome) error {
	t.Helper()
	u, err := f.Upload(t.Context(), repository, id, size)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, u.Body(t.Context(), io.NopCloser(strings.NewReader(content))))
	return errors.Join(err, u.End(t.Context(), outcome))
}

func TestQuota(t *testing.T) {
	f := open(t, images.Policy{Repositories: "team/**", MaxBytes: 10_000})
	long := strings.Repeat("x", 5_000)
	for _, size := range []int64{10_001, math.MaxInt64, math.MaxInt64 - 1} {
		require.ErrorIs(t, f.send(t, "team/app", "a", size, long, catalog.UploadStored), images.ErrQuotaExceeded, "it cannot fit")
	}
	require.NoError(t, f.send(t, "team/app", "a", -1, long, catalog.UploadStored))
	require.ErrorIs(t, f.send(t, "team/b", "b", -1, long, catalog.UploadStored), images.ErrQuotaExceeded, "it turns out not to fit")
	require.ErrorIs(t, f.send(t, "team/b", "b", 6_000, long, catalog.UploadStored), images.ErrQuotaExceeded)
	require.False(t, f.Limited("other/app"))
	require.True(t, f.Limited("team/app"))
	fullest, err := f.FullestQuota(t.Context())
	require.NoError(t, err)
	require.InDelta(t, 0.5, fullest, 0.001)

	// Nothing of that was kept, so all of the room is free again.
	require.NoError(t, f.Measure(t.Context()))
	require.NoError(t, f.send(t, "team/app", "c", 5_000, long, catalog.UploadStored))

	for range 2 {
		f.push(t, "team/app", "1", long, "amd64")
	}
	f.push(t, "team/b", "1", long, "amd64")
	require.NoError(t, f.Measure(t.Context()))
	used, err := f.Usage(t.Context(), func(name string) bool { return strings.HasPrefix(name, "team/") })
	require.NoError(t, err)
	links := 4*shared.Overhead("team/app") + 4*shared.Overhead("team/b")
	require.Greater(t, used, links+5_000)
	require.Less(t, used, links+10_000, "a shared layer counts once")
	require.ErrorIs(t, f.mayPut(t, "team/app", "2", "sha256:0"), images.ErrQuotaExceeded)
	require.NoError(t, f.mayPut(t, "other/app", "2", "sha256:0"))
}

// Only received bytes count, not announced ones. Bytes that are not kept stop counting.
func TestQuotaOfWhatFails(t *testing.T) {
	entry := shared.Overhead("a")
	f := open(t, images.Policy{Repositories: "**", MaxBytes: 3*entry + 50*(shared.Block+1)})
	for i := range 50 {
		require.NoError(t, f.send(t, "a", fmt.Sprint("announced-", i), 2*entry, "x", catalog.UploadGoesOn))
		require.NoError(t, f.send(t, "a", fmt.Sprint("failed-", i), entry, strings.Repeat("x", int(entry)), catalog.UploadFailed))
		done, err := f.MayPut(t.Context(), "a", "1", "sha256:0", 900)
		require.NoError(t, err)
		done(false)
		start, err := f.MayStart(t.Context(), "a", "", "")
		require.NoError(t, err)
		start(false, false)
	}
	require.NoError(t, f.send(t, "b", "other", 2*entry, strings.Repeat("x", int(2*entry)), catalog.UploadStored))
}

// A client that has pushed against the limit finds room as soon as there is some, without a walk of the storage each
// time.
func TestQuotaFindsRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := open(t, images.Policy{Repositories: "**", MaxBytes: 4*shared.Overhead("a") + 10_000})
		d := f.push(t, "a", "1", strings.Repeat("x", 8_000), "amd64")
		require.NoError(t, f.Measure(t.Context()))
		time.Sleep(time.Minute)
		require.ErrorIs(t, f.send(t, "a", "b", 100_000, "", catalog.UploadStored), images.ErrQuotaExceeded)
		require.NoError(t, f.Delete(t.Context(), "a", string(d.Digest)))
		time.Sleep(25 * time.Hour)
		_, err := f.Collect(t.Context())
		require.NoError(t, err)
		require.NoError(t, f.send(t, "a", "b", 100_000, strings.Repeat("y", 100_000), catalog.UploadStored))
		require.ErrorIs(t, f.send(t, "a", "c", 100_000, "", catalog.UploadStored), images.ErrQuotaExceeded, "just measured")
		time.Sleep(2 * time.Second)
		require.NoError(t, f.send(t, "a", "c", 100_000, strings.Repeat("y", 100_000), catalog.UploadStored), "the storage has nothing of b")
	})
}

// A measurement counts unfinished uploads.
func TestQuotaOfUnfinishedUploads(t *testing.T) {
	f := open(t, images.Policy{Repositories: "**", MaxBytes: shared.Overhead("team/app") + shared.Block + 1000})
	w, err := f.start(t.Context(), "team/app")
	require.NoError(t, err)
	_, err = w.Write([]byte(strings.Repeat("x", 900)))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	for range 3 {
		require.NoError(t, f.Measure(t.Context()))
		require.ErrorIs(t, f.send(t, "team/app", "b", 200, "", catalog.UploadStored), images.ErrQuotaExceeded)
	}
}

func TestQuotaOfMounts(t *testing.T) {
	one := shared.Overhead("a/one")
	f := open(t, images.Policy{Repositories: "a/**", MaxBytes: 3*one + 1200}, images.Policy{Repositories: "a/one", MaxBytes: one + 1000})
	large, small := f.blob(t, "b/app", strings.Repeat("x", 2000)), f.blob(t, "b/app", strings.Repeat("x", 600))
	_, err := f.MayStart(t.Context(), "a/one", "b/app", string(large.Digest))
	require.ErrorIs(t, err, images.ErrQuotaExceeded)
	for range 5 {
		done, err := f.MayStart(t.Context(), "a/one", "b/app", string(small.Digest))
		require.NoError(t, err)
		done(false, false)
	}
	done, err := f.MayStart(t.Context(), "a/one", "b/app", string(small.Digest))
	require.NoError(t, err)
	require.ErrorIs(t, f.send(t, "a/one", "x", 600, "", catalog.UploadStored), images.ErrQuotaExceeded)
	d := f.blob(t, "a/two", strings.Repeat("y", 500))
	require.NoError(t, f.Measure(t.Context()), "which the mount that is under way is not lost by")
	_, err = f.MayStart(t.Context(), "a/one", "a/two", string(d.Digest))
	require.ErrorIs(t, err, images.ErrQuotaExceeded)
	again, err := f.MayStart(t.Context(), "a/three", "a/two", string(d.Digest))
	require.NoError(t, err, "within a policy, a layer counts once")
	_, err = f.MayStart(t.Context(), "a/four", "a/two", string(d.Digest))
	require.ErrorIs(t, err, images.ErrQuotaExceeded, "its links count each")
	again(true, false)
	done(true, false)
}

func TestQuotaOfManyAtOnce(t *testing.T) {
	each := shared.Overhead("a") + shared.Block + 90
	f := open(t, images.Policy{Repositories: "**", MaxBytes: 10*each + 100})
	results := make(chan error, 20)
	for range cap(results) {
		go func() {
			id, err := f.begin(t.Context(), "a")
			if err == nil {
				err = f.send(t, "a", id, -1, strings.Repeat("x", 90), catalog.UploadGoesOn)
			}
			results <- err
		}()
	}
	fit := 0
	for range cap(results) {
		if err := <-results; err == nil {
			fit++
		} else {
			require.True(t, errors.Is(err, images.ErrQuotaExceeded), "%v", err)
		}
	}
	require.LessOrEqual(t, fit, 10)
	require.GreaterOrEqual(t, fit, 6, "uploads that were started and could not go on count, too")
}

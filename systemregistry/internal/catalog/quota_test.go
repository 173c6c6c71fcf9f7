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
	f := open(t, images.Policy{Repositories: "team/**", MaxBytes: 1000})
	long := strings.Repeat("x", 900)
	for _, size := range []int64{1001, math.MaxInt64, math.MaxInt64 - 1} {
		require.ErrorIs(t, f.send(t, "team/app", "a", size, long, catalog.UploadStored), images.ErrQuotaExceeded, "it cannot fit")
	}
	require.NoError(t, f.send(t, "team/app", "a", -1, long, catalog.UploadStored))
	require.ErrorIs(t, f.send(t, "team/b", "b", -1, long, catalog.UploadStored), images.ErrQuotaExceeded, "it turns out not to fit")
	require.ErrorIs(t, f.send(t, "team/b", "b", 900, long, catalog.UploadStored), images.ErrQuotaExceeded)
	require.False(t, f.Limited("other/app"))
	require.True(t, f.Limited("team/app"))
	fullest, err := f.FullestQuota(t.Context())
	require.NoError(t, err)
	require.InDelta(t, 0.9, fullest, 0.001)

	// Nothing of that was kept, so all of the room is free again.
	require.NoError(t, f.Measure(t.Context()))
	require.NoError(t, f.send(t, "team/app", "c", 900, long, catalog.UploadStored))

	for range 2 {
		f.push(t, "team/app", "1", long, "amd64")
	}
	f.push(t, "team/b", "1", long, "amd64")
	require.NoError(t, f.Measure(t.Context()))
	used, err := f.Usage(t.Context(), func(name string) bool { return strings.HasPrefix(name, "team/") })
	require.NoError(t, err)
	require.Greater(t, used, int64(1000))
	require.Less(t, used, int64(2000), "a shared layer counts once")
	require.ErrorIs(t, f.mayPut(t, "team/app", "2", "sha256:0"), images.ErrQuotaExceeded)
	require.NoError(t, f.mayPut(t, "other/app", "2", "sha256:0"))
}

// Only received bytes count, not announced ones. Bytes that are not kept stop counting.
func TestQuotaOfWhatFails(t *testing.T) {
	f := open(t, images.Policy{Repositories: "**", MaxBytes: 1000})
	for i := range 50 {
		require.NoError(t, f.send(t, "a", fmt.Sprint("announced-", i), 1000, "x", catalog.UploadGoesOn))
		require.NoError(t, f.send(t, "a", fmt.Sprint("failed-", i), 900, strings.Repeat("x", 900), catalog.UploadFailed))
		done, err := f.MayPut(t.Context(), "a", "1", "sha256:0", 900)
		require.NoError(t, err)
		done(false)
	}
	require.NoError(t, f.send(t, "b", "other", 900, strings.Repeat("x", 900), catalog.UploadStored))
}

// A client that has pushed against the limit finds room as soon as there is some, without a walk of the storage each
// time.
func TestQuotaFindsRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := open(t, images.Policy{Repositories: "**", MaxBytes: 1000})
		d := f.push(t, "a", "1", strings.Repeat("x", 800), "amd64")
		require.NoError(t, f.Measure(t.Context()))
		time.Sleep(time.Minute)
		require.ErrorIs(t, f.send(t, "a", "b", 800, "", catalog.UploadStored), images.ErrQuotaExceeded)
		require.NoError(t, f.Delete(t.Context(), "a", string(d.Digest)))
		time.Sleep(25 * time.Hour)
		_, err := f.Collect(t.Context())
		require.NoError(t, err)
		require.NoError(t, f.send(t, "a", "b", 800, strings.Repeat("y", 800), catalog.UploadStored))
		require.ErrorIs(t, f.send(t, "a", "c", 800, "", catalog.UploadStored), images.ErrQuotaExceeded, "just measured")
		time.Sleep(2 * time.Second)
		require.NoError(t, f.send(t, "a", "c", 800, strings.Repeat("y", 800), catalog.UploadStored), "the storage has nothing of b")
	})
}

// A measurement counts unfinished uploads.
func TestQuotaOfUnfinishedUploads(t *testing.T) {
	f := open(t, images.Policy{Repositories: "**", MaxBytes: 1000})
	upload, err := f.repository(t, "team/app").Blobs(t.Context()).Create(t.Context())
	require.NoError(t, err)
	_, err = upload.Write([]byte(strings.Repeat("x", 900)))
	require.NoError(t, err)
	require.NoError(t, upload.Close())
	for range 3 {
		require.NoError(t, f.Measure(t.Context()))
		require.ErrorIs(t, f.send(t, "team/app", "b", 200, "", catalog.UploadStored), images.ErrQuotaExceeded)
	}
}

func TestQuotaOfMounts(t *testing.T) {
	f := open(t, images.Policy{Repositories: "a/**", MaxBytes: 1200}, images.Policy{Repositories: "a/one", MaxBytes: 1000})
	large, small := f.blob(t, "b/app", strings.Repeat("x", 2000)), f.blob(t, "b/app", strings.Repeat("x", 600))
	_, err := f.MayMount(t.Context(), "a/one", "b/app", string(large.Digest))
	require.ErrorIs(t, err, images.ErrQuotaExceeded)
	for range 5 {
		done, err := f.MayMount(t.Context(), "a/one", "b/app", string(small.Digest))
		require.NoError(t, err)
		done(false)
	}
	done, err := f.MayMount(t.Context(), "a/one", "b/app", string(small.Digest))
	require.NoError(t, err)
	require.ErrorIs(t, f.send(t, "a/one", "x", 600, "", catalog.UploadStored), images.ErrQuotaExceeded)
	d := f.blob(t, "a/two", strings.Repeat("y", 500))
	require.NoError(t, f.Measure(t.Context()), "which the mount that is under way is not lost by")
	_, err = f.MayMount(t.Context(), "a/one", "a/two", string(d.Digest))
	require.ErrorIs(t, err, images.ErrQuotaExceeded)
	_, err = f.MayMount(t.Context(), "a/three", "a/two", string(d.Digest))
	require.NoError(t, err, "within a policy, a layer counts once")
	done(true)
}

func TestQuotaOfManyAtOnce(t *testing.T) {
	f := open(t, images.Policy{Repositories: "**", MaxBytes: 1000})
	results := make(chan error, 20)
	for range cap(results) {
		upload, err := f.repository(t, "a").Blobs(t.Context()).Create(t.Context())
		require.NoError(t, err)
		go func() { results <- f.send(t, "a", upload.ID(), -1, strings.Repeat("x", 90), catalog.UploadGoesOn) }()
	}
	fit := 0
	for range cap(results) {
		if err := <-results; err == nil {
			fit++
		} else {
			require.True(t, errors.Is(err, images.ErrQuotaExceeded), "%v", err)
		}
	}
	require.LessOrEqual(t, fit*90, 1000)
	require.GreaterOrEqual(t, fit, 6, "each of 20 uploads that were begun holds 20 bytes, too")
}

package cloud_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/providers/internal/cloud"
	"github.com/regcred/regcred/registry"
)

func TestEndCode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		ctx, cancel := cloud.WithTimeout(t.Context(), 0)
		defer cancel()
		<-ctx.Done()
		require.Equal(t, 30*time.Second, time.Since(start))
		require.Equal(t, registry.ErrTimeout, cloud.EndCode(ctx))
		require.EqualError(t, context.Cause(ctx), "no answer within 30s")

		// The caller's own deadline is the caller's business.
		outer, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		ctx, cancel = cloud.WithTimeout(outer, time.Minute)
		defer cancel()
		<-ctx.Done()
		require.Equal(t, registry.ErrCanceled, cloud.EndCode(ctx))
	})
}

func TestError(t *testing.T) {
	err := cloud.Error(registry.Profile{Name: "team-a"}, registry.ErrRateLimited, "wait", time.Minute, errors.New("asked: 429"))
	require.EqualError(t, err, `get credential for profile "team-a": `+registry.ErrRateLimited.Error()+`: asked: 429; hint: wait`)
	e, ok := errors.AsType[*registry.Error](err)
	require.True(t, ok)
	require.Equal(t, time.Minute, e.RetryAfter())
}

func TestRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for value, want := range map[string]time.Duration{
			"": 0, "7": 7 * time.Second, "-7": 0, "soon": 0, "999999999999": 15 * time.Minute,
			time.Now().Add(time.Minute).UTC().Format(http.TimeFormat):  time.Minute,
			time.Now().Add(-time.Minute).UTC().Format(http.TimeFormat): 0,
		} {
			require.Equal(t, want, cloud.RetryAfter(http.Header{"Retry-After": {value}}), value)
		}
	})
}

func TestReadToken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	_, err := cloud.ReadToken(path)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NoError(t, os.WriteFile(path, []byte("token\n"), 0o600))
	text, err := cloud.ReadToken(path)
	require.NoError(t, err)
	require.Equal(t, "token\n", string(text))
	require.NoError(t, os.WriteFile(path, make([]byte, 1<<20), 0o600))
	_, err = cloud.ReadToken(path)
	require.ErrorContains(t, err, "is too long for a token")
}

func TestClean(t *testing.T) {
	require.Equal(t, "not authorized to perform: x", cloud.Clean("not  authorized\tto perform: x \nx-amz-security-token:abc"))
	require.Equal(t, "key [redacted] and [redacted]!", cloud.Clean("key s3cret and s3cret!", "", "s3cret"))
	require.Equal(t, "a [redacted] of yours", cloud.Clean("a "+strings.Repeat("x", 301)+" of yours"))
	require.Equal(t, "a [redacted] or [redacted]", cloud.Clean("a ya29.c.abc or token=eyJhbGciOi"))
	long := cloud.Clean(strings.Repeat("word ", 1000))
	require.Len(t, long, 603)
	require.True(t, strings.HasSuffix(long, "..."))
}

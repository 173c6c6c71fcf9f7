package credentials_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/credentials/credentialstest"
)

// A negative value selects the default of an option; for Rate, it means no limit.
func TestCacheNegativeOptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := &credentialstest.Issuer{}
		cache := credentials.Cache{Timeout: -1, Rate: -1, Burst: -1, MaxEntries: -1, Concurrency: -1, Policy: credentials.Policy{Fraction: -1}}
		source := cache.Source(credentials.Key{Issuer: "x"}, issuer)
		_, err := source.Credential(t.Context())
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _ = cache.Run(ctx) }()
		time.Sleep(2 * time.Hour)
		require.Equal(t, 3, issuer.Calls(), "an hour's credential was renewed twice")
		cancel()
		synctest.Wait()
	})
}

func TestCacheNilSource(t *testing.T) {
	var cache credentials.Cache
	key := credentials.Key{Issuer: "x"}
	_, err := cache.Credential(t.Context(), key, nil)
	require.ErrorContains(t, err, "source is nil")
	bound := cache.Source(key, nil)
	_, err = bound.Credential(t.Context())
	require.ErrorContains(t, err, "source is nil")
	_, err = cache.Credential(t.Context(), key, credentials.Func(nil))
	require.ErrorContains(t, err, "nil pointer dereference")

	bound.Rebind(credentials.Key{Issuer: "y"}, &credentialstest.Issuer{})
	_, err = bound.Credential(t.Context())
	require.NoError(t, err)
}

// A panic of a source is an error of its callers, followed by a retry. It does not crash the process.
func TestCachePanickingSource(t *testing.T) {
	for name, tc := range map[string]struct {
		source credentials.Func
		want   string
	}{
		"with a text":   {func(context.Context) (credentials.Credential, error) { panic("hunter2") }, "with a value of type string"},
		"with an error": {func(context.Context) (credentials.Credential, error) { panic(errors.New("hunter2")) }, "with a value of type *errors.errorString"},
		"with nil":      {func(context.Context) (credentials.Credential, error) { panic(nil) }, "panic called with nil argument"},
		"on an index": {func(context.Context) (credentials.Credential, error) {
			return []credentials.Credential{}[len(t.Name())], nil
		}, "index out of range"},
		"ending its goroutine": {func(context.Context) (credentials.Credential, error) { runtime.Goexit(); panic("not reached") }, "source ended its goroutine"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // The second call is within the backoff.
				var cache credentials.Cache
				_, err := cache.Credential(t.Context(), credentials.Key{Issuer: "x"}, tc.source)
				require.ErrorContains(t, err, tc.want)
				require.NotContains(t, err.Error(), "hunter2")
				_, err = cache.Credential(t.Context(), credentials.Key{Issuer: "x"}, tc.source)
				require.ErrorAs(t, err, new(*credentials.BackoffError), "it is retried with backoff, as any failure")
			})
		})
	}
}

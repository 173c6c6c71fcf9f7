package credentials_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
)

// An issuer issues numbered tokens.
type issuer struct {
	life  time.Duration // Zero means that they never expire.
	takes time.Duration

	mu    sync.Mutex
	err   error // The error of each call, if not nil.
	calls int
}

func (i *issuer) Credential(ctx context.Context) (credentials.Credential, error) {
	i.mu.Lock()
	i.calls++
	n, err := i.calls, i.err
	i.mu.Unlock()
	select {
	case <-time.After(i.takes):
	case <-ctx.Done():
		return credentials.Credential{}, context.Cause(ctx)
	}
	if err != nil {
		return credentials.Credential{}, err
	}
	c := credentials.Credential{Username: "AWS", Password: credentials.NewSecret(fmt.Sprint("token-", n)), IssuedAt: time.Now()}
	if i.life != 0 {
		c.ExpiresAt = c.IssuedAt.Add(i.life)
	}
	return c, nil
}

func (i *issuer) count() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.calls
}

func (i *issuer) fail(err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.err = err
}

func key(scope string) credentials.Key { return credentials.Key{Issuer: "test", Scope: scope} }

func token(t *testing.T, src credentials.Source) string {
	t.Helper()
	c, err := src.Credential(t.Context())
	require.NoError(t, err)
	return c.Password.Reveal()
}

func TestCacheRenewsBesideItsCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cache credentials.Cache
		iss := &issuer{life: time.Hour, takes: time.Second}
		src := cache.Source(key("a"), iss)
		require.Equal(t, "token-1", token(t, src))
		start := time.Now()
		time.Sleep(55 * time.Minute)
		require.Equal(t, "token-1", token(t, src), "stale: it is handed out and renewed")
		require.Equal(t, 55*time.Minute, time.Since(start))
		time.Sleep(2 * time.Second)
		require.Equal(t, "token-2", token(t, src))
		require.Equal(t, 2, iss.count())
	})
}

func TestCacheByKeyAndBoundShareOneEntry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cache credentials.Cache
		iss := &issuer{life: time.Hour}
		bound := cache.Source(key("a"), iss)
		c, err := cache.Credential(t.Context(), key("a"), iss)
		require.NoError(t, err)
		require.Equal(t, c.Password.Reveal(), token(t, bound))
		require.Equal(t, 1, iss.count())

		cache.Invalidate(key("a"), c)
		require.Equal(t, "token-2", token(t, bound))
		bound.Invalidate(c)
		require.Equal(t, "token-2", token(t, bound), "the refused one was not the newest")
	})
}

func TestCacheFailsOnlyWhenItMust(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cache credentials.Cache
		broken := errors.New("issuer is down")
		iss := &issuer{life: time.Hour}
		src := cache.Source(key("a"), iss)
		token(t, src)
		iss.fail(broken)
		for range 59 {
			time.Sleep(time.Minute)
			require.Equal(t, "token-1", token(t, src))
		}
		before := iss.count()
		require.Greater(t, before, 2, "a failed renewal is tried again")
		time.Sleep(time.Minute)
		_, err := src.Credential(t.Context())
		require.ErrorIs(t, err, broken)
		// The next callers within the backoff get the same error without a call.
		before = iss.count()
		_, err = src.Credential(t.Context())
		var backoff *credentials.BackoffError
		require.ErrorAs(t, err, &backoff)
		require.ErrorIs(t, err, broken)
		require.Equal(t, before, iss.count())
		iss.fail(nil)
		time.Sleep(time.Until(backoff.Until))
		token(t, src)
	})
}

func TestCacheSharesOneCallAmongCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cache credentials.Cache
		iss := &issuer{life: time.Hour, takes: time.Second}
		src := cache.Source(key("a"), iss)
		short, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		var got, left atomic.Int32
		for i := range 100 {
			go func() {
				ctx := t.Context()
				if i%10 == 0 {
					ctx = short
				}
				if _, err := src.Credential(ctx); err == nil {
					got.Add(1)
				} else if errors.Is(err, context.DeadlineExceeded) {
					left.Add(1)
				}
			}()
		}
		time.Sleep(2 * time.Millisecond)
		require.EqualValues(t, 10, left.Load(), "a caller leaves when its own context ends")
		synctest.Wait()
		time.Sleep(time.Second)
		require.EqualValues(t, 90, got.Load())
		require.Equal(t, 1, iss.count())
	})
}

func TestRunRenewsAheadOfItsCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cache credentials.Cache
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- cache.Run(ctx) }()
		held := &issuer{life: time.Hour}
		src := cache.Source(key("held"), held)
		token(t, src)
		once := &issuer{life: time.Hour}
		_, err := cache.Credential(t.Context(), key("once"), once)
		require.NoError(t, err)
		synctest.Wait()
		require.Error(t, cache.Run(ctx), "a second Run")

		time.Sleep(24 * time.Hour)
		synctest.Wait()
		require.InDelta(t, 24/0.85, held.count(), 2)
		require.Equal(t, 2, once.count(), "it is not renewed for ever when nobody asks for it")
		require.Len(t, cache.Snapshot(), 1)
		src.Release()
		require.Empty(t, cache.Snapshot())
		cancel()
		require.NoError(t, <-ended)
	})
}

func TestRunTriesAgainForWhoeverAskedByKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cache credentials.Cache
		go func() { _ = cache.Run(t.Context()) }()
		iss := &issuer{life: 12 * time.Hour}
		ask := func() string {
			c, err := cache.Credential(t.Context(), key("a"), iss)
			require.NoError(t, err)
			return c.Password.Reveal()
		}
		ask()
		time.Sleep(time.Minute)
		ask() // No caller calls it again.
		time.Sleep(9*time.Hour + 30*time.Minute)
		iss.fail(errors.New("outage"))
		time.Sleep(110 * time.Minute) // The renewal and some of its retries have failed.
		tried := iss.count()
		require.Greater(t, tried, 2)
		iss.fail(nil)
		time.Sleep(20 * time.Minute)
		require.Equal(t, tried+1, iss.count())
		require.Equal(t, fmt.Sprint("token-", tried+1), ask(), "it was renewed before the old one's end")
	})
}

func TestRebindDropsTheOldEntry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cache credentials.Cache
		old, rotated := &issuer{life: time.Hour}, &issuer{life: time.Hour}
		one := cache.Source(key("old"), old)
		two := cache.Source(key("old"), old)
		token(t, one)
		one.Rebind(key("new"), rotated)
		token(t, one)
		require.Equal(t, 1, rotated.count())
		token(t, two)
		require.Equal(t, 1, old.count(), "the other owner still has the old one")
		two.Rebind(key("new"), rotated)
		require.Len(t, cache.Snapshot(), 1)
	})
}

func TestCachePacesCallsToAnIssuer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cache := credentials.Cache{Rate: 10, Burst: 20}
		iss := &issuer{life: 12 * time.Hour}
		start := time.Now()
		var wg sync.WaitGroup
		for i := range 120 {
			wg.Go(func() {
				_, err := cache.Credential(t.Context(), credentials.Key{Issuer: "ecr", Login: credentials.Fingerprint{byte(i)}}, iss)
				require.NoError(t, err)
			})
		}
		synctest.Wait()
		require.Equal(t, 20, iss.count())
		wg.Wait()
		require.InDelta(t, 10*time.Second, time.Since(start), float64(time.Millisecond))
	})
}

func TestCacheKeepsWhatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cache := credentials.Cache{MaxEntries: 1}
		slow := &issuer{life: time.Hour, takes: time.Second}
		ask := func() { _, _ = cache.Credential(t.Context(), key("slow"), slow) }
		go ask()
		synctest.Wait()
		for i := range 3 {
			_, err := cache.Credential(t.Context(), key(fmt.Sprint(i)), &issuer{life: time.Hour})
			require.NoError(t, err)
		}
		ask()
		require.Equal(t, 1, slow.count(), "one call per key at a time")
	})
}

func TestCacheKeepsNoMoreThanMaxEntries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cache := credentials.Cache{MaxEntries: 100, Rate: -1}
		iss := &issuer{life: time.Hour}
		held := cache.Source(key("held"), iss)
		token(t, held)
		for i := range 10_000 {
			_, err := cache.Credential(t.Context(), key(fmt.Sprint(i)), iss)
			require.NoError(t, err)
		}
		require.Len(t, cache.Snapshot(), 100)
		require.Equal(t, "token-1", token(t, held), "what is held stays")
	})
}

// A key without a holder is no longer renewed, even if its source was not released.
func TestForgottenSourceHoldsNothing(t *testing.T) {
	var cache credentials.Cache
	token(t, cache.Source(key("a"), &issuer{life: time.Hour}))
	require.Eventually(t, func() bool {
		runtime.GC()
		return cache.Snapshot()[0].Holders == 0
	}, time.Minute, time.Millisecond)
}

func TestCallThatNobodyWaitsForIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cache := credentials.Cache{Rate: 1, Burst: 1}
		iss := &issuer{life: time.Hour}
		ctx, cancel := context.WithCancel(t.Context())
		for i := range 100 {
			go func() { _, _ = cache.Credential(ctx, credentials.Key{Issuer: "test", Tenant: fmt.Sprint(i)}, iss) }()
		}
		synctest.Wait()
		cancel()
		synctest.Wait()
		require.Equal(t, 1, iss.count())
		start := time.Now()
		_, err := cache.Credential(t.Context(), credentials.Key{Issuer: "test", Tenant: "later"}, iss)
		require.NoError(t, err)
		require.LessOrEqual(t, time.Since(start), 1100*time.Millisecond, "those who left do not stand in the way")
		require.Equal(t, 2, iss.count())
	})
}

func TestWaitingCallersGoBeforeRenewals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cache := credentials.Cache{Rate: 1, Burst: 1, Policy: credentials.Policy{Spread: -1}}
		iss := &issuer{life: 100 * time.Hour}
		tenant := func(i int) credentials.Key { return credentials.Key{Issuer: "test", Tenant: fmt.Sprint(i)} }
		for i := range 50 {
			_, err := cache.Credential(t.Context(), tenant(i), iss)
			require.NoError(t, err)
		}
		time.Sleep(90 * time.Hour)
		for i := range 50 { // All are stale now.
			_, err := cache.Credential(t.Context(), tenant(i), iss)
			require.NoError(t, err)
		}
		start := time.Now()
		_, err := cache.Credential(t.Context(), tenant(50), iss)
		require.NoError(t, err)
		require.LessOrEqual(t, time.Since(start), 1100*time.Millisecond)
		time.Sleep(time.Minute)
		require.Equal(t, 101, iss.count())
	})
}

// A source that ends its goroutine, like a failing test, does not block its callers.
func TestSourceThatEndsItsGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cache credentials.Cache
		_, err := cache.Credential(t.Context(), key("a"), credentials.Func(func(context.Context) (credentials.Credential, error) {
			runtime.Goexit()
			return credentials.Credential{}, nil
		}))
		require.ErrorContains(t, err, "ended its goroutine")
	})
}

func TestForgetDropsWhatNobodyHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cache credentials.Cache
		iss := &issuer{life: time.Hour}
		cache.Forget(key("a"))
		_, err := cache.Credential(t.Context(), key("a"), iss)
		require.NoError(t, err)
		cache.Forget(key("a"))
		require.Empty(t, cache.Snapshot())
		held := cache.Source(key("a"), iss)
		cache.Forget(key("a"))
		require.Len(t, cache.Snapshot(), 1)
		held.Release()
		require.Empty(t, cache.Snapshot())
		require.Equal(t, "token-2", token(t, held), "a released source still works")
		held.Release()
		require.Zero(t, cache.Snapshot()[0].Holders)
	})
}

// A source that is replaced during a call is not called again.
func TestRebindDuringACall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cache credentials.Cache
		source := func(name string, calls *int) credentials.Source {
			return credentials.Func(func(context.Context) (credentials.Credential, error) {
				*calls++
				time.Sleep(time.Second)
				now := time.Now()
				return credentials.Credential{
					Username: name, Password: credentials.NewSecret("p"), IssuedAt: now, ExpiresAt: now.Add(time.Hour),
				}, nil
			})
		}
		var before, after int
		s := cache.Source(key("a"), source("before", &before))
		ctx, stop := context.WithCancel(t.Context())
		running := make(chan struct{})
		go func() { defer close(running); _ = cache.Run(ctx) }()
		go func() { _, _ = s.Credential(t.Context()) }()
		time.Sleep(time.Second / 2) // The call is in flight.
		s.Rebind(key("a"), source("after", &after))
		time.Sleep(3 * time.Hour)
		stop()
		<-running
		require.Equal(t, 1, before)
		require.Positive(t, after)
	})
}

// A hook runs in the goroutine of a call, in which no caller can recover a panic.
func TestHooksThatPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("no network")
		hook := func(credentials.Event) { panic("hunter2") }
		cache := credentials.Cache{Hooks: credentials.Hooks{Issued: hook, Failed: hook}}
		issued := credentials.Static(credentials.Credential{Username: "u", Password: credentials.NewSecret("p")})
		_, err := cache.Credential(t.Context(), key("a"), issued)
		require.ErrorContains(t, err, "hook panicked in credentials_test.TestHooksThatPanic.")
		require.NotContains(t, err.Error(), "hunter2")
		c, err := cache.Credential(t.Context(), key("a"), issued)
		require.NoError(t, err, "the credential was issued")
		require.Equal(t, "u", c.Username)

		_, err = cache.Credential(t.Context(), key("b"), credentials.Func(func(context.Context) (credentials.Credential, error) {
			return credentials.Credential{}, broken
		}))
		require.ErrorIs(t, err, broken)
		require.ErrorContains(t, err, "hook panicked in credentials_test.TestHooksThatPanic.")
	})
}

func TestErrorsSayWhatIsWrong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cache credentials.Cache
		odd := func(issued, expires time.Time) credentials.Source {
			return credentials.Func(func(context.Context) (credentials.Credential, error) {
				return credentials.Credential{Username: "u", Password: credentials.NewSecret("p"), IssuedAt: issued, ExpiresAt: expires}, nil
			})
		}
		now := time.Now()
		_, err := cache.Credential(t.Context(), key("a"), odd(now, now.AddDate(7999, 0, 0)))
		require.EqualError(t, err, "issuer test/a#00000000: credential has impossible dates: it expires only at 9999-01-01T00:00:00Z")
		_, err = cache.Credential(t.Context(), key("c"), odd(now.AddDate(1000, 0, 0), now.AddDate(1001, 0, 0))) // Milliseconds.
		require.EqualError(t, err, "issuer test/c#00000000: credential has impossible dates: it expires only at 3001-01-01T00:00:00Z")
		_, err = cache.Credential(t.Context(), key("a"), odd(now, now))
		require.ErrorIs(t, err, credentials.ErrImplausibleDates)
		require.Regexp(t, `^no new attempt before 2000-01-01T00:00:0[01]Z: issuer test/a#00000000: credential has impossible dates`, err.Error())
		_, err = cache.Credential(t.Context(), key("b"), odd(now, now.Add(-1)))
		require.EqualError(t, err, "issuer test/b#00000000: credential has impossible dates: it is issued at 2000-01-01T00:00:00Z, and expires at 1999-12-31T23:59:59Z")
	})
}

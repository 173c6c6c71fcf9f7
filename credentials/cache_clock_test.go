package credentials_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/credentials/credentialstest"
)

func TestClocks(t *testing.T) {
	tests := map[string]struct {
		jump   time.Duration // The jump of the wall clock after the credential arrived.
		passes time.Duration // The time that passes on the monotonic clock after the jump.
		ahead  time.Duration // The lead of the issuer's clock from the start.
		want   string
	}{
		"nothing happens":                               {0, 40 * time.Minute, 0, "token-1"},
		"suspended for less than its life":              {30 * time.Minute, 0, 0, "token-1"},
		"suspended past its expiry":                     {2 * time.Hour, 0, 0, "token-2"},
		"suspended, and expired a little later":         {30 * time.Minute, 31 * time.Minute, 0, "token-2"},
		"the wall clock is set back":                    {-5 * time.Hour, 40 * time.Minute, 0, "token-1"},
		"the wall clock is set back, and life goes by":  {-5 * time.Hour, 61 * time.Minute, 0, "token-2"},
		"the machine's clock is behind":                 {0, 40 * time.Minute, 3 * time.Hour, "token-1"},
		"the machine's clock is behind, life goes by":   {0, 61 * time.Minute, 3 * time.Hour, "token-2"},
		"the machine's clock is a little ahead":         {0, 20 * time.Minute, -20 * time.Minute, "token-1"},
		"the machine's clock is ahead, life is shorter": {0, 41 * time.Minute, -20 * time.Minute, "token-2"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var cache credentials.Cache
				src := cache.Source(key("a"), &credentialstest.Issuer{Ahead: test.ahead, Steps: []credentialstest.Step{{Life: time.Hour}}})
				require.Equal(t, "token-1", token(t, src))
				cache.SetWall(test.jump)
				time.Sleep(test.passes)
				require.Equal(t, test.want, token(t, src))
				synctest.Wait()
			})
		})
	}
}

func TestRunWakesAfterASuspension(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cache credentials.Cache
		go func() { _ = cache.Run(t.Context()) }()
		iss := &credentialstest.Issuer{Steps: []credentialstest.Step{{Life: 12 * time.Hour}}}
		token(t, cache.Source(key("a"), iss))
		time.Sleep(time.Hour)
		cache.SetWall(11 * time.Hour)
		time.Sleep(time.Minute)
		require.Equal(t, 2, iss.Calls())
		time.Sleep(time.Hour)
		require.Equal(t, 2, iss.Calls())
	})
}

// NextCall is the time of the call also if the clock of the machine is not that of the issuer.
func TestRunCallsAtNextCall(t *testing.T) {
	tests := map[string]struct{ ahead, jump time.Duration }{
		"the clocks agree":              {},
		"the issuer's clock is ahead":   {ahead: 3 * time.Hour},
		"the issuer's clock is behind":  {ahead: -20 * time.Minute},
		"the wall clock is set back":    {jump: -5 * time.Hour},
		"the machine was suspended":     {jump: 20 * time.Minute},
		"it was ahead, and is set back": {ahead: -20 * time.Minute, jump: -20 * time.Minute},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				told := make(chan credentials.Event, 2)
				cache := credentials.Cache{Hooks: credentials.Hooks{Issued: func(e credentials.Event) { told <- e }}}
				go func() { _ = cache.Run(t.Context()) }()
				synctest.Wait()
				iss := &credentialstest.Issuer{Ahead: test.ahead, Steps: []credentialstest.Step{{Life: time.Hour}}}
				token(t, cache.Source(key("a"), iss))
				entry, _ := cache.Lookup(key("a"))
				require.Equal(t, entry.NextCall, (<-told).NextCall)
				cache.SetWall(test.jump)
				entry, _ = cache.Lookup(key("a"))
				time.Sleep(time.Until(entry.NextCall) - time.Second)
				synctest.Wait()
				require.Equal(t, 1, iss.Calls())
				time.Sleep(2 * time.Second)
				synctest.Wait()
				require.Equal(t, 2, iss.Calls())
			})
		})
	}
}

func TestRunWhileTheIssuerIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cache credentials.Cache
		go func() { _ = cache.Run(t.Context()) }()
		iss := &credentialstest.Issuer{Steps: []credentialstest.Step{{Life: time.Hour}}}
		src := cache.Source(key("a"), iss)
		token(t, src)
		iss.Script(credentialstest.Step{Err: errors.New("outage")})
		time.Sleep(3 * time.Hour)
		require.InDelta(t, 130, iss.Calls(), 30, "about one a minute after the expiry")
		iss.Script(credentialstest.Step{Life: time.Hour})
		time.Sleep(2 * time.Minute)
		start := time.Now()
		token(t, src)
		require.Equal(t, start, time.Now(), "it is there before someone asks")
	})
}

func TestHooksTellWhatHappens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex // Hooks are called from many goroutines.
		count := map[string]int{}
		var last credentials.Event
		note := func(name string) func(credentials.Event) {
			return func(e credentials.Event) {
				mu.Lock()
				defer mu.Unlock()
				count[name]++
				last = e
			}
		}
		hit := func(credentials.Key) {
			mu.Lock()
			defer mu.Unlock()
			count["hit"]++
		}
		cache := credentials.Cache{Hooks: credentials.Hooks{
			Hit: hit, Issued: note("issued"), Failed: note("failed"), Expiring: note("expiring"),
		}}
		second := 0
		cache.Hooks = cache.Hooks.Join(credentials.Hooks{Issued: func(credentials.Event) { second++ }})
		outage := errors.New("outage")
		iss := &credentialstest.Issuer{Steps: []credentialstest.Step{{Life: time.Hour, Takes: time.Second}, {Err: outage}}}
		src := cache.Source(key("a"), iss)
		token(t, src)
		require.Equal(t, map[string]int{"issued": 1}, count)
		require.Equal(t, time.Second, last.Took)
		require.Equal(t, time.Hour, last.ExpiresAt.Sub(last.IssuedAt))
		require.Zero(t, last.Failures)
		for range 59 {
			time.Sleep(time.Minute)
			token(t, src)
			synctest.Wait()
		}
		mu.Lock()
		defer mu.Unlock()
		require.Equal(t, 59, count["hit"])
		require.Equal(t, iss.Calls()-1, count["failed"])
		require.Equal(t, count["failed"], last.Failures)
		require.ErrorIs(t, last.Err, outage)
		require.Positive(t, count["expiring"])
		require.Equal(t, 1, second)
	})
}

func TestExpiringIsToldOfWhatHasNoInstantOfIssue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		left := make(chan time.Duration, 100)
		cache := credentials.Cache{Hooks: credentials.Hooks{Expiring: func(e credentials.Event) { left <- time.Until(e.ExpiresAt) }}}
		iss := &credentialstest.Issuer{Steps: []credentialstest.Step{
			{Life: time.Hour, Change: func(c *credentials.Credential) { c.IssuedAt = time.Time{} }}, {Err: errors.New("outage")},
		}}
		src := cache.Source(key("a"), iss)
		for range 3600 {
			token(t, src)
			time.Sleep(time.Second)
		}
		require.NotEmpty(t, left)
		require.LessOrEqual(t, <-left, time.Minute)
	})
}

func TestSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cache credentials.Cache
		require.Empty(t, cache.Snapshot())
		outage := errors.New("outage")
		good := &credentialstest.Issuer{Steps: []credentialstest.Step{{Life: time.Hour}}}
		bad := &credentialstest.Issuer{Steps: []credentialstest.Step{{Err: outage}}}
		hangs := &credentialstest.Issuer{Steps: []credentialstest.Step{{Hang: true}}}
		token(t, cache.Source(key("good"), good))
		_, err := cache.Credential(t.Context(), key("bad"), bad)
		require.ErrorIs(t, err, outage)
		go func() { _, _ = cache.Credential(context.Background(), key("hangs"), hangs) }()
		synctest.Wait()
		seen := cache.Snapshot()
		require.Len(t, seen, 3)
		now := time.Now()
		require.Equal(t, key("bad"), seen[0].Key)
		require.False(t, seen[0].Usable)
		require.Equal(t, 1, seen[0].Failures)
		require.ErrorIs(t, seen[0].LastError, outage)
		require.WithinDuration(t, now.Add(time.Second), seen[0].NextCall, 250*time.Millisecond)
		require.Equal(t, key("good"), seen[1].Key)
		require.True(t, seen[1].Usable)
		require.Equal(t, 1, seen[1].Holders)
		require.Equal(t, now.Add(time.Hour).Unix(), seen[1].ExpiresAt.Unix())
		require.WithinDuration(t, now.Add(51*time.Minute), seen[1].NextCall, 3*time.Minute)
		require.True(t, seen[2].Calling)
		time.Sleep(time.Minute)
	})
}

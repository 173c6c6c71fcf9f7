package credentials_test

import (
	"fmt"
	"testing"
	"testing/quick"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
)

const day = 24 * time.Hour

func TestRenewAt(t *testing.T) {
	tests := map[string]struct {
		policy          credentials.Policy
		life            time.Duration
		soonest, latest time.Duration
	}{
		// The table in the documentation.
		"60 s":    {credentials.Policy{}, time.Minute, 24 * time.Second, 30 * time.Second},
		"5 min":   {credentials.Policy{}, 5 * time.Minute, 210 * time.Second, 4 * time.Minute},
		"15 min":  {credentials.Policy{}, 15 * time.Minute, 12 * time.Minute, 810 * time.Second},
		"1 h":     {credentials.Policy{}, time.Hour, 48 * time.Minute, 54 * time.Minute},
		"12 h":    {credentials.Policy{}, 12 * time.Hour, 576 * time.Minute, 648 * time.Minute},
		"90 days": {credentials.Policy{}, 90 * day, 72 * day, 81 * day},

		"half":       {credentials.Policy{Fraction: 0.5}, time.Hour, 30 * time.Minute, 36 * time.Minute},
		"no spread":  {credentials.Policy{Spread: -1}, time.Hour, 48 * time.Minute, 48 * time.Minute},
		"reserve":    {credentials.Policy{Reserve: 20 * time.Minute}, time.Hour, 34 * time.Minute, 40 * time.Minute},
		"no reserve": {credentials.Policy{Reserve: -1}, time.Minute, 48 * time.Second, 54 * time.Second},
		"one second": {credentials.Policy{}, time.Second, 400 * time.Millisecond, 500 * time.Millisecond},
		"no life":    {credentials.Policy{}, 0, 0, 0},
	}
	issued := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			expires := issued.Add(test.life)
			require.WithinDuration(t, issued.Add(test.soonest), test.policy.RenewAt(issued, expires, 0), time.Microsecond)
			require.WithinDuration(t, issued.Add(test.latest), test.policy.RenewAt(issued, expires, 1), time.Microsecond)
		})
	}
	require.True(t, credentials.Policy{}.RenewAt(issued, time.Time{}, 0.5).IsZero(), "never")
}

// Whatever the policy, renewal is due within the lifetime.
func TestRenewAtIsWithinTheLifetime(t *testing.T) {
	issued := time.Unix(1_700_000_000, 0)
	require.NoError(t, quick.Check(func(fraction, spread, jitter float64, reserve int64, seconds uint32) bool {
		expires := issued.Add(time.Duration(seconds) * time.Second)
		policy := credentials.Policy{Fraction: fraction, Spread: spread, Reserve: time.Duration(reserve)}
		at := policy.RenewAt(issued, expires, jitter)
		return !at.Before(issued) && !at.After(expires)
	}, &quick.Config{MaxCount: 20_000}))
}

func TestRetryIn(t *testing.T) {
	tests := map[string]struct {
		failures               int
		left, life, retryAfter time.Duration
		least, most            time.Duration
	}{
		"first failure, nothing in hand":      {1, 0, 0, 0, 750 * time.Millisecond, 1250 * time.Millisecond},
		"fourth":                              {4, 0, 0, 0, 6 * time.Second, 10 * time.Second},
		"hundredth":                           {100, 0, 0, 0, 45 * time.Second, 75 * time.Second},
		"throttled, nothing in hand":          {1, 0, 0, 5 * time.Minute, 5 * time.Minute, 375 * time.Second},
		"throttled for a year":                {1, 0, 0, 365 * day, 15 * time.Minute, 19 * time.Minute},
		"two hours left":                      {1, 2 * time.Hour, 12 * time.Hour, 0, 22*time.Minute + 30*time.Second, 37*time.Minute + 30*time.Second},
		"a minute left":                       {5, time.Minute, time.Hour, 0, 15 * time.Second, 25 * time.Second},
		"a second left":                       {9, time.Second, time.Hour, 0, time.Second, time.Second},
		"six minutes left, throttled for ten": {1, 6 * time.Minute, time.Hour, 10 * time.Minute, 3 * time.Minute, 3 * time.Minute},
		"the last minute, throttled for ten":  {1, time.Minute, time.Hour, 10 * time.Minute, 15 * time.Second, 25 * time.Second},
		"life not known":                      {1, time.Hour, 0, 10 * time.Minute, 15 * time.Minute, 25 * time.Minute},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			for _, jitter := range []float64{0, 0.5, 1} {
				got := credentials.RetryIn(test.failures, test.left, test.life, test.retryAfter, jitter)
				require.GreaterOrEqual(t, got, test.least)
				require.LessOrEqual(t, got, test.most)
			}
		})
	}
}

func ExamplePolicy_RenewAt() {
	issued := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	for _, life := range []time.Duration{time.Minute, time.Hour, 12 * time.Hour} {
		at := credentials.Policy{}.RenewAt(issued, issued.Add(life), 0.5)
		fmt.Println(life, "is renewed after", at.Sub(issued))
	}
	// Output:
	// 1m0s is renewed after 27s
	// 1h0m0s is renewed after 51m0s
	// 12h0m0s is renewed after 10h12m0s
}

// If the time of issue is unknown, the lifetime cannot be computed from it.
func TestRenewAtWithoutIssue(t *testing.T) {
	expires := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	require.Equal(t, expires.Add(-time.Minute), credentials.Policy{}.RenewAt(time.Time{}, expires, 0.5))
	require.Equal(t, expires.Add(-time.Hour), credentials.Policy{Reserve: time.Hour}.RenewAt(time.Time{}, expires, 1))
	require.Equal(t, expires, credentials.Policy{Reserve: -1}.RenewAt(time.Time{}, expires, 0))
}

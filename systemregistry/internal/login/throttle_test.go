package login

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// This test is in package login because each attempt through the Authenticator costs a slow hash.

func TestManyNamesFromOneClient(t *testing.T) {
	var th throttle
	now := time.Now()
	slow := 0
	for i := range 150 {
		if wait, others := th.take(ClientKey(fmt.Sprintf("[2001:db8::%d]:99", i)), fmt.Sprint("name", i), now); wait > 0 {
			require.True(t, others)
			slow++
		}
	}
	require.Equal(t, 50, slow, "addresses of one /64 are one client")
	wait, _ := th.take(ClientKey("[2001:db9::1]:99"), "ann", now)
	require.Zero(t, wait, "another client")
	wait, _ = th.take(ClientKey("[2001:db8::1]:99"), "ann", now.Add(perClientEach))
	require.Zero(t, wait, "a while later")
}

// A client cannot cause more than one late check of a name in an hour, and other clients have their own.
func TestLateChecksOfAName(t *testing.T) {
	var th throttle
	now := time.Now()
	checks := 0
	for i := range 5 * 3600 {
		if th.first("client", "ann", now.Add(time.Duration(i)*time.Second)) {
			checks++
		}
	}
	require.Equal(t, 5, checks)
	require.True(t, th.first("other", "ann", now))
	require.True(t, th.first("client", "bob", now))
	th.forget("client", "bob")
	require.True(t, th.first("client", "bob", now))
}

// A client cannot see in its allowance whether a late check took place, which would tell whether an account exists.
func TestLateChecksTakeNoAttempt(t *testing.T) {
	var th throttle
	now := time.Now()
	attempts := func(name string) (n int) {
		for wait := time.Duration(0); wait == 0; n++ {
			wait, _ = th.take("client", name, now)
		}
		return n - 1
	}
	require.True(t, th.first("client", "ann", now))
	require.Equal(t, perName, attempts("ann"))
	require.Equal(t, perName, attempts("nobody"))

	require.True(t, th.first("client", "bob", now))
	for range perName {
		wait, _ := th.take("client", "bob", now)
		require.Zero(t, wait)
	}
	th.forget("client", "bob")
	require.Zero(t, attempts("bob"), "guesses stay counted")
}

func TestLateChecksAreBounded(t *testing.T) {
	var l later
	require.True(t, l.add(attempt{client: "a", name: "ann"}))
	require.False(t, l.add(attempt{client: "a", name: "bob"}), "one for each client")
	for i := range 2 * maxLater {
		l.add(attempt{client: fmt.Sprint(i)})
	}
	require.Len(t, l.waiting, maxLater)
}

func TestMemoryIsBounded(t *testing.T) {
	var th throttle
	now := time.Now()
	for i := range 2 * maxAllowances {
		th.take(fmt.Sprint("client", i), "ann", now)
	}
	require.LessOrEqual(t, len(th.left), maxAllowances)
}

func TestClientKey(t *testing.T) {
	tests := map[string]string{
		"10.0.0.1:1234":            "10.0.0.1",
		"10.0.0.1":                 "10.0.0.1",
		"[::ffff:10.0.0.1]:1234":   "10.0.0.1",
		"[2001:db8:0:1:2::3]:1234": "2001:db8:0:1::/64",
		"[fe80::1%eth0]:1234":      "fe80::/64",
		"@":                        "@",
	}
	for address, want := range tests {
		require.Equal(t, want, ClientKey(address), address)
	}
}

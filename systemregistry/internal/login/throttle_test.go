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
		if th.take(clientKey(fmt.Sprintf("[2001:db8::%d]:99", i)), fmt.Sprint("name", i), now) > 0 {
			slow++
		}
	}
	require.Equal(t, 50, slow, "addresses of one /64 are one client")
	require.Zero(t, th.take(clientKey("[2001:db9::1]:99"), "ann", now), "another client")
	require.Zero(t, th.take(clientKey("[2001:db8::1]:99"), "ann", now.Add(perClientEach)), "a while later")
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
		require.Equal(t, want, clientKey(address), address)
	}
}

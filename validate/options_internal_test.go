package validate

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A negative value of an option selects the default, except if its documentation defines another meaning.
func TestNegativeOptions(t *testing.T) {
	negative := Checker{Concurrency: -1, PerRegistry: -1, Timeout: -1, MaxWait: -1, CacheFor: -1}
	var zero Checker
	require.Equal(t, zero.concurrency(), negative.concurrency())
	require.Equal(t, zero.perRegistry(), negative.perRegistry())
	require.Equal(t, zero.timeout(), negative.timeout())
	require.Equal(t, 10*time.Second, zero.maxWait())
	require.Zero(t, negative.maxWait(), "it never waits")
	require.Equal(t, 1, (&Checker{Concurrency: 1}).perRegistry())
}

package credentialstest

import (
	"slices"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

// Each rule lets a cache pass that keeps it, and finds the cache whose one flaw is to break it.
func TestEachRuleFindsItsFlaw(t *testing.T) {
	for _, rule := range slices.Concat(askingRules, renewalRules) {
		t.Run(rule.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				require.Empty(t, rule.broken(newSketch("")), "without a flaw")
				require.NotEmpty(t, rule.broken(newSketch(rule.name)), "with the flaw")
			})
		})
	}
}

package credentialstest

import (
	"slices"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

// Each rule accepts a cache that follows it, and detects a cache whose only flaw is a violation of it.
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

package runtimes

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the table of known disagreements into the docs")

// TestDisagreements keeps the table of docs/proof.md up to date.
func TestDisagreements(t *testing.T) {
	const (
		page  = "../../docs/proof.md"
		start = "<!-- Made by go test -run TestDisagreements . -update in internal/runtimes. -->\n"
		end   = "<!-- End. -->\n"
	)
	require.LessOrEqual(t, len(Disagreements), 10)
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	before, rest, ok := strings.Cut(string(text), start)
	require.True(t, ok)
	_, after, ok := strings.Cut(rest, end)
	require.True(t, ok)
	table := "| Scenario | Why |\n|---|---|\n"
	for _, d := range Disagreements {
		table += "| " + d.What + " | " + d.Why + " |\n"
	}
	want := before + start + table + end + after
	if *update {
		require.NoError(t, os.WriteFile(page, []byte(want), 0o644))
		return
	}
	require.Equal(t, want, string(text), "the page is out of date: go test -run TestDisagreements . -update")
}

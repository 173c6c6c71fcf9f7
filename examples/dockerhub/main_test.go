package main

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDockerHub(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), nil, func(string) string { return "" }, &out))
	for _, want := range []string{
		"nginx: yes, it is sha256:", "of 100 pulls left in 6h0m0s",
		"acme/app:1.4: no, code hidden", "acme/app:1.4: yes, it is sha256:",
		"login: ", "unauthorized",
	} {
		require.Contains(t, out.String(), want)
	}
	require.NotContains(t, out.String(), "dckr_pat")
}

// Incorrect usage has its own exit code.
func TestUsage(t *testing.T) {
	for _, args := range [][]string{{"unexpected"}, {"-unknown"}} {
		require.Equal(t, 2, exitCode(run(t.Context(), args, func(string) string { return "" }, io.Discard)), args)
	}
	require.Equal(t, 1, exitCode(errors.New("denied")))
}

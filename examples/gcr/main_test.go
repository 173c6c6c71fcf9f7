package main

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDemo(t *testing.T) {
	var out bytes.Buffer
	path := filepath.Join(t.TempDir(), "secret.yaml")
	require.NoError(t, run(t.Context(), []string{"-out", path}, &out))
	for _, want := range []string{
		"A password for user _json_key at europe-docker.pkg.dev, without an end",
		"A password for user oauth2accesstoken at europe-docker.pkg.dev, good until ",
		"(1h0m0s)",
		"invalid_grant: Invalid JWT Signature.",
		"hint: the key was deleted or disabled",
	} {
		require.Contains(t, out.String(), want)
	}
	require.Equal(t, 6, strings.Count(out.String(), ": yes, it is sha256:"))
	require.NotContains(t, out.String(), "PRIVATE KEY")
	manifest, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Contains(t, string(manifest), "kubernetes.io/dockerconfigjson")
}

func TestFlags(t *testing.T) {
	var out bytes.Buffer
	require.ErrorIs(t, run(t.Context(), []string{"-h"}, &out), flag.ErrHelp)
	require.Contains(t, out.String(), "GOOGLE_APPLICATION_CREDENTIALS")
	noKey := filepath.Join(t.TempDir(), "key.json")
	require.NoError(t, os.WriteFile(noKey, []byte("{}"), 0o600))
	for _, args := range [][]string{
		{"-cloud"}, {"image"}, {"-image", "x"}, {"-key", "x"}, {"-cloud", "-image", "ghcr.io/a/b:1"},
		{"-cloud", "-image", "gcr.io/a/b:1", "-key", "/nonexistent/key.json"}, {"-cloud", "-image", "gcr.io/a/b:1", "-key", noKey},
	} {
		require.Error(t, run(t.Context(), args, new(bytes.Buffer)), "%q", args)
	}
}

// Incorrect usage has its own exit code.
func TestUsage(t *testing.T) {
	for _, args := range [][]string{{"unexpected"}, {"-unknown"}} {
		require.Equal(t, 2, exitCode(run(t.Context(), args, io.Discard)), args)
	}
	require.Equal(t, 1, exitCode(errors.New("denied")))
}

package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDemo(t *testing.T) {
	var out, log bytes.Buffer
	require.NoError(t, run(t.Context(), "node", nil, strings.NewReader(""), &out, &log))
	for _, want := range []string{`"cacheKeyType":"Image"`, `"Username":"acme"`, "credentials not found in native keychain", `"CredentialProviderConfig"`} {
		require.Contains(t, out.String(), want)
	}
}

func TestUsage(t *testing.T) {
	file := filepath.Join(t.TempDir(), "profiles.yaml")
	require.NoError(t, os.WriteFile(file, []byte("- {name: a, kind: custom, endpoint: quay.io, login: {anonymous: true}}\n"), 0o600))
	for _, args := range [][]string{{"-nonsense"}, {"-profiles", file, "nonsense"}, {"-profiles", file, "kubelet-config", "more"}} {
		var out, log bytes.Buffer
		var usage usageError
		require.True(t, errors.As(run(t.Context(), "node", args, strings.NewReader(""), &out, &log), &usage), "%v", args)
		require.Empty(t, out.String())
	}
	var out, log bytes.Buffer
	require.ErrorContains(t, run(t.Context(), "node", []string{"-profiles", "missing", "kubelet-config"}, nil, &out, &log), "-profiles")
	require.NoError(t, run(t.Context(), "node", []string{"-profiles", file, "kubelet-config"}, nil, &out, &log))
	require.Contains(t, out.String(), "quay.io")
}

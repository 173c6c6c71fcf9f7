package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
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
	require.ErrorContains(t, run(t.Context(), dockerName, []string{"-profiles", "missing", "get"}, strings.NewReader("quay.io"), &out, &log), "-profiles")
	require.NoError(t, run(t.Context(), dockerName, []string{"-profiles", "missing", "version"}, nil, &out, &log))
	out.Reset()
	require.NoError(t, run(t.Context(), "node", []string{"-profiles", file, "kubelet-config"}, nil, &out, &log))
	require.Contains(t, out.String(), "quay.io")

	// A kubelet calls the plugin from another folder.
	t.Chdir(filepath.Dir(file))
	out.Reset()
	require.NoError(t, run(t.Context(), "node", []string{"-profiles", "profiles.yaml", "kubelet-config"}, nil, &out, &log))
	require.Contains(t, out.String(), `"`+file+`"`)
}

// A cloud that is not built in is missing when the configuration is written, not when a node pulls.
func TestTags(t *testing.T) {
	dir := t.TempDir()
	for tag, endpoint := range map[string]string{"ecr": "123456789012.dkr.ecr.us-east-1.amazonaws.com", "gcr": "europe-docker.pkg.dev"} {
		profiles := filepath.Join(dir, tag+".json")
		require.NoError(t, os.WriteFile(profiles, []byte(`[{"name":"a","kind":"`+tag+`","endpoint":"`+endpoint+`","login":{"ambient":true}}]`), 0o600))
		var out, log bytes.Buffer
		require.ErrorContains(t, run(t.Context(), "node", []string{"-profiles", profiles, "kubelet-config"}, nil, &out, &log), "-tags "+tag)

		program := filepath.Join(dir, tag)
		output, err := exec.CommandContext(t.Context(), "go", "build", "-tags", tag, "-o", program, ".").CombinedOutput()
		require.NoError(t, err, string(output))
		output, err = exec.CommandContext(t.Context(), program, "-profiles", profiles, "kubelet-config").CombinedOutput()
		require.NoError(t, err, string(output))
		require.Contains(t, string(output), endpoint)
	}
}

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// The generated files match the current types.
func TestGenerated(t *testing.T) {
	out := t.TempDir()
	command := exec.CommandContext(t.Context(), "go", "tool", "controller-gen", "object", "crd", "paths=./api/v1alpha1", "output:dir="+out)
	text, err := command.CombinedOutput()
	require.NoError(t, err, string(text))
	for name, committed := range map[string]string{
		"regcred.github.io_registryprofiles.yaml": "config/crd",
		"zz_generated.deepcopy.go":                "api/v1alpha1",
	} {
		want, err := os.ReadFile(filepath.Join(out, name))
		require.NoError(t, err)
		got, err := os.ReadFile(filepath.Join(committed, name))
		require.NoError(t, err)
		require.Equal(t, string(want), string(got), "run go generate ./...")
	}
}

package main

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/registry"
)

func TestDemo(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), nil, &out))
	for _, want := range []string{
		"A token for 111111111111.dkr.ecr.eu-central-1.amazonaws.com, good until ",
		"(12h0m0s)",
		"111111111111.dkr.ecr.eu-central-1.amazonaws.com/team/app:1.4: yes, it is sha256:",
		"222222222222.dkr.ecr.eu-central-1.amazonaws.com/team/app:1.4: yes, it is sha256:",
		`333333333333.dkr.ecr.eu-central-1.amazonaws.com/team/app:1.4: no, code "denied"`,
		"sts:AssumeRole by arn:aws:iam::111111111111:user/platform",
		"ecr:GetAuthorizationToken by arn:aws:sts::111111111111:assumed-role/pull/regcred",
	} {
		require.Contains(t, out.String(), want)
	}
	require.NotContains(t, out.String(), "shows nowhere")
}

// A secret that cannot pull is not published.
func TestNothingIsWrittenForAnImageThatDoesNotPull(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret.yaml")
	require.ErrorIs(t, run(t.Context(), []string{"-out", path}, new(bytes.Buffer)), registry.ErrDenied)
	_, err := os.Stat(path)
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestFlags(t *testing.T) {
	var out bytes.Buffer
	require.ErrorIs(t, run(t.Context(), []string{"-h"}, &out), flag.ErrHelp)
	require.Contains(t, out.String(), "AWS_ACCESS_KEY_ID")
	for _, args := range [][]string{{"-cloud"}, {"image"}, {"-image", "x"}, {"-cloud", "-image", "ghcr.io/a/b:1"}, {"-cloud", "-image", "UPPER/x"}} {
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

package main

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry/registrytest"
)

func TestCustom(t *testing.T) {
	var out bytes.Buffer
	none := func(string) string { return "" }
	require.NoError(t, run(t.Context(), nil, none, &out))
	for _, want := range []string{"quay\n", "harbor\n", "gitlab\n", "yes, it is sha256:", "code unauthorized", "code image_not_found", "code hidden", "code denied"} {
		require.Contains(t, out.String(), want)
	}
	_, ghcr, found := strings.Cut(out.String(), "ghcr\n")
	require.True(t, found)
	ghcr, _, _ = strings.Cut(ghcr, "\ngitlab")
	require.Contains(t, ghcr, "wrong password: no, code unauthorized: check the user name, and that the token") // Known by its host only.
	require.NotContains(t, out.String(), "code unknown")
	require.NotContains(t, out.String(), "dockerhub\n")
	require.NotContains(t, out.String(), "s3cret")
}

func TestCustomAsksARealOne(t *testing.T) {
	server, err := registrytest.Start(&registrytest.Registry{
		Accounts: []registrytest.Account{{Username: "robot", Password: credentials.NewSecret("s3cret"), Pull: []string{"*"}}},
	})
	require.NoError(t, err)
	defer server.Close()
	var out bytes.Buffer
	password := func(name string) string {
		require.Equal(t, "REGISTRY_PASSWORD", name)
		return "s3cret"
	}
	err = run(t.Context(), []string{"-registry", server.Host, "-user", "robot", "-image", server.Host + "/app:1"}, password, &out)
	require.Error(t, err, "its certificate is not trusted")
	require.Contains(t, out.String(), "no, code ")
}

// Incorrect usage has its own exit code.
func TestUsage(t *testing.T) {
	for _, args := range [][]string{{"unexpected"}, {"-unknown"}} {
		require.Equal(t, 2, exitCode(run(t.Context(), args, func(string) string { return "" }, io.Discard)), args)
	}
	require.Equal(t, 1, exitCode(errors.New("denied")))
}

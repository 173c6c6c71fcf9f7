package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry/registrytest"
	"github.com/regcred/regcred/registry/registrytest/probe"
)

func TestDemo(t *testing.T) {
	var out, log bytes.Buffer
	require.NoError(t, run(t.Context(), nil, strings.NewReader(""), &out, &log))
	require.Contains(t, out.String(), "dialect harbor")
	require.Contains(t, out.String(), "- GET of a blob that does not exist, with a token: codes: the registry sends NOT_FOUND, and the fake BLOB_UNKNOWN")
	require.Equal(t, 1, strings.Count(out.String(), "\n- "), out.String())
	require.Contains(t, out.String(), "Not sent: token (wrong)")
	require.Contains(t, out.String(), "in wording only")
	require.NotContains(t, out.String(), "shop")
	require.Empty(t, log.String())
}

// The whole program against a registry with TLS, with a profile of a file. None of the names is printed or written.
func TestProbe(t *testing.T) {
	r := &registrytest.Registry{
		Dialect: registrytest.GitLab(), // Its token server has a host of its own.
		Accounts: []registrytest.Account{{
			Username: "zqrobot", Password: credentials.NewSecret("zqpassword"), Pull: []string{"zqteam/*"},
		}},
		Public: []string{"zqpublic/*"},
	}
	for _, name := range []string{"zqteam/zqapp:zqtag", "zqother/zqapp:zqtag", "zqpublic/zqapp:zqtag"} {
		_, err := r.Add(name, registrytest.Image{})
		require.NoError(t, err)
	}
	server, err := registrytest.Start(r)
	require.NoError(t, err)
	defer server.Close()
	dir := t.TempDir()
	profiles := filepath.Join(dir, "profiles.json")
	text, err := json.Marshal([]any{map[string]any{
		"name": "zqprofile", "kind": "custom", "endpoint": server.Host, "login": map[string]string{"username": "zqrobot", "password": "zqpassword"},
		"transport": map[string]string{"caBundle": server.CA, "proxy": "direct"},
	}})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(profiles, text, 0o600))
	file := filepath.Join(dir, "capture.json")
	do := func(answer string, more ...string) string {
		var out, log bytes.Buffer
		args := append([]string{
			"-profiles", profiles, "-image", server.Host + "/zqteam/zqapp:zqtag", "-other", server.Host + "/zqother/zqapp:zqtag",
			"-public", server.Host + "/zqpublic/zqapp:zqtag", "-o", file,
		}, more...)
		require.NoError(t, run(t.Context(), args, strings.NewReader(answer), &out, &log))
		require.Empty(t, log.String())
		require.NotContains(t, out.String(), "zq")
		require.NotContains(t, out.String(), server.Host)
		require.NotContains(t, out.String(), "localhost")
		require.Contains(t, out.String(), "No differences.")
		require.Contains(t, out.String(), "dialect gitlab")
		return out.String()
	}
	// It is shown, and not written without a confirmation.
	shown := do("")
	require.Contains(t, shown, `"question":"tag-missing"`)
	require.Contains(t, shown, "Nothing was written.")
	require.NoFileExists(t, file)
	do("n\n")
	require.NoFileExists(t, file)
	do("y\n", "-wrong-login", "always", "-software", "GitLab 18.0")
	written, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NotContains(t, string(written), "zq")
	c, err := probe.Decode(written)
	require.NoError(t, err)
	require.Equal(t, "gitlab", c.Dialect)
	require.Equal(t, "GitLab 18.0", c.Software)
	require.NoError(t, c.Verify(t.Context()))
	do("", "-yes", "-dialect", "gitlab", "-profile", "zqprofile")

	var out bytes.Buffer
	err = run(t.Context(), []string{"-profiles", profiles, "-image", server.Host + "/zqteam/zqapp:zqtag", "-o", file, "-yes", "-software", "https://zq.example"}, nil, &out, io.Discard)
	require.ErrorContains(t, err, "software")
}

func TestUsage(t *testing.T) {
	file := filepath.Join(t.TempDir(), "profiles.yaml")
	require.NoError(t, os.WriteFile(file, []byte("- {name: a, kind: custom, endpoint: registry.example.com, login: {anonymous: true}}\n"), 0o600))
	for _, args := range [][]string{
		{"unexpected"}, {"-unknown"}, {"-wrong-login", "maybe"}, {"-dialect", "unknown"}, {"-image", "a.example.com/b:1"},
		{"-profiles", file}, {"-profiles", file, "-image", "registry.example.com/a@sha256:" + strings.Repeat("0", 64)}, {"-profiles", file, "-image", "UPPER/:"},
		{"-profiles", file, "-image", "other.example.com/a:1"}, {"-profiles", file, "-image", "registry.example.com/a:1", "-profile", "b"},
	} {
		var out bytes.Buffer
		require.Equal(t, 2, exitCode(run(t.Context(), args, strings.NewReader(""), &out, io.Discard)), args)
		require.Empty(t, out.String())
	}
	err := run(t.Context(), []string{"-profiles", "missing.yaml", "-image", "registry.example.com/a:1"}, nil, io.Discard, io.Discard)
	require.Error(t, err)
	require.Equal(t, 1, exitCode(err))
	require.Equal(t, 1, exitCode(errors.New("denied")))
}

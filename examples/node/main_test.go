package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/internal/testtool"
	"github.com/regcred/regcred/registry/registrytest"
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

// Real clients pull through the helper, installed under its name as a user would do it.
func TestClientsPull(t *testing.T) {
	skopeo := testtool.Need(t, "skopeo")
	server, err := registrytest.Start(&registrytest.Registry{
		Dialect:  registrytest.DistributionToken(),
		Accounts: []registrytest.Account{{Username: "robot", Password: credentials.NewSecret("hunter22"), Pull: []string{"shop/*"}}},
	})
	require.NoError(t, err)
	defer server.Close()
	_, err = server.Registry.Add("shop/web:1", registrytest.Image{})
	require.NoError(t, err)

	dir := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(dir, dockerName), ".")
	output, err := build.CombinedOutput()
	require.NoError(t, err, string(output))
	profiles := filepath.Join(dir, "profiles.json")
	text, err := json.Marshal([]any{map[string]any{
		"name": "shop", "kind": "custom", "endpoint": server.Host, "login": map[string]string{"username": "robot", "password": "hunter22"},
	}})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(profiles, text, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "ca.crt"), []byte(server.TransportConfig().CABundle), 0o600))
	auth := filepath.Join(dir, "auth.json")
	require.NoError(t, os.WriteFile(auth, []byte(`{"credHelpers":{"`+server.Host+`":"regcred"}}`), 0o600))
	pull := func(environment ...string) (string, error) {
		command := exec.CommandContext(t.Context(), skopeo, "copy", "--src-cert-dir", dir, "--src-authfile", auth,
			"docker://"+server.Host+"/shop/web:1", "dir:"+filepath.Join(t.TempDir(), "image"))
		command.Env = append(append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "REGCRED_CACHE="+filepath.Join(dir, "cache")), environment...)
		output, err := command.CombinedOutput()
		return string(output), err
	}
	printed, err := pull("REGCRED_PROFILES=" + profiles)
	require.NoError(t, err, printed)
	empty := filepath.Join(dir, "empty.json")
	require.NoError(t, os.WriteFile(empty, []byte(`[{"name":"a","kind":"custom","endpoint":"quay.io","login":{"anonymous":true}}]`), 0o600))
	_, err = pull("REGCRED_PROFILES=" + empty)
	require.Error(t, err, "nobody pulls without the profile")
}

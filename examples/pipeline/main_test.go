package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry/registrytest"
)

type result struct {
	code           int
	stdout, stderr string
}

func invoke(t *testing.T, stdin string, env map[string]string, args ...string) result {
	t.Helper()
	for name, value := range env {
		t.Setenv(name, value)
	}
	var stdout, stderr bytes.Buffer
	c := command{stdin: strings.NewReader(stdin), stdout: &stdout, stderr: &stderr}
	code := c.run(t.Context(), args)
	require.NotContains(t, stderr.String(), "s3cret")
	return result{code, stdout.String(), stderr.String()}
}

func start(t *testing.T) *registrytest.Server {
	t.Helper()
	server, err := registrytest.Start(&registrytest.Registry{
		Dialect:  registrytest.Harbor(),
		Accounts: []registrytest.Account{{Username: "robot$shop", Password: credentials.NewSecret("s3cret"), Pull: []string{"shop/*"}}},
	})
	require.NoError(t, err)
	t.Cleanup(server.Close)
	_, err = server.Registry.Add("shop/web:1.4", registrytest.Image{})
	require.NoError(t, err)
	return server
}

// write writes profiles for the server, with the password in a variable and the authority in a file beside it.
func write(t *testing.T, server *registrytest.Server, format string) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "ca.pem"), []byte(server.CA), 0o600))
	path := filepath.Join(dir, "profiles")
	require.NoError(t, os.WriteFile(path, fmt.Appendf(nil, format, server.Host), 0o600))
	return path
}

const inYAML = `
- name: shop
  kind: custom
  endpoint: %s/shop
  login: {username: robot$shop, password: {env: SHOP_PASSWORD}}
  transport: {caBundle: {file: ca.pem}}
`

const inJSON = `{"profiles": [{"name": "shop", "kind": "custom", "endpoint": "%s",
	"login": {"username": "robot$shop", "password": {"env": "SHOP_PASSWORD"}}, "transport": {"caBundle": {"file": "ca.pem"}}}]}`

func TestPipeline(t *testing.T) {
	server := start(t)
	env := map[string]string{"SHOP_PASSWORD": "s3cret"}
	good, missing := server.Host+"/shop/web:1.4", server.Host+"/shop/web:1.5"
	for name, profiles := range map[string]string{"YAML": write(t, server, inYAML), "JSON": write(t, server, inJSON)} {
		t.Run(name, func(t *testing.T) {
			r := invoke(t, "", env, "-profiles", profiles, "-image", good, "-namespace", "shop")
			require.Equal(t, proven, r.code, r.stderr)
			require.Contains(t, r.stderr, "ok    login shop: works\n")
			require.Contains(t, r.stderr, "ok    image "+good+": can be pulled with shop, sha256:")
			require.Contains(t, r.stdout, "kind: Secret\n")

			r = invoke(t, "", env, "-profiles", profiles, "-image", good, "-name", "pull", "-o", "json")
			require.Equal(t, proven, r.code, r.stderr)
			var secret struct {
				Kind     string
				Metadata struct{ Name string }
				Data     map[string][]byte
			}
			require.NoError(t, json.Unmarshal([]byte(r.stdout), &secret))
			require.Equal(t, "Secret", secret.Kind)
			require.Equal(t, "pull", secret.Metadata.Name)
			require.Contains(t, string(secret.Data[".dockerconfigjson"]), base64.StdEncoding.EncodeToString([]byte("robot$shop:s3cret")))

			r = invoke(t, "", env, "-profiles", profiles, "-image", good, "-image", missing)
			require.Equal(t, refuted, r.code)
			require.Empty(t, r.stdout)
			require.Contains(t, r.stderr, "FAIL  image "+missing+": check image")
			require.Contains(t, r.stderr, "; hint: ")

			r = invoke(t, "", map[string]string{"SHOP_PASSWORD": "wrong"}, "-profiles", profiles)
			require.Equal(t, refuted, r.code)
			require.Contains(t, r.stderr, "FAIL  login shop: check login")
		})
	}
	profiles := write(t, server, inYAML)

	t.Run("a workload on the standard input", func(t *testing.T) {
		workload := "kind: Pod\napiVersion: v1\nmetadata: {name: web}\nspec: {containers: [{name: web, image: " + good + "}]}\n"
		r := invoke(t, workload, env, "-profiles", profiles, "-workload", "-")
		require.Equal(t, proven, r.code, r.stderr)
		require.Contains(t, r.stderr, "ok    image "+good)
	})

	t.Run("cut short", func(t *testing.T) {
		r := invoke(t, "", env, "-profiles", profiles, "-image", good, "-timeout", "1ns")
		require.Equal(t, uncertain, r.code, r.stderr)
		require.Empty(t, r.stdout)
	})

	t.Run("a missing image, and a registry that is away", func(t *testing.T) {
		r := invoke(t, "", env, "-profiles", profiles, "-image", "127.0.0.1:1/shop/web:1.4", "-image", missing)
		require.Equal(t, refuted, r.code, r.stderr)
	})

	t.Run("a registry that is away", func(t *testing.T) {
		server.Registry.Inject(registrytest.Fault{Times: 100, Cut: true})
		r := invoke(t, "", env, "-profiles", profiles, "-image", good)
		require.Equal(t, uncertain, r.code, r.stderr)
		require.Empty(t, r.stdout)
	})
}

func TestPipelineBadInput(t *testing.T) {
	server := start(t)
	env := map[string]string{"SHOP_PASSWORD": "s3cret"}
	profiles := write(t, server, inYAML)
	tests := map[string]struct {
		args []string
		env  map[string]string
		want string
	}{
		"no profiles":           {args: nil, want: "-profiles is missing"},
		"no such file":          {args: []string{"-profiles", filepath.Join(t.TempDir(), "none")}, want: "no such file"},
		"unknown flag":          {args: []string{"-imgae", "x"}, want: "flag provided but not defined"},
		"an image without flag": {args: []string{"-profiles", profiles, "nginx"}, want: "named with -image"},
		"unknown format":        {args: []string{"-profiles", profiles, "-o", "toml"}, want: "the formats are yaml and json"},
		"variable is not set":   {args: []string{"-profiles", profiles}, env: map[string]string{}, want: "login.password is {env: SHOP_PASSWORD}, which is not set"},
		"image is no name":      {args: []string{"-profiles", profiles, "-image", "UPPER/Case"}, want: "images[0]"},
		"field is unknown":      {args: []string{"-profiles", write(t, server, "- {name: x, passwort: s3cret, endpoint: %s}")}, want: "passwort"},
		"no YAML":               {args: []string{"-profiles", write(t, server, "- {password: s3cret, %s")}, want: "expected YAML or JSON"},
		"not a profile":         {args: []string{"-profiles", write(t, server, "- s3cret%s")}, want: "profiles"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if test.env == nil {
				test.env = env
			}
			r := invoke(t, "", test.env, test.args...)
			require.Equal(t, badInput, r.code, r.stderr)
			require.Empty(t, r.stdout)
			require.Contains(t, r.stderr, test.want)
		})
	}
	require.Empty(t, server.Registry.Requests(), "nobody was asked")
}

func TestPipelineHelp(t *testing.T) {
	r := invoke(t, "", nil, "-h")
	require.Equal(t, proven, r.code)
	require.Contains(t, r.stderr, "Usage: pipeline -profiles FILE")
	require.Contains(t, r.stderr, "Exit codes:")
}

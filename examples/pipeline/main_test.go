package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

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

// write writes profiles for the server. The password is in a variable, and the certificate authority in a file next to
// the profiles.
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
			require.Contains(t, r.stderr, "\n0 of 2 checks failed\n")
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
			require.Contains(t, r.stderr, "FAIL  image "+missing+": image not found")
			require.Contains(t, r.stderr, "; hint: ")

			r = invoke(t, "", map[string]string{"SHOP_PASSWORD": "wrong"}, "-profiles", profiles)
			require.Equal(t, refuted, r.code)
			require.Contains(t, r.stderr, "FAIL  login shop: unauthorized")
		})
	}
	profiles := write(t, server, inYAML)

	t.Run("a workload on the standard input", func(t *testing.T) {
		workload := "kind: Pod\napiVersion: v1\nmetadata: {name: web}\nspec: {containers: [{name: web, image: " + good + "}]}\n"
		r := invoke(t, workload, env, "-profiles", profiles, "-workload", "-")
		require.Equal(t, proven, r.code, r.stderr)
		require.Contains(t, r.stderr, "ok    image "+good+" [stdin:4 Pod web]: can be pulled")
	})

	t.Run("one failure of many containers", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "shop.yaml")
		text := ""
		for i := range 3 {
			text += fmt.Sprintf("---\nkind: Deployment\napiVersion: apps/v1\nmetadata: {name: web-%d, namespace: shop}\n"+
				"spec: {template: {spec: {containers: [{name: web, image: %q}, {name: two, image: %q}]}}}\n", i, missing, server.Host+"/shop/other:1")
		}
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		r := invoke(t, "", env, "-profiles", profiles, "-workload", file, "-o", "none")
		require.Equal(t, refuted, r.code, r.stderr)
		require.Equal(t, 1, strings.Count(r.stderr, missing), r.stderr)
		require.Contains(t, r.stderr, "FAIL  image "+missing+" ["+file+":5 Deployment shop/web-0 (+2)]: image not found")
		require.Contains(t, r.stderr, "\n2 of 3 checks failed\n")
		for _, l := range strings.Split(r.stderr, "\n") {
			require.NotContains(t, l, "\x1b")
		}

		// Failures of one login share a line.
		r = invoke(t, "", map[string]string{"SHOP_PASSWORD": "wrong"}, "-profiles", profiles, "-workload", file)
		require.Equal(t, refuted, r.code)
		require.Equal(t, 2, strings.Count(r.stderr, "FAIL"), r.stderr)
		require.Contains(t, r.stderr, "FAIL  image "+missing+" and 1 more at "+server.Host)
	})

	t.Run("JSON", func(t *testing.T) {
		workload := "kind: Pod\napiVersion: v1\nmetadata: {name: web}\nspec: {containers: [{name: web, image: " + good + "}, {name: b, image: " + missing + "}]}\n"
		r := invoke(t, workload, env, "-profiles", profiles, "-workload", "-", "-json")
		require.Equal(t, refuted, r.code, r.stderr)
		var got report
		require.NoError(t, json.Unmarshal([]byte(r.stdout), &got))
		require.False(t, got.OK)
		require.Equal(t, refuted, got.ExitCode)
		require.Equal(t, "shop", got.Logins[0].Profile)
		require.True(t, got.Images[0].OK)
		require.Equal(t, []place{{"stdin", 4, "Pod", "", "web", "spec.containers[0].image"}}, got.Images[0].Places)
		require.Equal(t, missing, got.Images[1].Issues[0].Image)
		require.Equal(t, "image_not_found", string(got.Images[1].Issues[0].Code))
		require.NotContains(t, r.stdout, "dockerconfigjson")
	})

	t.Run("platform and layers", func(t *testing.T) {
		r := invoke(t, "", env, "-profiles", profiles, "-image", good, "-platform", "linux/arm64", "-platform", "linux/amd64", "-deep")
		require.Equal(t, refuted, r.code, r.stderr)
		require.Contains(t, r.stderr, "platform not found")
		require.Contains(t, r.stderr, "arm64")
		r = invoke(t, "", env, "-profiles", profiles, "-image", good, "-platform", "linux/amd64", "-deep")
		require.Equal(t, proven, r.code, r.stderr)
	})

	t.Run("a terminal", func(t *testing.T) {
		t.Setenv("SHOP_PASSWORD", "s3cret")
		var stdout, stderr bytes.Buffer
		c := command{stdout: &stdout, stderr: &stderr, terminal: terminal{is: true, colors: true, width: 60}}
		code := c.run(t.Context(), []string{"-profiles", profiles, "-image", good, "-image", missing})
		require.Equal(t, refuted, code)
		require.Contains(t, stderr.String(), "\x1b[32m✓\x1b[0m image ")
		require.Contains(t, stderr.String(), "\x1b[31m✗\x1b[0m image ")
		for _, l := range strings.Split(regexp.MustCompile("\x1b\\[[0-9;]*m").ReplaceAllString(stderr.String(), ""), "\n") {
			if len(strings.Fields(l)) > 2 {
				require.LessOrEqual(t, utf8.RuneCountInString(l), 60, l)
			}
		}
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
		args        []string
		env         map[string]string
		stdin, want string
	}{
		"no profiles":           {args: nil, want: "one of -profiles and -docker-config is required"},
		"no such file":          {args: []string{"-profiles", filepath.Join(t.TempDir(), "none")}, want: "no such file"},
		"unknown flag":          {args: []string{"-imgae", "x"}, want: "flag provided but not defined"},
		"an image without flag": {args: []string{"-profiles", profiles, "nginx"}, want: "named with -image"},
		"unknown format":        {args: []string{"-profiles", profiles, "-o", "toml"}, want: "the formats are yaml, json and none"},
		"variable is not set":   {args: []string{"-profiles", profiles}, env: map[string]string{}, want: "login.password is {env: SHOP_PASSWORD}, which is not set"},
		"image is no name":      {args: []string{"-profiles", profiles, "-image", "UPPER/Case"}, want: "images[0]"},
		"field is unknown":      {args: []string{"-profiles", write(t, server, "- {name: x, passwort: s3cret, endpoint: %s}")}, want: "passwort"},
		"no platform":           {args: []string{"-profiles", profiles, "-platform", "arm64"}, want: "platform"},
		"report and secret":     {args: []string{"-profiles", profiles, "-json", "-o", "yaml"}, want: "-json and -o"},
		"empty workload":        {args: []string{"-profiles", profiles, "-workload", "-"}, want: "stdin: there are no images in it"},
		"no object":             {args: []string{"-profiles", profiles, "-workload", "-"}, stdin: "Error: template failed\n", want: "stdin: line 1: is no Kubernetes object"},
		"compose file":          {args: []string{"-profiles", profiles, "-workload", "-"}, stdin: "services:\n  web: {image: nginx}\n", want: "stdin: line 1: is a compose file"},
		"no image in workload":  {args: []string{"-profiles", profiles, "-workload", "-"}, stdin: "apiVersion: v1\nkind: Pod\nspec: {containers: [{name: a}]}\n", want: "spec.containers[0], line 3: is a container without an image"},
		"no profile at all":     {args: []string{"-profiles", write(t, server, "[] # %s")}, want: "there is nothing to check"},
		"no docker config":      {args: []string{"-docker-config", filepath.Join(t.TempDir(), "none"), "-image", "a"}, want: "read docker config"},
		"bad docker config":     {args: []string{"-docker-config", write(t, server, "x %s"), "-image", "a"}, want: "profiles: "},
		"no YAML":               {args: []string{"-profiles", write(t, server, "- {password: s3cret, %s")}, want: "line 1: cannot be read: did not find expected"},
		"not a profile":         {args: []string{"-profiles", write(t, server, "- s3cret%s")}, want: "profiles"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if test.env == nil {
				test.env = env
			}
			r := invoke(t, test.stdin, test.env, test.args...)
			require.Equal(t, badInput, r.code, r.stderr)
			require.Empty(t, r.stdout)
			require.Contains(t, r.stderr, test.want)
		})
	}
	require.Empty(t, server.Registry.Requests(), "nobody was asked")
}

// An empty manifest is allowed only with a flag.
func TestPipelineAllowEmpty(t *testing.T) {
	server := start(t)
	r := invoke(t, "# Nothing.\n", map[string]string{"SHOP_PASSWORD": "s3cret"}, "-profiles", write(t, server, inYAML), "-workload", "-", "-allow-empty")
	require.Equal(t, proven, r.code, r.stderr)
}

// The user's own docker config is used for images that no profile serves, and its logins are not printed.
func TestPipelineDockerConfig(t *testing.T) {
	r := &registrytest.Registry{
		Dialect:  registrytest.Harbor(),
		Accounts: []registrytest.Account{{Username: "ann", Password: credentials.NewSecret("s3cret"), Pull: []string{"*"}}},
		Public:   []string{"library/*"},
	}
	for _, name := range []string{"shop/web:1", "library/nginx:1"} {
		_, err := r.Add(name, registrytest.Image{})
		require.NoError(t, err)
	}
	dir := t.TempDir()
	t.Setenv("DOCKER_CONFIG", dir)
	login := base64.StdEncoding.EncodeToString([]byte("ann:s3cret"))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"auths": {"harbor.example.com:5000": {"auth": "`+login+`"}}}`), 0o600))

	run := func(args ...string) (int, string, string) {
		var stdout, stderr bytes.Buffer
		c := command{stdout: &stdout, stderr: &stderr, roundTripper: r.RoundTripper()}
		return c.run(t.Context(), args), stdout.String(), stderr.String()
	}
	images := []string{"-docker-config", "user", "-image", "harbor.example.com:5000/shop/web:1", "-image", "public.example.com/library/nginx:1"}
	code, stdout, stderr := run(images...)
	require.Equal(t, proven, code, stderr)
	require.Empty(t, stdout)
	require.Contains(t, stderr, "shop/web:1: can be pulled with docker-config-harbor.example.com-5000, ")
	require.Contains(t, stderr, "library/nginx:1: can be pulled without a login, ")

	code, stdout, stderr = run(append(images, "-o", "yaml")...)
	require.Equal(t, proven, code, stderr)
	require.Contains(t, stdout, "kind: Secret")

	code, _, stderr = run("-docker-config", filepath.Join(dir, "config.json"), "-image", "public.example.com/shop/web:1")
	require.Equal(t, refuted, code, stderr)
}

func TestPipelineHelp(t *testing.T) {
	r := invoke(t, "", nil, "-h")
	require.Equal(t, proven, r.code)
	require.Contains(t, r.stderr, "Usage: pipeline [-profiles FILE]")
	require.Contains(t, r.stderr, "Exit codes:")
}

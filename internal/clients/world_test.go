package clients

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry/registrytest"
	"github.com/regcred/regcred/registry/registrytest/fakenet"
)

const helperName = "docker-credential-regcred"

func TestMain(m *testing.M) {
	if pull := libraries[os.Getenv("REGCRED_TEST_LIBRARY")]; pull != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		err := pull(ctx, os.Getenv("REGCRED_TEST_IMAGE"))
		cancel()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	code := m.Run()
	if program, err := build(); err == nil {
		_ = os.RemoveAll(filepath.Dir(program))
	}
	os.Exit(code)
}

// build builds the helper once, under its own name.
var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "regcred-clients-")
	if err != nil {
		return "", err
	}
	program := filepath.Join(dir, helperName)
	command := exec.Command("go", "build", "-o", program, "github.com/regcred/regcred/examples/node")
	command.Dir = "../.."
	if output, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, output)
	}
	return program, nil
})

// A world has registries, and the helper with profiles for most of them.
type world struct {
	dir     string
	network *fakenet.Network
	local   *registrytest.Server // On a loopback port, without a proxy.
	all     []*registrytest.Registry
}

// Images: each needs the login of its profile, but for the last, which nobody has a profile for and anybody may pull.
const (
	hubImage    = "docker.io/acme/app:1"
	ghcrImage   = "ghcr.io/team/app:1"
	nexusImage  = "nexus.example.com:8443/web/app:1"
	publicImage = "quay.io/open/app:1"
)

func (w *world) localImage() string { return w.local.Host + "/shop/app:1" }

func (w *world) images() []string {
	return []string{hubImage, ghcrImage, nexusImage, w.localImage(), publicImage}
}

// users are the accounts that pull the images.
var users = []string{"ann", "team-bot", "web", "shop", ""}

func password(user string) string { return "password-of-" + user }

func newWorld(t *testing.T) *world {
	t.Helper()
	network, err := fakenet.New()
	require.NoError(t, err)
	t.Cleanup(network.Close)
	w := &world{dir: t.TempDir(), network: network}
	start := func(dialect registrytest.Dialect, user, repository string) *registrytest.Registry {
		r := &registrytest.Registry{Dialect: dialect}
		if user == "" {
			r.Public = []string{repository}
		} else {
			r.Accounts = []registrytest.Account{{Username: user, Password: credentials.NewSecret(password(user)), Pull: []string{repository}}}
		}
		_, err := r.Add(repository+":1", registrytest.Image{
			Platforms: []string{"linux/" + runtime.GOARCH}, Files: map[string]string{"name": repository},
		})
		require.NoError(t, err)
		w.all = append(w.all, r)
		return r
	}
	network.HandleRegistry("docker.io", start(registrytest.DockerHub(), users[0], "acme/app"))
	network.HandleRegistry("ghcr.io", start(registrytest.GHCR(), users[1], "team/app"))
	network.HandleRegistry("nexus.example.com:8443", start(registrytest.NexusBasic(), users[2], "web/app"))
	w.local, err = registrytest.Start(start(registrytest.DistributionToken(), users[3], "shop/app"))
	require.NoError(t, err)
	t.Cleanup(w.local.Close)
	network.HandleRegistry("quay.io", start(registrytest.Quay(), users[4], "open/app"))
	w.write(t, "ca.crt", network.CA+w.local.CA)

	profile := func(kind, endpoint, user string) map[string]any {
		return map[string]any{"name": user, "kind": kind, "endpoint": endpoint, "login": map[string]any{"username": user, "password": password(user)}}
	}
	text, err := json.Marshal([]any{
		profile("dockerhub", "docker.io", users[0]), profile("custom", "ghcr.io/team", users[1]),
		profile("custom", "nexus.example.com:8443", users[2]), profile("custom", w.local.Host, users[3]),
	})
	require.NoError(t, err)
	w.write(t, "profiles.json", string(text))

	// The program that clients find writes down what they ask for, and passes it on.
	program, err := build()
	require.NoError(t, err)
	require.NoError(t, os.Mkdir(filepath.Join(w.dir, "bin"), 0o700))
	script := filepath.Join(w.dir, "bin", helperName)
	require.NoError(t, os.WriteFile(script, []byte(`#!/bin/sh
asked=$(cat)
printf '%s %s\n' "$1" "$asked" >>"`+w.path("calls")+`"
printf '%s' "$asked" | `+program+` -cache off -profiles "`+w.path("profiles.json")+`" "$@"
`), 0o700))
	return w
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

func (w *world) write(t *testing.T, name, text string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(w.path(name)), 0o700))
	require.NoError(t, os.WriteFile(w.path(name), []byte(text), 0o600))
}

// environment is all that a client is told.
func (w *world) environment() []string {
	return append(os.Environ(), "PATH="+w.path("bin")+":"+os.Getenv("PATH"), "HOME="+w.dir, "XDG_RUNTIME_DIR="+w.dir,
		"DOCKER_CONFIG="+w.path("docker"), "REGISTRY_AUTH_FILE="+w.path("docker/config.json"),
		"HTTPS_PROXY="+w.network.URL, "https_proxy="+w.network.URL, "NO_PROXY=127.0.0.1", "no_proxy=127.0.0.1",
		"SSL_CERT_FILE="+w.path("ca.crt"), "REGCRED_TEST_DIR="+w.dir)
}

// run runs a client's program.
func (w *world) run(t *testing.T, environment []string, program string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, program, args...)
	command.Env = append(w.environment(), environment...)
	var output bytes.Buffer
	command.Stdout, command.Stderr = &output, &output
	err := command.Run()
	return output.String(), err
}

// library runs a library in a process of its own.
func (w *world) library(t *testing.T, library, image string) (string, error) {
	t.Helper()
	program, err := os.Executable()
	require.NoError(t, err)
	return w.run(t, []string{"REGCRED_TEST_LIBRARY=" + library, "REGCRED_TEST_IMAGE=" + image}, program)
}

// calls returns what clients called the helper with since the last call, without repetitions, in order.
func (w *world) calls(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(w.path("calls"))
	if !os.IsNotExist(err) {
		require.NoError(t, err)
	}
	_ = os.Remove(w.path("calls"))
	var calls []string
	for line := range strings.Lines(string(text)) {
		line = strings.ReplaceAll(strings.TrimSpace(line), w.local.Host, "LOCAL")
		if line != "" && !slices.Contains(calls, line) {
			calls = append(calls, line)
		}
	}
	return calls
}

// pulls has a client pull each image, and asserts that each registry served it to the account of its profile.
func (w *world) pulls(t *testing.T, pull func(image string) (string, error)) {
	t.Helper()
	for i, image := range w.images() {
		w.all[i].ResetRequests()
		output, err := pull(image)
		require.NoError(t, err, "%s: %s", image, output)
		require.Equal(t, users[i], w.puller(t, i), image)
	}
}

// puller returns the account that a registry gave manifests to.
func (w *world) puller(t *testing.T, i int) string {
	t.Helper()
	var by []string
	for _, r := range w.all[i].Requests() {
		require.False(t, users[i] == "" && r.Account != "", "no login is sent to a registry without a profile")
		if r.Part == registrytest.PartRegistry && strings.Contains(r.Path, "/manifests/") && r.Status == http.StatusOK {
			by = append(by, r.Account)
		}
	}
	require.NotEmpty(t, by)
	require.Len(t, slices.Compact(slices.Clone(by)), 1)
	return by[0]
}

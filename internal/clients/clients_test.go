package clients

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/docker/docker-credential-helpers/client"
	dockercredentials "github.com/docker/docker-credential-helpers/credentials"
	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/internal/testtool"
)

// store is a configuration in which the helper is called for every server.
const store = `{"credsStore": "regcred"}`

// The key of Docker Hub in credHelpers: docker's, and that of podman and skopeo.
const (
	dockerHub = "https://index.docker.io/v1/"
	podmanHub = "docker.io"
)

// helpers is a configuration in which the helper is called for servers by name.
func (w *world) helpers(t *testing.T, hub string) string {
	t.Helper()
	text, err := json.Marshal(map[string]any{"credHelpers": map[string]string{
		hub: "regcred", "ghcr.io": "regcred", "nexus.example.com:8443": "regcred", w.local.Host: "regcred", "quay.io": "regcred",
	}})
	require.NoError(t, err)
	return string(text)
}

// byHost is what most clients call the helper with.
var byHost = []string{"get " + dockerHub, "get ghcr.io", "get nexus.example.com:8443", "get LOCAL", "get quay.io"}

func TestLibraries(t *testing.T) {
	for library, want := range map[string]struct{ store, helpers []string }{
		"BuildKit": {byHost, byHost},
		"ORAS":     {byHost, byHost},
		// It gets the logins of listed servers only.
		"regclient": {append([]string{"list"}, byHost[:4]...), byHost},
		"go-containerregistry": {
			[]string{"get index.docker.io/acme/app", "get ghcr.io/team/app", "get nexus.example.com:8443/web/app", "get LOCAL/shop/app", "get quay.io/open/app", "get quay.io"},
			byHost,
		},
	} {
		t.Run(library, func(t *testing.T) {
			w := newWorld(t)
			for _, mode := range []struct {
				name, config string
				calls        []string
			}{{"credsStore", store, want.store}, {"credHelpers", w.helpers(t, dockerHub), want.helpers}} {
				t.Run(mode.name, func(t *testing.T) {
					w.write(t, "docker/config.json", mode.config)
					w.pulls(t, func(image string) (string, error) { return w.library(t, library, image) })
					require.Equal(t, mode.calls, w.calls(t))
				})
			}
		})
	}
}

// docker's file library lists all servers and gets the login of each, for a daemon that builds without BuildKit.
func TestAllLogins(t *testing.T) {
	w := newWorld(t)
	w.write(t, "docker/config.json", store)
	output, err := w.library(t, "docker's file library", "")
	require.NoError(t, err, output)
	require.ElementsMatch(t, []string{
		dockerHub + " ann", "ghcr.io team-bot", "nexus.example.com:8443 web", w.local.Host + " shop",
	}, strings.Split(strings.TrimSpace(output), "\n"))
}

// TestDocker pulls with docker's command line, which sends the login to its daemon.
func TestDocker(t *testing.T) {
	w := newWorld(t)
	docker := testtool.Need(t, "docker")
	daemon := w.dockerd(t)
	run := func(args ...string) (string, error) {
		return w.run(t, []string{"DOCKER_HOST=unix://" + daemon}, docker, args...)
	}
	for name, config := range map[string]string{"credsStore": store, "credHelpers": w.helpers(t, dockerHub)} {
		t.Run(name, func(t *testing.T) {
			w.write(t, "docker/config.json", config)
			w.pulls(t, func(image string) (string, error) {
				output, err := run("pull", image)
				_, _ = run("rmi", image)
				return output, err
			})
			require.Equal(t, byHost, w.calls(t))
		})
	}
	t.Run("login and logout", func(t *testing.T) {
		w.write(t, "docker/config.json", store)
		output, err := run("login", "--username", "web", "--password", password("web"), "nexus.example.com:8443")
		require.Error(t, err)
		require.Contains(t, output, "this helper stores no logins")
		_, _ = run("logout", "nexus.example.com:8443") // Releases differ in what they show.
		calls := strings.Join(w.calls(t), "\n")
		require.Contains(t, calls, `store {"ServerURL":"nexus.example.com:8443"`)
		require.Contains(t, calls, "erase nexus.example.com:8443")
		w.pulls(t, func(image string) (string, error) { return run("pull", image) })
	})
	t.Run("broken profiles", func(t *testing.T) {
		w.write(t, "profiles.json", "[")
		_, _ = run("rmi", publicImage)
		output, err := run("pull", publicImage)
		require.NoError(t, err, output)
		_, _ = run("rmi", ghcrImage)
		_, err = run("pull", ghcrImage)
		require.Error(t, err)
	})
}

// TestContainers pulls with podman and skopeo, which read credHelpers of the same file by host names, or call the
// helpers that registries.conf names. They ignore credsStore.
func TestContainers(t *testing.T) {
	w := newWorld(t)
	w.write(t, "policy.json", `{"default":[{"type":"insecureAcceptAnything"}]}`)
	clients := map[string]func(image string) (string, error){
		"skopeo": func(image string) (string, error) {
			return w.run(t, nil, testtool.Need(t, "skopeo"), "--policy", w.path("policy.json"), "copy", "docker://"+image, "dir:"+t.TempDir())
		},
		"podman": func(image string) (string, error) {
			return w.run(t, nil, testtool.Need(t, "podman"), "--root", w.path("root"), "--runroot", w.path("run"), "--storage-driver", "vfs",
				"--cgroup-manager", "cgroupfs", "pull", "--quiet", "--signature-policy", w.path("policy.json"), image)
		},
	}
	want := []string{"get docker.io", "get ghcr.io", "get nexus.example.com:8443", "get LOCAL", "get quay.io"}
	for name, pull := range clients {
		t.Run(name, func(t *testing.T) {
			for setting, files := range map[string][2]string{
				"credHelpers":     {w.helpers(t, podmanHub), ""},
				"registries.conf": {"{}", `credential-helpers = ["regcred"]`},
			} {
				t.Run(setting, func(t *testing.T) {
					w.write(t, "docker/config.json", files[0])
					w.write(t, ".config/containers/registries.conf", files[1])
					w.pulls(t, pull)
					require.Equal(t, want, w.calls(t))
				})
			}
		})
	}
}

// TestAddresses sends every form of address that a client was seen or read to send, as clients do: with the library of
// docker-credential-helpers. nerdctl sends the forms with a port and a scheme.
func TestAddresses(t *testing.T) {
	w := newWorld(t)
	program := client.NewShellProgramFunc(w.path("bin/" + helperName))
	for user, addresses := range map[string][]string{
		"ann": {"https://index.docker.io/v1/", "docker.io", "index.docker.io", "index.docker.io/acme/app", "registry-1.docker.io", "registry-1.docker.io:443", "https://registry-1.docker.io:443"},
		"team-bot": {
			"ghcr.io", "ghcr.io/team", "ghcr.io/team/app", "https://ghcr.io", "http://ghcr.io", "https://ghcr.io/v1/", "https://ghcr.io/v2/",
			"ghcr.io:443", "https://ghcr.io:443", "http://ghcr.io:443",
		},
		"web":  {"nexus.example.com:8443", "nexus.example.com:8443/web/app", "https://nexus.example.com:8443", "http://nexus.example.com:8443"},
		"shop": {w.local.Host, w.local.Host + "/shop/app", "http://" + w.local.Host, "https://" + w.local.Host + "/v2/"},
	} {
		for _, address := range addresses {
			got, err := client.Get(program, address)
			require.NoError(t, err, address)
			require.Equal(t, user, got.Username, address)
			require.Equal(t, password(user), got.Secret, address)
		}
	}
	require.ErrorContains(t, client.Erase(program, "ghcr.io"), "this helper stores no logins")
	stored := &dockercredentials.Credentials{ServerURL: "ghcr.io", Username: "u", Secret: "p"}
	require.ErrorContains(t, client.Store(program, stored), "this helper stores no logins")
	for _, address := range []string{"quay.io", "quay.io/open/app", "nexus.example.com", "https://index.docker.io/v1/refresh-token", "mirror.gcr.io"} {
		_, err := client.Get(program, address)
		require.True(t, dockercredentials.IsErrCredentialsNotFound(err), "%s: %v", address, err)
	}
}

package runtimes

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/internal/testtool"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/validate/mirrors"
)

var mirrorDaemonConfigurations = flag.Int("mirror-daemon-configurations", 10, "how many generated configurations of mirrors each daemon pulls with")

// A mirrorDaemon is a containerd whose main configuration has a part about registries, and its node.
type mirrorDaemon struct {
	*daemon
	line   mirrors.Runtime
	pull   puller
	pullAs func(ctx context.Context, image registry.Image, username string) error
	config string
}

// startMirrorDaemon starts a containerd. In the settings, ${DIR} stands for its folder.
func startMirrorDaemon(t *testing.T, line mirrors.Runtime, settings string) *mirrorDaemon {
	t.Helper()
	name, program := "containerd1.toml", ""
	if line == mirrors.Containerd2 {
		name, program = "containerd2.toml", testtool.Built(t, "runtimes/bin/containerd-2.*[0-9]", "scripts/runtimes")
	} else {
		program = testtool.Need(t, "containerd")
	}
	base, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)
	d, pull := startContainerdWith(t, program, string(base)+"\n"+settings)
	as := func(ctx context.Context, image registry.Image, username string) error {
		password := "password"
		if username == "" {
			password = ""
		}
		return pull(ctx, image.String(), username, password)
	}
	return &mirrorDaemon{d, line, func(ctx context.Context, image registry.Image, secret bool) error {
		if secret {
			return as(ctx, image, "secret")
		}
		return as(ctx, image, "")
	}, as, strings.ReplaceAll(string(base)+"\n"+settings, "${DIR}", d.dir)}
}

// node returns the node of the daemon, with its files as they are now.
func (d *mirrorDaemon) node(t *testing.T) *mirrors.Node {
	t.Helper()
	node, err := mirrors.Read(overlay{dir: d.dir, files: map[string]string{"etc/containerd/config.toml": filepath.Join(d.dir, "config.toml")}})
	require.NoError(t, err)
	return node
}

// compare writes the folders of hosts below certs.d, and compares the routes with the requests of the daemon.
func (d *mirrorDaemon) compare(t *testing.T, f *fleet, label string, files nodeFiles) {
	t.Helper()
	require.NoError(t, os.RemoveAll(filepath.Join(d.dir, "certs.d")))
	own := make(nodeFiles)
	for name, text := range files {
		own[strings.Replace(name, "etc/containerd/", "", 1)] = text
	}
	write(t, d.dir, own)
	compareNode(t, f, d.node(t), fmt.Sprintf("%s, %s\n%s", d.line, label, describeFiles(own)), d.line, d.pull)
}

// registrySection returns the settings of the section about registries.
func registrySection(line mirrors.Runtime, text string) string {
	name := `plugins."io.containerd.grpc.v1.cri".registry`
	if line == mirrors.Containerd2 {
		name = `plugins."io.containerd.cri.v1.images".registry`
	}
	return strings.ReplaceAll(text, "[registry", "["+name)
}

// TestMirrorsDaemons compares the routes with the requests of real daemons of containerd.
func TestMirrorsDaemons(t *testing.T) {
	for _, line := range []mirrors.Runtime{mirrors.Containerd16, mirrors.Containerd2} {
		t.Run(string(line), func(t *testing.T) {
			t.Run("certs.d", func(t *testing.T) {
				t.Parallel()
				f := newFleet(t, 3)
				d := startMirrorDaemon(t, line, registrySection(line, "[registry]\nconfig_path = \"${DIR}/certs.d\"\n"))
				for seed := range uint64(*mirrorDaemonConfigurations) {
					d.compare(t, f, fmt.Sprint("seed ", seed), generateHosts(rand.New(rand.NewPCG(seed, 1)), f.hosts))
				}
			})
			mirror := func(f *fleet) nodeFiles {
				name := strings.Replace(f.hosts[0], ":", "_", 1) + "_"
				return nodeFiles{"etc/containerd/certs.d/" + name + "/hosts.toml": fmt.Sprintf("[host.\"http://%s\"]\n", f.hosts[1])}
			}
			for _, test := range []struct{ name, settings string }{
				{"two folders", "[registry]\nconfig_path = \"${DIR}/none:${DIR}/certs.d\"\n"},
				{"two folders and a local pull", "[registry]\nconfig_path = \"${DIR}/none:${DIR}/certs.d\"\n[registry.configs.\"example.com\".auth]\nusername = \"x\"\n"},
				{"no config_path", ""},
				{"the node's login", "[registry]\nconfig_path = \"${DIR}/certs.d\"\n[registry.configs.\"${MIRROR}\".auth]\nusername = \"node\"\npassword = \"x\"\n"},
				{"registry.mirrors", "[registry.mirrors.\"${ORIGIN}\"]\nendpoint = [\"http://${MIRROR}/v2/proxy\", \"http://${OTHER}\"]\n[registry.configs.\"${MIRROR}\".auth]\nusername = \"node\"\npassword = \"x\"\n"},
				{"registry.mirrors for all", "[registry.mirrors.\"*\"]\nendpoint = [\"${MIRROR}\"]\n[registry.auths.\"http://${ORIGIN}\"]\nusername = \"node\"\npassword = \"x\"\n"},
				{"the section of another version", "[plugins.\"${WRONG}\".registry]\nconfig_path = \"${DIR}/certs.d\"\n"},
			} {
				t.Run(test.name, func(t *testing.T) {
					t.Parallel()
					f := newFleet(t, 3)
					wrong := "io.containerd.cri.v1.images"
					if line == mirrors.Containerd2 {
						wrong = "io.containerd.grpc.v1.cri"
					}
					settings := strings.NewReplacer("${ORIGIN}", f.hosts[0], "${MIRROR}", f.hosts[1], "${OTHER}", f.hosts[2], "${WRONG}", wrong).Replace(test.settings)
					d := startMirrorDaemon(t, line, registrySection(line, settings))
					d.compare(t, f, test.name, mirror(f))
				})
			}
		})
	}
}

// TestMirrorsDocker compares the routes with the requests of the Docker engine, for Docker Hub with two mirrors.
func TestMirrorsDocker(t *testing.T) {
	f := newFleet(t, 3)
	mirrorHosts := f.hosts[1:]
	config := fmt.Sprintf(`{"registry-mirrors": ["http://%s", "http://%s/"]}`, mirrorHosts[0], mirrorHosts[1])
	d, pull := startDockerWith(t, map[string]string{"daemon.json": config})
	f.hosts[0] = "registry-1.docker.io"
	d.network.Handle(f.hosts[0], http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { f.serve(w, req, 0) }))
	node, err := mirrors.Read(overlay{dir: d.dir, files: map[string]string{"etc/docker/daemon.json": filepath.Join(d.dir, "daemon.json")}})
	require.NoError(t, err)
	f.origin = "docker.io"
	compareNode(t, f, node, "Docker", mirrors.Docker, func(ctx context.Context, image registry.Image, secret bool) error {
		if secret {
			return pull(ctx, image.Name(), image.Reference(), "secret", "password")
		}
		return pull(ctx, image.Name(), image.Reference(), "", "")
	})
}

package runtimes

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/core/remotes/docker/config"
	"github.com/stretchr/testify/require"
	imagedocker "go.podman.io/image/v5/docker"
	"go.podman.io/image/v5/types"

	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/validate/mirrors"
)

var mirrorConfigurations = flag.Int("mirror-configurations", 50, "how many generated configurations of mirrors each runtime pulls with")

// A nodeFiles is a configuration of a node, by the paths of its files below its root.
type nodeFiles map[string]string

// generateHosts returns a folder of containerd for the origin.
func generateHosts(roll *rand.Rand, hosts []string) nodeFiles {
	pick := func(list ...string) string { return list[roll.IntN(len(list))] }
	var b strings.Builder
	if roll.IntN(3) == 0 {
		fmt.Fprintf(&b, "server = %q\n", pick("http://"+hosts[0], "http://"+hosts[1], hosts[0], "http://"+hosts[2]+"/v2/x"))
		b.WriteString(pick("", "", "capabilities = [\"pull\"]\n", "override_path = true\n", "skip_verify = true\n"))
	}
	if roll.IntN(12) == 0 {
		b.WriteString(pick("broken = [\n", "ca = \"missing.crt\"\n", "capabilities = [\"fly\"]\n", "ca = 5\n", "header = \"x\"\n", "client = [[\"a\"]]\n"))
	}
	order := roll.Perm(len(hosts))[:roll.IntN(len(hosts)+1)]
	for _, i := range order {
		name := pick("http://", "http://", "https://") + hosts[i] + pick("", "", "/", "/v2", "/proxy", "/proxy/v2", "/v2/proxy/", "/a/../b")
		fmt.Fprintf(&b, "[host.%q]\n", name)
		if roll.IntN(2) == 0 {
			fmt.Fprintf(&b, "  capabilities = %s\n", pick(`["pull"]`, `["resolve"]`, `["pull", "resolve"]`, `["PULL", "Resolve"]`, `["push"]`, `[]`, `["pull", "resolve", "push", "wrong"]`))
		}
		b.WriteString(pick("", "", "  override_path = true\n"))
		if roll.IntN(16) == 0 {
			b.WriteString(pick("  ca = \"missing.crt\"\n", "  ca = [\"hosts.toml\"]\n", "  client = [[\"a.cert\", \"a.key\"]]\n"))
		}
		b.WriteString(pick("  skip_verify = true\n", "  skip_verify = true\n", "  skip_verify = false\n", ""))
		if roll.IntN(4) == 0 {
			fmt.Fprintf(&b, "  [host.%q.header]\n    Authorization = %q\n", pick(name, name, name, "http://"+hosts[i]), headerLogin)
		}
	}
	name := strings.NewReplacer(":", pick("_", ":"), "", "").Replace(hosts[0])
	if strings.Contains(name, "_") {
		name += "_"
	}
	return nodeFiles{filepath.Join("etc/containerd/certs.d", pick(name, name, name, "_default"), "hosts.toml"): b.String()}
}

// generateRegistriesConf returns a registries.conf with drop-ins.
func generateRegistriesConf(roll *rand.Rand, hosts []string) nodeFiles {
	pick := func(list ...string) string { return list[roll.IntN(len(list))] }
	table := func() string {
		var b strings.Builder
		b.WriteString("[[registry]]\n")
		switch {
		case roll.IntN(6) == 0: // A star matches every host of the fleet, with its port.
			fmt.Fprintf(&b, "prefix = \"*.0.0.1\"\nlocation = %q\n", pick("", "", "127.0.0.1", hosts[1]))
		case roll.IntN(4) > 0:
			fmt.Fprintf(&b, "prefix = %q\n", hosts[0]+pick("", "", "/team", "/team/app", "/other", "/te"))
			fallthrough
		default:
			fmt.Fprintf(&b, "location = %q\n", hosts[roll.IntN(len(hosts))]+pick("", "", "/team", "/cache/x"))
		}
		b.WriteString("insecure = true\n")
		digestOnly := roll.IntN(5) == 0
		if digestOnly {
			b.WriteString("mirror-by-digest-only = true\n")
		}
		b.WriteString(pick("", "", "", "blocked = true\n"))
		for range roll.IntN(4) {
			fmt.Fprintf(&b, "[[registry.mirror]]\nlocation = %q\ninsecure = true\n", hosts[roll.IntN(len(hosts))]+pick("", "/team", "/proxy"))
			if !digestOnly {
				b.WriteString(pick("", "", "pull-from-mirror = \"digest-only\"\n", "pull-from-mirror = \"tag-only\"\n", "pull-from-mirror = \"all\"\n"))
			}
		}
		return b.String()
	}
	files := nodeFiles{"etc/containers/registries.conf": table()}
	if roll.IntN(2) == 0 {
		files["etc/containers/registries.conf.d/10-more.conf"] = table()
	}
	if roll.IntN(4) == 0 {
		files["etc/containers/registries.conf.d/20-ignored.txt"] = "no [ toml"
	}
	if roll.IntN(5) == 0 {
		dir := "etc/containers/certs.d/" + hosts[roll.IntN(len(hosts))] + "/"
		files[dir+pick("ca.cert", "client.key", "ca.crt", "ca.pem")] = "no certificate"
	}
	auths := make([]string, 0, 2)
	for range roll.IntN(3) {
		auths = append(auths, fmt.Sprintf("%q:{\"auth\":\"bm9kZTpsb2dpbg==\"}", hosts[roll.IntN(len(hosts))]+pick("", "/team", "/proxy", "/tea")))
	}
	files["run/containers/0/auth.json"] = `{"auths":{` + strings.Join(auths, ",") + `}}`
	return files
}

// TestMirrorsContainerd compares the routes with the requests of containerd's own resolver, in this process.
func TestMirrorsContainerd(t *testing.T) {
	f := newFleet(t, 3)
	for seed := range uint64(*mirrorConfigurations) {
		files := generateHosts(rand.New(rand.NewPCG(seed, 1)), f.hosts)
		compareMirrors(t, f, seed, files, mirrors.Containerd2, func(root string) puller {
			return func(ctx context.Context, image registry.Image, secret bool) error {
				options := config.HostOptions{HostDir: config.HostDirFromRoot(filepath.Join(root, "etc/containerd/certs.d"))}
				if secret {
					options.Credentials = func(string) (string, string, error) { return "secret", "password", nil }
				}
				resolver := docker.NewResolver(docker.ResolverOptions{Hosts: config.ConfigureHosts(ctx, options)})
				_, desc, err := resolver.Resolve(ctx, image.String())
				if err != nil {
					return err
				}
				fetcher, err := resolver.Fetcher(ctx, image.String())
				if err != nil {
					return err
				}
				reader, err := fetcher.Fetch(ctx, desc)
				if err != nil {
					return err
				}
				defer reader.Close()
				_, err = io.Copy(io.Discard, reader)
				return err
			}
		})
	}
}

// TestMirrorsContainerd17 compares the routes with the requests of the resolver of containerd 1.7.
func TestMirrorsContainerd17(t *testing.T) {
	containerd1 := startProgram(t, Containerd1)
	f := newFleet(t, 3)
	for seed := range uint64(*mirrorConfigurations) {
		files := generateHosts(rand.New(rand.NewPCG(seed, 1)), f.hosts)
		compareMirrors(t, f, seed, files, mirrors.Containerd17, func(root string) puller {
			return func(_ context.Context, image registry.Image, secret bool) error {
				username := ""
				if secret {
					username = "secret"
				}
				return containerd1.Fetch(filepath.Join(root, "etc/containerd/certs.d"), image.String(), username, "password", pullTime)
			}
		})
	}
}

// TestMirrorsCRIO compares the routes with the requests of CRI-O's library, in this process.
func TestMirrorsCRIO(t *testing.T) {
	f := newFleet(t, 3)
	for seed := range uint64(*mirrorConfigurations) {
		files := generateRegistriesConf(rand.New(rand.NewPCG(seed, 2)), f.hosts)
		compareMirrors(t, f, seed, files, mirrors.CRIO, func(root string) puller {
			return func(ctx context.Context, image registry.Image, secret bool) error {
				system := &types.SystemContext{
					SystemRegistriesConfPath:    filepath.Join(root, "etc/containers/registries.conf"),
					SystemRegistriesConfDirPath: filepath.Join(root, "etc/containers/registries.conf.d"),
					DockerPerHostCertDirPath:    filepath.Join(root, "etc/containers/certs.d"),
					AuthFilePath:                filepath.Join(root, "run/containers/0/auth.json"),
					RegistriesDirPath:           filepath.Join(root, "none"),
				}
				if secret {
					system.DockerAuthConfig = &types.DockerAuthConfig{Username: "secret", Password: "password"}
				}
				reference, err := imagedocker.ParseReference("//" + image.String())
				if err != nil {
					return err
				}
				source, err := reference.NewImageSource(ctx, system)
				if err != nil {
					return err
				}
				defer source.Close()
				_, _, err = source.GetManifest(ctx, nil)
				return err
			}
		})
	}
}

// A puller pulls an image, with the pull secret or without one.
type puller func(ctx context.Context, image registry.Image, secret bool) error

// compareMirrors writes the files of a node, and compares its routes with what the runtime does.
func compareMirrors(t *testing.T, f *fleet, seed uint64, files nodeFiles, runtime mirrors.Runtime, pull func(root string) puller) {
	t.Helper()
	root := t.TempDir()
	section := "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n" // containerd 2.4 reads it too.
	files = mapsWith(files, "etc/containerd/config.toml", section+"config_path = \"/etc/containerd/certs.d\"\n")
	write(t, root, files)
	node, err := mirrors.Read(os.DirFS(root))
	require.NoError(t, err)
	compareNode(t, f, node, fmt.Sprintf("seed %d, %s\n%s", seed, runtime, describeFiles(files)), runtime, pull(root))
}

// compareNode pulls with one configuration of a node: by tag and by digest, with and without a pull secret, from hosts
// that reject every login, from hosts without the image, and from each host as the only one with the image.
func compareNode(t *testing.T, f *fleet, node *mirrors.Node, label string, runtime mirrors.Runtime, pull puller) {
	t.Helper()
	for _, digest := range []bool{false, true} {
		for _, secret := range []bool{false, true} {
			for _, mode := range []string{"basic", "bearer", "open"} {
				route := node.Route(runtime, f.image(t, digest), secret)
				f.reset(mode)
				compareContacts(t, f, label, route, mode, pull)
			}
			for serving := range f.hosts {
				route := node.Route(runtime, f.image(t, digest), secret)
				f.reset("open", serving)
				compareServing(t, f, label, route, f.hosts[serving], pull)
			}
		}
	}
}

func mapsWith(m nodeFiles, key, value string) nodeFiles {
	all := nodeFiles{key: value}
	for k, v := range m {
		all[k] = v
	}
	return all
}

// pullTime is the timeout of one pull.
const pullTime = 20 * time.Second

// compareContacts pulls from hosts of which none has the image.
func compareContacts(t *testing.T, f *fleet, label string, route mirrors.Route, mode string, pull puller) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), pullTime)
	defer cancel()
	pulled := pull(ctx, route.Image, route.Secret)
	want := f.expected(route, route.Image.Reference(), mode)
	if route.Broken != "" {
		want = nil
	}
	if got := f.contacts(route); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s\n%s, secret: %v, %s\nbroken: %q\nwant %v\ngot  %v\nerror: %v\nlog: %v", label, route.Image, route.Secret, mode,
			route.Broken, want, got, pulled, f.requests())
	}
	require.Error(t, pulled)
}

// compareServing pulls from hosts of which one has the image.
func compareServing(t *testing.T, f *fleet, label string, route mirrors.Route, host string, pull puller) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), pullTime)
	defer cancel()
	err := pull(ctx, route.Image, route.Secret)
	resolves, serves := false, false
	for _, h := range route.Hops {
		resolves = resolves || h.Host == host && h.Resolves && plain(h)
		serves = serves || h.Host == host && h.Serves && plain(h)
	}
	if want := route.Broken == "" && resolves && serves; want != (err == nil) {
		t.Errorf("%s\n%s, secret: %v, %s has the image\nwant a pull: %v\nerror: %v", label, route.Image, route.Secret, host, want, err)
	}
}

func describeFiles(files nodeFiles) string {
	var b strings.Builder
	for name, text := range files {
		fmt.Fprintf(&b, "--- %s\n%s", name, text)
	}
	return b.String()
}

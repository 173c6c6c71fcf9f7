package mirrors_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/validate/mirrors"
)

// FuzzRead reads any content as each of the files. Results are printable in one line for each hop, and no password is
// in them.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{
		"server = \"https://a.example.com\"\n[host.\"https://user:s3cret@b.example.com/v2/x\"]\ncapabilities = [\"pull\"]\nca = [\"ca.crt\"]\nclient = [[\"a\", \"b\"]]\n[host.\"https://b.example.com\".header]\nAuthorization = \"Basic s3cret\"",
		"version = 2\nimports = [\"*.toml\"]\n[plugins.\"io.containerd.grpc.v1.cri\".registry.configs.\"a\".auth]\nusername = \"u\"\npassword = \"s3cret\"",
		"[[registry]]\nprefix = \"*.example.com\"\nlocation = \"x\"\n[[registry.mirror]]\nlocation = \"m.example.com\"\npull-from-mirror = \"tag-only\"",
		"[registries.search]\nregistries = [\"docker.io\"]\n[registries.block]\nregistries = [\"ghcr.io\"]",
		"mirrors: {\"*\": {endpoint: [\"https://user:s3cret@m.example.com:x\"], rewrite: {\"^(.*)\": \"x/$1\"}}}\nconfigs: {m.example.com: {auth: {username: u, password: s3cret}, tls: {ca_file: /etc/x}}}",
		`{"auths":{"https://ghcr.io/v1/":{"auth":"dTpzM2NyZXQ="},"ghcr.io/team":{"identitytoken":"s3cret"}}}`,
		"[crio.image]\nglobal_auth_file = \"/etc/crio/auth.json\"",
		`{"registry-mirrors":["https://user:s3cret@m.example.com","http://m"],"insecure-registries":["10.0.0.0/8"]}`,
		"server = \"https://user:s3cret@a b\"", "[host.\"http://[::1\"]", "[host]\n[host.a]\n[host.b]\n[host.a.header]", "\xff\xfe", "[",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, content string) {
		fsys := fstest.MapFS{}
		for _, name := range []string{
			"etc/containerd/config.toml", "etc/containerd/certs.d/ghcr.io/hosts.toml", "etc/containerd/certs.d/_default/ca.crt", "etc/rancher/k3s/registries.yaml",
			"etc/containers/registries.conf", "etc/containers/registries.conf.d/1.conf", "etc/crio/crio.conf", "etc/crio/auth.json", "run/containers/0/auth.json",
			"etc/containers/certs.d/quay.io/x.cert", "etc/docker/daemon.json",
		} {
			check(t, fstest.MapFS{name: {Data: []byte(content)}}, content)
			fsys[name] = &fstest.MapFile{Data: []byte(content)}
		}
		check(t, fsys, content)
		fsys["etc/containerd/config.toml"] = &fstest.MapFile{Data: []byte("version = 3\n[plugins.\"io.containerd.cri.v1.images\".registry]\nconfig_path = \"/etc/containerd/certs.d\"")}
		check(t, fsys, content)
	})
}

func check(t *testing.T, fsys fstest.MapFS, content string) {
	t.Helper()
	node, err := mirrors.Read(fsys)
	require.NoError(t, err)
	all := []mirrors.Runtime{mirrors.Containerd16, mirrors.Containerd17, mirrors.Containerd2, mirrors.K3s, mirrors.CRIO, mirrors.Podman, mirrors.Docker}
	secret := strings.Contains(content, "s3cret")
	for _, runtime := range all {
		for _, i := range []registry.Image{
			{Host: "ghcr.io", Repository: "team/app", Tag: "1"}, {Host: "docker.io", Repository: "library/app", Tag: "1"}, {Host: "127.0.0.1:5000", Repository: "app", Digest: digest[1:]},
		} {
			route := node.Route(runtime, i, true)
			require.True(t, route.Broken != "" || len(route.Hops) > 0)
			require.NotContains(t, route.Broken, "\n")
			for _, h := range route.Hops {
				require.NotContains(t, h.String(), "\n")
			}
			if secret {
				require.NotContains(t, route.String(), "s3cret")
			}
		}
	}
	for _, finding := range node.Lint(mirrors.LintOptions{Runtimes: all, Registries: []string{"ghcr.io", "docker.io", "quay.io/team"}}) {
		require.NotContains(t, finding.String(), "\n")
		if secret {
			require.NotContains(t, finding.String(), "s3cret")
		}
	}
}

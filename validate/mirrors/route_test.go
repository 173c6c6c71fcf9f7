package mirrors_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/validate/mirrors"
)

// files returns a file system with the files of a text in the form "--- NAME" and then the content.
func files(text string) fstest.MapFS {
	fsys := fstest.MapFS{"etc": {Mode: 0o755 | 1<<31}}
	for part := range strings.SplitSeq("\n"+text, "\n--- ") {
		if name, content, ok := strings.Cut(part, "\n"); ok && name != "" {
			fsys[name] = &fstest.MapFile{Data: []byte(content + "\n")}
		}
	}
	return fsys
}

func read(t testing.TB, text string) *mirrors.Node {
	t.Helper()
	node, err := mirrors.Read(files(text))
	require.NoError(t, err)
	return node
}

func image(t testing.TB, name string) registry.Image {
	t.Helper()
	i, err := registry.ParseImage(name)
	require.NoError(t, err)
	return i
}

const (
	containerd1Conf = "--- etc/containerd/config.toml\nversion = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"/etc/containerd/certs.d\"\n"
	containerd2Conf = "--- etc/containerd/config.toml\nversion = 3\n[plugins.\"io.containerd.cri.v1.images\".registry]\nconfig_path = \"/etc/containerd/certs.d\"\n"
	hub             = "--- etc/containerd/certs.d/docker.io/hosts.toml\n"
	digest          = "@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

func TestRoute(t *testing.T) {
	for _, test := range []struct {
		name, files string
		runtimes    []mirrors.Runtime
		image       string
		secret      bool
		want        string
	}{
		{"no files", "", []mirrors.Runtime{mirrors.Containerd16, mirrors.Containerd17, mirrors.Containerd2, mirrors.K3s, mirrors.CRIO, mirrors.Podman, mirrors.Docker}, "nginx", true,
			"https://registry-1.docker.io/v2/library/nginx, login: pull secret"},
		{"a mirror receives the pull secret", containerd1Conf + hub + `[host."https://mirror.example.com"]`,
			[]mirrors.Runtime{mirrors.Containerd16, mirrors.Containerd17, mirrors.Containerd2}, "nginx", true,
			"https://mirror.example.com/v2/library/nginx?ns=docker.io, login: pull secret\n" +
				"https://registry-1.docker.io/v2/library/nginx, login: pull secret"},
		{"override_path, server at another host", containerd2Conf + hub + "server = \"https://b.example.com\"\n[host.\"https://a.example.com/v2/proxy\"]\noverride_path = true",
			[]mirrors.Runtime{mirrors.Containerd2}, "nginx", false,
			"https://a.example.com/v2/proxy/library/nginx?ns=docker.io, no login\nhttps://b.example.com/v2/library/nginx?ns=docker.io, no login"},
		{"a path without override_path", containerd2Conf + hub + `[host."https://a.example.com/proxy"]`, []mirrors.Runtime{mirrors.Containerd2}, "nginx", false,
			"https://a.example.com/proxy/v2/library/nginx?ns=docker.io, no login\nhttps://registry-1.docker.io/v2/library/nginx, no login"},
		{"server alone, containerd 1.6", containerd1Conf + hub + `server = "https://b.example.com"`, []mirrors.Runtime{mirrors.Containerd16}, "nginx", false,
			"https://registry-1.docker.io/v2/library/nginx, no login"},
		{"server alone", containerd1Conf + hub + `server = "https://b.example.com"`, []mirrors.Runtime{mirrors.Containerd17, mirrors.Containerd2}, "nginx", false,
			"https://b.example.com/v2/library/nginx?ns=docker.io, no login"},
		{"pull alone is not for tags", containerd2Conf + hub + "[host.\"https://a.example.com\"]\ncapabilities = [\"pull\"]", []mirrors.Runtime{mirrors.Containerd2}, "nginx", true,
			"https://a.example.com/v2/library/nginx?ns=docker.io, not for this reference, login: pull secret\n" +
				"https://registry-1.docker.io/v2/library/nginx, login: pull secret"},
		{"pull is for digests", containerd2Conf + hub + "[host.\"https://a.example.com\"]\ncapabilities = [\"pull\"]", []mirrors.Runtime{mirrors.Containerd2}, "nginx" + digest, false,
			"https://a.example.com/v2/library/nginx?ns=docker.io, no login\nhttps://registry-1.docker.io/v2/library/nginx, no login"},
		{"an unknown capability", containerd2Conf + hub + "[host.\"https://a.example.com\"]\ncapabilities = [\"fetch\"]", []mirrors.Runtime{mirrors.Containerd2}, "nginx", false,
			"https://registry-1.docker.io/v2/library/nginx, no login"},
		{"no capability for tags", containerd2Conf + hub + "server = \"https://b.example.com\"\ncapabilities = [\"push\"]", []mirrors.Runtime{mirrors.Containerd2}, "nginx", false,
			"fails: no host has the capabilities pull and resolve, which a pull by tag needs"},
		{"a missing CA", containerd2Conf + hub + "[host.\"https://a.example.com\"]\nca = \"ca.crt\"", []mirrors.Runtime{mirrors.Containerd2}, "nginx", false,
			"fails: the file /etc/containerd/certs.d/docker.io/ca.crt does not exist"},
		{"a CA outside of the copy", containerd2Conf + hub + "[host.\"https://a.example.com\"]\nca = \"/usr/local/ca.crt\"", []mirrors.Runtime{mirrors.Containerd2}, "nginx", false,
			"https://a.example.com/v2/library/nginx?ns=docker.io, no login\nhttps://registry-1.docker.io/v2/library/nginx, no login"},
		{"the port in the folder's name", containerd2Conf + "--- etc/containerd/certs.d/h.example.com_5000_/hosts.toml\n[host.\"https://a.example.com\"]",
			[]mirrors.Runtime{mirrors.Containerd2}, "h.example.com:5000/app", false,
			"https://a.example.com/v2/app?ns=h.example.com:5000, no login\nhttps://h.example.com:5000/v2/app, no login"},
		{"two tables of one host, containerd 1", containerd1Conf + hub + "[host.\"https://a.example.com\"]\n[host.\"https://b.example.com\"]\n[host.\"https://a.example.com\".header]\nX = \"y\"",
			[]mirrors.Runtime{mirrors.Containerd16, mirrors.Containerd17}, "nginx", false,
			"https://a.example.com/v2/library/nginx?ns=docker.io, no login\nhttps://b.example.com/v2/library/nginx?ns=docker.io, no login\nhttps://registry-1.docker.io/v2/library/nginx, no login"},
		{"two tables of one host, containerd 2", containerd2Conf + hub + "[host.\"https://a.example.com\"]\n[host.\"https://b.example.com\"]\n[host.\"https://a.example.com\".header]\nX = \"y\"",
			[]mirrors.Runtime{mirrors.Containerd2}, "nginx", false,
			"https://a.example.com/v2/library/nginx?ns=docker.io, no login\nhttps://b.example.com/v2/library/nginx?ns=docker.io, no login\n" +
				"https://a.example.com/v2/library/nginx?ns=docker.io, no login\nhttps://registry-1.docker.io/v2/library/nginx, no login"},
		{"a login of the node implies a local pull", "--- etc/containerd/config.toml\nversion = 3\n[plugins.\"io.containerd.cri.v1.images\".registry]\nconfig_path = \"/x:/etc/containerd/certs.d\"\n" +
			"[plugins.\"io.containerd.cri.v1.images\".registry.configs.\"x\".auth]\nusername = \"x\"\n" + hub + `[host."https://a.example.com"]`, []mirrors.Runtime{mirrors.Containerd2}, "nginx", false,
			"https://a.example.com/v2/library/nginx?ns=docker.io, no login\nhttps://registry-1.docker.io/v2/library/nginx, no login"},
		{"hosts.toml is a folder", containerd2Conf + "--- etc/containerd/certs.d/docker.io/hosts.toml/x\n", []mirrors.Runtime{mirrors.Containerd2}, "nginx", false,
			"fails: /etc/containerd/certs.d/docker.io/hosts.toml cannot be read: read etc/containerd/certs.d/docker.io/hosts.toml: invalid argument"},
		{"CRI-O, a star", "--- etc/containers/registries.conf\n[[registry]]\nprefix = \"*.example.com\"\nlocation = \"m.example.net\"", []mirrors.Runtime{mirrors.CRIO}, "a.b.example.com:5000/team/app", false,
			"https://m.example.net:5000/v2/team/app, no login"},
		{"CRI-O, a star, other hosts", "--- etc/containers/registries.conf\n[[registry]]\nprefix = \"*.example.com\"\nlocation = \"m.example.net\"", []mirrors.Runtime{mirrors.CRIO}, "ghcr.io/a.example.com/app", false,
			"https://ghcr.io/v2/a.example.com/app, no login"},
		{"CRI-O, two tables of one location", "--- etc/containers/registries.conf\n[[registry]]\nprefix = \"ghcr.io/a\"\nlocation = \"m.example.com\"\n[[registry]]\nprefix = \"ghcr.io/b\"\nlocation = \"m.example.com\"\ninsecure = true",
			[]mirrors.Runtime{mirrors.CRIO}, "nginx", false,
			`fails: /etc/containers/registries.conf is not valid: the registry "m.example.com" has two tables that differ in insecure or blocked`},
		{"Docker", "--- etc/docker/daemon.json\n{\"registry-mirrors\": [\"https://mirror.example.com\", \"http://10.0.0.1:5000/\"]}", []mirrors.Runtime{mirrors.Docker}, "nginx", true,
			"https://mirror.example.com/v2/library/nginx, login: pull secret\nhttp://10.0.0.1:5000/v2/library/nginx, login: pull secret\nhttps://registry-1.docker.io/v2/library/nginx, login: pull secret"},
		{"Docker, another registry", "--- etc/docker/daemon.json\n{\"registry-mirrors\": [\"https://mirror.example.com\"], \"insecure-registries\": [\"10.0.0.0/8\"]}", []mirrors.Runtime{mirrors.Docker}, "10.0.0.1:5000/app", false,
			"https://10.0.0.1:5000/v2/app, or plain HTTP, certificate not verified, no login"},
		{"Docker, a mirror with a path", "--- etc/docker/daemon.json\n{\"registry-mirrors\": [\"https://mirror.example.com/hub/\"]}", []mirrors.Runtime{mirrors.Docker}, "nginx", false,
			"https://mirror.example.com/hub/v2/library/nginx, no login\nhttps://registry-1.docker.io/v2/library/nginx, no login"},
		{"Docker, a mirror without a scheme", "--- etc/docker/daemon.json\n{\"registry-mirrors\": [\"mirror.example.com\"]}", []mirrors.Runtime{mirrors.Docker}, "ghcr.io/team/app", false,
			`fails: the mirror "mirror.example.com" in /etc/docker/daemon.json is not the URL of a host, with which Docker does not start`},
		{"docker.io is no mirror of itself", containerd2Conf + hub + `[host."https://docker.io"]`, []mirrors.Runtime{mirrors.Containerd2}, "nginx", false,
			"https://docker.io/v2/library/nginx, no login\nhttps://registry-1.docker.io/v2/library/nginx, no login"},
		{"_default", containerd2Conf + "--- etc/containerd/certs.d/_default/hosts.toml\n[host.\"https://a.example.com\"]",
			[]mirrors.Runtime{mirrors.Containerd2}, "ghcr.io/team/app", false,
			"https://a.example.com/v2/team/app?ns=ghcr.io, no login\nhttps://ghcr.io/v2/team/app, no login"},
		{"containerd 2 ignores two folders", strings.Replace(containerd2Conf, `certs.d"`, `certs.d:/etc/docker/certs.d"`, 1) + hub + `[host."https://a.example.com"]`,
			[]mirrors.Runtime{mirrors.Containerd2}, "nginx", false, "https://registry-1.docker.io/v2/library/nginx, no login"},
		{"containerd 2 ignores its default", hub + `[host."https://a.example.com"]`,
			[]mirrors.Runtime{mirrors.Containerd2}, "nginx", false, "https://registry-1.docker.io/v2/library/nginx, no login"},
		{"containerd 2 reads its default in a local pull", "--- etc/containerd/config.toml\nversion = 3\n[plugins.\"io.containerd.cri.v1.images\"]\nuse_local_image_pull = true\n" + hub + `[host."https://a.example.com"]`,
			[]mirrors.Runtime{mirrors.Containerd2}, "nginx", false,
			"https://a.example.com/v2/library/nginx?ns=docker.io, no login\nhttps://registry-1.docker.io/v2/library/nginx, no login"},
		{"containerd 1 does not start with version 3", containerd2Conf, []mirrors.Runtime{mirrors.Containerd17}, "nginx", false,
			"fails: /etc/containerd/config.toml has version 3, with which containerd 1.7 does not start"},
		{"the node's login without a pull secret", containerd1Conf + "[plugins.\"io.containerd.grpc.v1.cri\".registry.configs.\"a.example.com\".auth]\nusername = \"node\"\npassword = \"x\"\n" + hub + `[host."https://a.example.com"]`,
			[]mirrors.Runtime{mirrors.Containerd17, mirrors.Containerd2}, "nginx", false,
			"https://a.example.com/v2/library/nginx?ns=docker.io, login: node\nhttps://registry-1.docker.io/v2/library/nginx, no login"},
		{"a pull secret disables the node's login", containerd1Conf + "[plugins.\"io.containerd.grpc.v1.cri\".registry.configs.\"a.example.com\".auth]\nusername = \"node\"\npassword = \"x\"\n" + hub + `[host."https://a.example.com"]`,
			[]mirrors.Runtime{mirrors.Containerd17, mirrors.Containerd2}, "nginx", true,
			"https://a.example.com/v2/library/nginx?ns=docker.io, login: pull secret\nhttps://registry-1.docker.io/v2/library/nginx, login: pull secret"},
		{"registry.mirrors", "--- etc/containerd/config.toml\nversion = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry.mirrors.\"*\"]\nendpoint = [\"https://a.example.com/v2/x\", \"localhost:5000\"]\n",
			[]mirrors.Runtime{mirrors.Containerd16, mirrors.Containerd17, mirrors.Containerd2}, "ghcr.io/team/app", false,
			"https://a.example.com/v2/x/team/app?ns=ghcr.io, no login\nhttp://localhost:5000/v2/team/app?ns=ghcr.io, no login\nhttps://ghcr.io/v2/team/app, no login"},
		{"k3s", `--- etc/rancher/k3s/registries.yaml
mirrors:
  docker.io:
    endpoint: ["https://a.example.com/v2/proxy"]
    rewrite: {"^library/(.*)": "hub/$1"}
configs:
  a.example.com: {auth: {username: node, password: x}}`, []mirrors.Runtime{mirrors.K3s}, "nginx", false,
			"https://a.example.com/v2/proxy/hub/nginx?ns=docker.io, login: node\nhttps://registry-1.docker.io/v2/library/nginx, no login"},
		{"k3s without the default endpoint", `--- etc/rancher/rke2/config.yaml
disable-default-registry-endpoint: true
--- etc/rancher/rke2/registries.yaml
mirrors: {"*": {endpoint: ["a.example.com"]}}`, []mirrors.Runtime{mirrors.K3s}, "nginx", true,
			"https://a.example.com/v2/library/nginx?ns=docker.io, login: pull secret"},
		{"CRI-O sends the pull secret to the image's own host only", `--- etc/containers/registries.conf
[[registry]]
location = "ghcr.io"
[[registry.mirror]]
location = "a.example.com/ghcr"`, []mirrors.Runtime{mirrors.CRIO}, "ghcr.io/team/app", true,
			"https://a.example.com/v2/ghcr/team/app, no login\nhttps://ghcr.io/v2/team/app, login: pull secret"},
		{"CRI-O, location at another host", `--- etc/containers/registries.conf
[[registry]]
prefix = "docker.io"
location = "proxy.example.com/hub"`, []mirrors.Runtime{mirrors.CRIO}, "nginx", true, "https://proxy.example.com/v2/hub/library/nginx, no login"},
		{"CRI-O, a mirror for digests", `--- etc/containers/registries.conf
[[registry]]
location = "ghcr.io"
mirror-by-digest-only = true
[[registry.mirror]]
location = "a.example.com"`, []mirrors.Runtime{mirrors.CRIO, mirrors.Podman}, "ghcr.io/team/app", false, "https://ghcr.io/v2/team/app, no login"},
		{"CRI-O, blocked with a mirror", `--- etc/containers/registries.conf.d/1.conf
[[registry]]
location = "ghcr.io"
blocked = true
[[registry.mirror]]
location = "a.example.com"
insecure = true
--- etc/crio/crio.conf.d/1.conf
[crio.image]
global_auth_file = "/etc/crio/auth.json"
--- etc/crio/auth.json
{"auths": {"a.example.com/team": {"auth": "bm9kZTp4"}}}`, []mirrors.Runtime{mirrors.CRIO}, "ghcr.io/team/app", true,
			"https://a.example.com/v2/team/app, or plain HTTP, certificate not verified, login: node"},
		{"CRI-O, a broken drop-in", "--- etc/containers/registries.conf.d/1.conf\n[[registry]]\nlocation = \"https://ghcr.io\"", []mirrors.Runtime{mirrors.CRIO}, "nginx", false,
			`fails: /etc/containers/registries.conf.d/1.conf is not valid: the location "https://ghcr.io" has a scheme`},
		{"CRI-O, a certificate with docker's extension for clients", "--- etc/containers/certs.d/ghcr.io/ca.cert\nx", []mirrors.Runtime{mirrors.CRIO}, "ghcr.io/team/app", false,
			"fails: the file /etc/containers/certs.d/ghcr.io/ca.cert has no key beside it, /etc/containers/certs.d/ghcr.io/ca.key; files of authorities must end in .crt"},
	} {
		t.Run(test.name, func(t *testing.T) {
			node := read(t, test.files)
			for _, runtime := range test.runtimes {
				require.Equal(t, test.want, node.Route(runtime, image(t, test.image), test.secret).String(), runtime)
			}
		})
	}
}

func TestRouteUnknownRuntime(t *testing.T) {
	require.Contains(t, read(t, "").Route("rkt", image(t, "nginx"), false).Broken, "rkt")
}

func TestNoSecretIsPrinted(t *testing.T) {
	node := read(t, "--- etc/rancher/k3s/registries.yaml\nconfigs: {a: {auth: {username: x, password: s3cret, auth: s3cret}}}\n"+containerd1Conf+"[plugins.\"io.containerd.grpc.v1.cri\".registry.configs.\"registry-1.docker.io\".auth]\nusername = \"node\"\npassword = \"s3cret\"\n"+
		hub+"[host.\"https://registry-1.docker.io\".header]\nAuthorization = \"Basic s3cret\"")
	route := node.Route(mirrors.Containerd2, image(t, "nginx"), false)
	require.Equal(t, mirrors.NodeLogin, route.Hops[1].Login)
	require.True(t, route.Hops[0].Header && route.Hops[0].HeaderToTokenServer)
	old := node.Route(mirrors.Containerd17, image(t, "nginx"), false)
	require.True(t, old.Hops[0].Header && !old.Hops[0].HeaderToTokenServer)
	require.False(t, route.Hops[1].Header || route.Hops[1].HeaderToTokenServer)
	for _, verb := range []string{"%v", "%+v", "%#v"} {
		require.NotContains(t, fmt.Sprintf(verb, route), "s3cret")
		require.NotContains(t, fmt.Sprintf(verb, *node), "s3cret")
	}
}

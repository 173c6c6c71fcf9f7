package mirrors_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/validate/mirrors"
)

// lint returns one short line for each finding.
func lint(t *testing.T, files string, o mirrors.LintOptions) []string {
	t.Helper()
	var lines []string
	for _, f := range read(t, files).Lint(o) {
		fatal := ""
		if f.Fatal {
			fatal = " fatal"
		}
		lines = append(lines, fmt.Sprintf("%s: %s%s", f.Subject, f.Rule, fatal))
		require.NotEmpty(t, f.Message)
		require.NotEmpty(t, f.Hint)
		require.NotContains(t, f.Message+f.Hint, "\n")
		require.False(t, strings.HasSuffix(f.Message, ".") || strings.HasSuffix(f.Hint, "."), f)
		require.NotEmpty(t, f.Runtimes)
	}
	return lines
}

func certificate(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func TestLint(t *testing.T) {
	const (
		ghcr     = "--- etc/containerd/certs.d/ghcr.io/hosts.toml\n"
		k3s      = "--- etc/rancher/k3s/registries.yaml\n"
		conf     = "--- etc/containers/registries.conf\n"
		nodeAuth = "[plugins.\"io.containerd.grpc.v1.cri\".registry.configs.\"mirror.example.com\".auth]\nusername = \"node\"\npassword = \"x\"\n"
	)
	pem := certificate(t)
	two := []mirrors.Runtime{mirrors.Containerd2}
	one := []mirrors.Runtime{mirrors.Containerd17}
	for _, test := range []struct {
		name, files string
		runtimes    []mirrors.Runtime
		registries  []string
		want        []string
	}{
		{"no files", "", nil, []string{"ghcr.io"}, nil},
		{"no mirrors", containerd2Conf, nil, []string{"ghcr.io"}, nil},
		{"a mirror of another site", containerd2Conf + ghcr + `[host."https://mirror.example.com"]`, nil, []string{"ghcr.io"},
			[]string{"ghcr.io: third-party"}},
		{"keys of pull secrets", containerd2Conf + hub + `[host."https://mirror.example.com"]`, nil, []string{"https://index.docker.io/v1/", "*"}, []string{"docker.io: third-party"}},
		{"a key with a star", containerd2Conf + "--- etc/containerd/certs.d/a.registry.example_5000_/hosts.toml\n" + `[host."https://mirror.example.com"]`, nil,
			[]string{"*.registry.example:5000/team", "*.example:5000", "*.registry.example"}, []string{"a.registry.example:5000/team: third-party"}},
		{"a key with a star, CRI-O", conf + "[[registry]]\nprefix = \"a.registry.example/x\"\nlocation = \"mirror.example.com\"", nil, []string{"*.registry.example"},
			[]string{"a.registry.example/x: no-login-at-mirror fatal"}},
		{"a registry without pull secrets", containerd2Conf + ghcr + `[host."https://mirror.example.com"]`, nil, []string{"quay.io/team"}, nil},
		{"a mirror of the same site", containerd2Conf + "--- etc/containerd/certs.d/a.example.com/hosts.toml\n" + `[host."https://mirror.example.com"]`, nil, []string{"a.example.com"}, nil},
		{"a trusted mirror", containerd2Conf + ghcr + `[host."https://mirror.corp.example:5000"]`, nil, []string{"ghcr.io"}, nil},
		{"the node's login", containerd1Conf + nodeAuth + ghcr + `[host."https://mirror.example.com"]`, one, []string{"ghcr.io"},
			[]string{"ghcr.io: node-login-unused", "ghcr.io: third-party"}},
		{"the node's login, and no way to the registry", containerd1Conf + nodeAuth + ghcr + `server = "https://mirror.example.com"`, one, []string{"ghcr.io"},
			[]string{"ghcr.io: node-login-unused fatal", "ghcr.io: registry-replaced", "ghcr.io: third-party"}},
		{"skip_verify", containerd2Conf + "--- etc/containerd/certs.d/a.example.com/hosts.toml\nskip_verify = true", nil, []string{"a.example.com"},
			[]string{"a.example.com: unverified"}},
		{"broken TOML", containerd2Conf + ghcr + `[host."https://mirror.example.com"`, nil, nil, []string{"/etc/containerd/certs.d/ghcr.io/hosts.toml: ignored-file"}},
		{"an unknown capability", containerd2Conf + ghcr + "[host.\"https://m.example.com\"]\ncapabilities = [\"get\"]", nil, nil, []string{"/etc/containerd/certs.d/ghcr.io/hosts.toml: ignored-file"}},
		{"a missing CA", containerd2Conf + ghcr + "ca = \"/etc/ca.crt\"", nil, []string{"ghcr.io"}, []string{"/etc/containerd/certs.d/ghcr.io/hosts.toml: missing-file fatal"}},
		{"a CA that is none", containerd2Conf + ghcr + "ca = \"hosts.toml\"", nil, nil, []string{"/etc/containerd/certs.d/ghcr.io/hosts.toml: missing-file fatal"}},
		{"no host for tags", containerd2Conf + ghcr + "server = \"https://ghcr.io\"\ncapabilities = [\"pull\"]", nil, []string{"ghcr.io"},
			[]string{"/etc/containerd/certs.d/ghcr.io/hosts.toml: no-host fatal", "ghcr.io: no-host fatal"}},
		{"no [host] for containerd 1.6", containerd1Conf + ghcr + "server = \"https://ghcr.io\"", []mirrors.Runtime{mirrors.Containerd16, mirrors.Containerd17}, nil,
			[]string{"/etc/containerd/certs.d/ghcr.io/hosts.toml: ignored-file"}},
		{"a certificate with another extension", containerd2Conf + "--- etc/containerd/certs.d/ghcr.io/ca.pem\n" + pem, nil, nil,
			[]string{"/etc/containerd/certs.d/ghcr.io/ca.pem: ignored-file"}},
		{"a certificate beside hosts.toml", containerd2Conf + "--- etc/containerd/certs.d/ghcr.io/ca.crt\n" + pem + ghcr + `[host."https://ghcr.io"]`, nil, nil,
			[]string{"/etc/containerd/certs.d/ghcr.io/ca.crt: ignored-file"}},
		{"the default config_path", ghcr + `[host."https://mirror.example.com"]`, two, []string{"ghcr.io"}, []string{"/etc/containerd/certs.d: ignored-folder"}},
		{"two folders", strings.Replace(containerd2Conf, `certs.d"`, `certs.d:/etc/docker/certs.d"`, 1) + ghcr, nil, nil, []string{"/etc/containerd/certs.d: ignored-folder"}},
		{"the section of another version", "--- etc/containerd/config.toml\nversion = 2\n[plugins.\"io.containerd.cri.v1.images\".registry]\nconfig_path = \"/x\"", one, nil,
			[]string{"/etc/containerd/config.toml: ignored-section"}},
		{"the old section in version 3", "--- etc/containerd/config.toml\nversion = 3\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"/x\"", nil, nil,
			[]string{"/etc/containerd/config.toml: ignored-section"}},
		{"version 3 with containerd 1", containerd2Conf, one, []string{"ghcr.io"}, []string{"/etc/containerd/config.toml: broken-file fatal"}},
		{"mirrors beside config_path", containerd1Conf + "[plugins.\"io.containerd.grpc.v1.cri\".registry.mirrors.\"ghcr.io\"]\nendpoint = [\"https://a\"]", two, nil,
			[]string{"/etc/containerd/config.toml: broken-file fatal"}},
		{"k3s", k3s + "mirrors: {ghcr.io: {endpoint: ['https://mirror.example.com']}}\nconfigs: {mirror.example.com: {auth: {username: node, password: x}}}", nil, []string{"ghcr.io"},
			[]string{"ghcr.io: node-login-unused", "ghcr.io: third-party"}},
		{"k3s without the default endpoint", "--- etc/rancher/k3s/config.yaml\ndisable-default-registry-endpoint: true\n" + k3s +
			"mirrors: {ghcr.io: {endpoint: ['https://mirror.example.com']}}\nconfigs: {mirror.example.com: {auth: {username: node, password: x}}}", nil, []string{"ghcr.io"},
			[]string{"ghcr.io: node-login-unused fatal", "ghcr.io: registry-replaced", "ghcr.io: third-party"}},
		{"k3s, configs hide the mirrors of all", k3s + "mirrors: {'*': {endpoint: ['https://mirror.example.com']}}\nconfigs: {ghcr.io: {auth: {username: u, password: x}}}", nil, nil,
			[]string{"/etc/rancher/k3s/registries.yaml: ignored-section"}},
		{"k3s, configs of an endpoint", k3s + "mirrors: {'*': {endpoint: ['https://ghcr.io']}}\nconfigs: {ghcr.io: {auth: {username: u, password: x}}, '*': {tls: {ca_file: /usr/x}}}", nil, nil, nil},
		{"docker's folder of containerd 1", containerd1Conf + "--- etc/docker/certs.d/ghcr.io/ca.pem\nx", one, nil, nil},
		{"a trusted mirror by host and port", containerd2Conf + ghcr + `[host."https://m.example.com:5000"]`, nil, []string{"ghcr.io"}, nil},
		{"k3s, a missing CA and a bad rewrite", k3s + "mirrors: {a.io: {endpoint: [m.example.com], rewrite: {'(': x}}, b.io: {endpoint: [m.example.com]}}\nconfigs: {m.example.com: {tls: {ca_file: /etc/none}}}", nil, nil,
			[]string{"/etc/rancher/k3s/registries.yaml: broken-file fatal", "/etc/rancher/k3s/registries.yaml: missing-file fatal", "/etc/rancher/k3s/registries.yaml: missing-file fatal"}},
		{"k3s, no YAML", k3s + "mirrors: [", nil, []string{"ghcr.io"}, []string{"/etc/rancher/k3s/registries.yaml: broken-file fatal"}},
		{"a mirror of Docker", "--- etc/docker/daemon.json\n{\"registry-mirrors\": [\"https://mirror.example.com\"]}", nil, []string{"docker.io", "ghcr.io"}, []string{"docker.io: third-party"}},
		{"no JSON", "--- etc/docker/daemon.json\n{", nil, []string{"docker.io"}, []string{"/etc/docker/daemon.json: broken-file fatal"}},
		{"a mirror of CRI-O", conf + "[[registry]]\nlocation = \"ghcr.io\"\n[[registry.mirror]]\nlocation = \"mirror.example.com\"", nil, []string{"ghcr.io"},
			[]string{"ghcr.io: no-login-at-mirror"}},
		{"a location of CRI-O", conf + "[[registry]]\nprefix = \"docker.io\"\nlocation = \"mirror.example.com\"", nil, []string{"docker.io"},
			[]string{"docker.io: no-login-at-mirror fatal"}},
		{"a prefix below the registry", conf + "[[registry]]\nprefix = \"quay.io/team/x\"\nlocation = \"mirror.example.com/x\"", nil, []string{"quay.io/team"},
			[]string{"quay.io/team/x: no-login-at-mirror fatal"}},
		{"a mirror with a login of the node", conf + "[[registry]]\nlocation = \"ghcr.io\"\n[[registry.mirror]]\nlocation = \"mirror.example.com\"\n--- run/containers/0/auth.json\n" +
			`{"auths":{"mirror.example.com":{"auth":"bm9kZTp4"}}}`, nil, []string{"ghcr.io"}, nil},
		{"a broken drop-in", "--- etc/containers/registries.conf.d/1.conf\n[[registry]]\n--- etc/containers/registries.conf.d/2.toml\nx", nil, []string{"ghcr.io"},
			[]string{"/etc/containers/registries.conf.d/1.conf: broken-file fatal", "/etc/containers/registries.conf.d/2.toml: ignored-file"}},
		{"certificates of CRI-O", "--- etc/containers/certs.d/a.example.com/ca.cert\n" + pem + "--- etc/containers/certs.d/b.example.com/ca.pem\n" + pem, nil, nil,
			[]string{"/etc/containers/certs.d/a.example.com: missing-file fatal", "/etc/containers/certs.d/b.example.com/ca.pem: ignored-file"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			require.Equal(t, test.want, lint(t, test.files, mirrors.LintOptions{Registries: test.registries, Runtimes: test.runtimes, Trusted: []string{"*.corp.example", "m.example.com:5000"}}))
		})
	}
}

func TestFindingsOfSeveralRuntimesAreOne(t *testing.T) {
	node := read(t, containerd1Conf+hub+`[host."https://mirror.example.com"]`)
	findings := node.Lint(mirrors.LintOptions{Registries: []string{"docker.io"}})
	require.Len(t, findings, 1)
	require.Equal(t, []mirrors.Runtime{mirrors.Containerd16, mirrors.Containerd17, mirrors.Containerd2}, findings[0].Runtimes)
	require.Contains(t, findings[0].String(), "docker.io: the password of a pull secret for it is sent to mirror.example.com")
}

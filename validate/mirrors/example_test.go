package mirrors_test

import (
	"fmt"
	"testing/fstest"

	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/validate/mirrors"
)

// A node with containerd 2 and a mirror for ghcr.io. Use os.DirFS for the files of a real node.
func ExampleNode_Route() {
	files := fstest.MapFS{
		"etc/containerd/config.toml": {Data: []byte(`version = 3
[plugins."io.containerd.cri.v1.images".registry]
config_path = "/etc/containerd/certs.d"`)},
		"etc/containerd/certs.d/ghcr.io/hosts.toml": {Data: []byte(`[host."https://mirror.example.com/v2/ghcr"]
override_path = true`)},
	}
	node, err := mirrors.Read(files)
	if err != nil {
		fmt.Println(err)
		return
	}
	image, err := registry.ParseImage("ghcr.io/team/app:1")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(node.Route(mirrors.Containerd2, image, true))
	// Output:
	// https://mirror.example.com/v2/ghcr/team/app?ns=ghcr.io, login: pull secret
	// https://ghcr.io/v2/team/app, login: pull secret
}

// A pull secret for ghcr.io would disable the login that the nodes have for their mirror.
func ExampleNode_Lint() {
	node, err := mirrors.Read(fstest.MapFS{
		"etc/rancher/k3s/registries.yaml": {Data: []byte(`
mirrors:
  ghcr.io: {endpoint: ["https://mirror.ghcr.io"]}
configs:
  mirror.ghcr.io: {auth: {username: node, password: example}}
`)},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, finding := range node.Lint(mirrors.LintOptions{Registries: []string{"ghcr.io"}}) {
		fmt.Println(finding.Subject, finding.Rule)
		fmt.Println(finding.Message)
	}
	// Output:
	// ghcr.io node-login-unused
	// a pull secret for it replaces the node's own login at mirror.ghcr.io; the registry itself is contacted next, which must be reachable
}

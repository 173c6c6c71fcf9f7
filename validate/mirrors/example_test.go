package mirrors_test

import (
	"context"
	"fmt"
	"testing/fstest"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
	"github.com/regcred/regcred/validate"
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

// The mirror is on another site, so that the check does not send it the password of the pull secret, as containerd does.
func ExampleChecker() {
	node, err := mirrors.Read(fstest.MapFS{
		"etc/containerd/config.toml": {Data: []byte(`version = 3
[plugins."io.containerd.cri.v1.images".registry]
config_path = "/etc/containerd/certs.d"`)},
		"etc/containerd/certs.d/ghcr.io/hosts.toml": {Data: []byte(`[host."https://mirror.example.com"]`)},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	image, err := registry.ParseImage("ghcr.io/team/app:1")
	if err != nil {
		fmt.Println(err)
		return
	}
	account := registrytest.Account{Username: "ci", Password: credentials.NewSecret("example"), Pull: []string{"team/*"}}
	ghcr := &registrytest.Registry{Dialect: registrytest.GHCR(), Accounts: []registrytest.Account{account}}
	if _, err := ghcr.Add("team/app:1", registrytest.Image{}); err != nil {
		fmt.Println(err)
		return
	}
	candidate := validate.Candidate{Name: "ghcr", Source: credentials.Static(credentials.Credential{Username: "ci", Password: credentials.NewSecret("example")})}

	checker := mirrors.Checker{RoundTripper: ghcr.RoundTripper()} // In place of the network.
	result, err := checker.Check(context.Background(), node, node.Route(mirrors.Containerd2, image, true), candidate)
	fmt.Println(result.Pulls, result.Host, err)
	for _, hop := range result.Hops {
		fmt.Println(hop.Hop.Host, hop.Checked, registry.CodeOf(hop.Err))
	}
	// Output:
	// yes ghcr.io <nil>
	// mirror.example.com false insecure
	// ghcr.io true
}

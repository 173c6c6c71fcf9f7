package mirrors_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/egress"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
	"github.com/regcred/regcred/validate"
	"github.com/regcred/regcred/validate/mirrors"
)

const (
	certsMirror = "--- etc/containerd/certs.d/origin.example.com/hosts.toml\n[host.\"https://mirror.example.com\"]\n"
	confMirror  = "--- etc/containers/registries.conf\n[[registry]]\nlocation = \"origin.example.com\"\n[[registry.mirror]]\nlocation = \"mirror.example.com\"\n"
	k3sMirror   = "--- etc/rancher/k3s/registries.yaml\nmirrors: {origin.example.com: {endpoint: [\"https://mirror.example.com\"]}}\n"
)

// open serves a registry to everyone.
func open(r *registrytest.Registry) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		req.SetBasicAuth("ann", "origin")
		r.ServeHTTP(w, req)
	})
}

func holding(t testing.TB, i registrytest.Image) *registrytest.Registry {
	t.Helper()
	r := &registrytest.Registry{Accounts: []registrytest.Account{
		{Username: "ann", Password: credentials.NewSecret("origin"), Pull: []string{"*"}},
	}}
	_, err := r.Add("team/app:1", i)
	require.NoError(t, err)
	return r
}

// TestCheckChoosesOnce has mirrors with another content than the registry. The runtime does not look for a tag at the
// next host once one has it.
func TestCheckChoosesOnce(t *testing.T) {
	amd64 := registrytest.Image{Index: true, Platforms: []string{"linux/amd64"}}
	both := registrytest.Image{Index: true, Platforms: []string{"linux/amd64", "linux/arm64"}}
	withoutLayers := both
	withoutLayers.Without = registrytest.Layers
	older := withoutLayers
	older.Files = map[string]string{"old": "old"}
	for _, test := range []struct {
		name            string
		mirror          registrytest.Image
		containerd, one validate.Answer // one: of runtimes that choose a host for the whole image.
	}{
		{"the same image", both, validate.Yes, validate.Yes},
		{"another platform", amd64, validate.No, validate.No},
		{"obsolete", registrytest.Image{Format: registrytest.DockerSchema1}, validate.No, validate.No},
		{"without layers", withoutLayers, validate.Yes, validate.No},
		{"an older image without layers", older, validate.Unknown, validate.No},
	} {
		for runtime, files := range map[mirrors.Runtime]string{
			mirrors.Containerd2: containerd2Conf + certsMirror, mirrors.K3s: k3sMirror, mirrors.CRIO: confMirror, mirrors.Podman: confMirror,
		} {
			t.Run(test.name+"/"+string(runtime), func(t *testing.T) {
				n := &network{hosts: map[string]http.Handler{"mirror.example.com": open(holding(t, test.mirror)), "origin.example.com": open(holding(t, both))}}
				node := read(t, files)
				checker := mirrors.Checker{RoundTripper: registrytest.NewRoundTripper(n), Deep: true, Platforms: []validate.Platform{{OS: "linux", Architecture: "arm64"}}}
				result, err := checker.Check(t.Context(), node, node.Route(runtime, image(t, "origin.example.com/team/app:1"), false))
				want := test.containerd
				if runtime == mirrors.CRIO || runtime == mirrors.Podman {
					want = test.one
				}
				require.Equal(t, want, result.Pulls, "%v", err)
				require.Equal(t, want == validate.Yes, err == nil)
			})
		}
	}
}

// TestOwnRestrictionsAreNoVerdict has hosts that this program does not contact and the runtime does.
func TestOwnRestrictionsAreNoVerdict(t *testing.T) {
	check := func(files, name string, c mirrors.Checker) (mirrors.RouteResult, error) {
		node := read(t, files)
		return c.Check(t.Context(), node, node.Route(mirrors.Containerd2, image(t, name), false))
	}
	untrusted := roundTripFunc(func(*http.Request) (*http.Response, error) { return nil, registry.ErrTLSUnknownIssuer })
	only := containerd2Conf + "--- etc/containerd/certs.d/origin.example.com/hosts.toml\nserver = \"https://mirror.example.com\"\nskip_verify = true"
	result, err := check(only, "origin.example.com/team/app:1", mirrors.Checker{RoundTripper: untrusted})
	require.ErrorIs(t, err, registry.ErrTLS)
	require.Equal(t, validate.Unknown, result.Pulls)
	result, _ = check(only, "origin.example.com/team/app:1", mirrors.Checker{RoundTripper: untrusted, SkipVerify: true})
	require.Equal(t, validate.No, result.Pulls, "the certificate was not the reason")

	result, err = check("", "10.0.0.1/team/app:1", mirrors.Checker{RoundTripper: untrusted, Transport: registry.TransportConfig{Egress: &egress.Policy{}}})
	require.ErrorIs(t, err, registry.ErrEgressDenied)
	require.Equal(t, validate.Unknown, result.Pulls)

	redirect := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		http.Redirect(w, req, "http://origin.example.com"+req.URL.Path, http.StatusTemporaryRedirect)
	})
	result, err = check("", "origin.example.com/team/app:1", mirrors.Checker{RoundTripper: registrytest.NewRoundTripper(redirect)})
	require.ErrorIs(t, err, registry.ErrInsecure)
	require.Equal(t, validate.Unknown, result.Pulls)
}

// TestDockerIOIsNotTheAPI has docker.io as a host, which is a web site. The check must not use Docker Hub's API in its
// place.
func TestDockerIOIsNotTheAPI(t *testing.T) {
	for _, name := range []string{"docker.io", "ghcr.io"} {
		n := &network{hosts: map[string]http.Handler{"registry-1.docker.io": open(holding(t, registrytest.Image{}))}}
		node := read(t, containerd2Conf+"--- etc/containerd/certs.d/"+name+"/hosts.toml\nserver = \"https://docker.io\"")
		checker := mirrors.Checker{RoundTripper: registrytest.NewRoundTripper(n)}
		result, err := checker.Check(t.Context(), node, node.Route(mirrors.Containerd2, image(t, name+"/team/app:1"), false))
		require.ErrorContains(t, err, "registry-1.docker.io")
		require.Equal(t, validate.Unknown, result.Pulls)
		require.False(t, result.Hops[0].Checked)
		require.Empty(t, n.log)
	}
}

// TestCheckJudgesByTheReleaseLine has an image that containerd 1.7 pulls and containerd 2 does not.
func TestCheckJudgesByTheReleaseLine(t *testing.T) {
	n := &network{hosts: map[string]http.Handler{"origin.example.com": open(holding(t, registrytest.Image{Format: registrytest.DockerSchema1}))}}
	checker := mirrors.Checker{RoundTripper: registrytest.NewRoundTripper(n)}
	for runtime, want := range map[mirrors.Runtime]validate.Answer{
		mirrors.Containerd16: validate.Yes, mirrors.Containerd17: validate.Yes, mirrors.Containerd2: validate.No,
	} {
		node := read(t, "")
		result, err := checker.Check(t.Context(), node, node.Route(runtime, image(t, "origin.example.com/team/app:1"), false))
		require.Equal(t, want, result.Pulls, "%s: %v", runtime, err)
		if want == validate.No {
			require.ErrorIs(t, err, registry.ErrObsolete)
			require.ErrorContains(t, err, "check image origin.example.com/team/app:1")
		}
	}
}

// TestMirrorDoesNotInvalidateLogin has a mirror that rejects the registry's login, which stays valid at the registry.
func TestMirrorDoesNotInvalidateLogin(t *testing.T) {
	var refused []string
	ann := candidate("ann", "origin")
	ann.OnRejected = func(c credentials.Credential) { refused = append(refused, c.Username) }
	n := &network{hosts: map[string]http.Handler{"origin.example.com": site(t, registrytest.Dialect{}, "ann", "origin"), "mirror.example.com": site(t, registrytest.Dialect{}, "bob", "mirror")}}
	checker := mirrors.Checker{RoundTripper: registrytest.NewRoundTripper(n)}
	node := read(t, containerd2Conf+certsMirror)
	route := node.Route(mirrors.Containerd2, image(t, "origin.example.com/team/app:1"), true)
	result, err := checker.Check(t.Context(), node, route, ann)
	require.NoError(t, err)
	require.Equal(t, "origin.example.com", result.Host)
	require.Empty(t, refused)

	n.hosts["origin.example.com"] = n.hosts["mirror.example.com"]
	_, err = checker.Check(t.Context(), node, route, ann)
	require.Error(t, err)
	require.Equal(t, []string{"ann"}, refused)
}

// TestClientCertificateWasNotCopied has a client certificate in a folder of the node that is not in the copy.
func TestClientCertificateWasNotCopied(t *testing.T) {
	for _, setting := range []string{`client = "/usr/client.pem"`, `ca = "/usr/ca.pem"`} {
		n := &network{hosts: map[string]http.Handler{"mirror.example.com": open(holding(t, registrytest.Image{}))}}
		checker := mirrors.Checker{RoundTripper: registrytest.NewRoundTripper(n)}
		node := read(t, containerd2Conf+"--- etc/containerd/certs.d/origin.example.com/hosts.toml\nserver = \"https://mirror.example.com\"\n"+setting)
		result, err := checker.Check(t.Context(), node, node.Route(mirrors.Containerd2, image(t, "origin.example.com/team/app:1"), false))
		require.ErrorIs(t, err, registry.ErrInvalid)
		require.ErrorContains(t, err, "/usr/")
		require.Equal(t, validate.Unknown, result.Pulls)
		require.Empty(t, strings.Join(n.log, "\n"))
	}
}

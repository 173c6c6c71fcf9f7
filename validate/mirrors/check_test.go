package mirrors_test

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/egress"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
	"github.com/regcred/regcred/validate"
	"github.com/regcred/regcred/validate/mirrors"
)

// A site is a registry with team/app:1 and one account.
func site(t testing.TB, dialect registrytest.Dialect, username, password string) *registrytest.Registry {
	t.Helper()
	r := &registrytest.Registry{Dialect: dialect, Accounts: []registrytest.Account{
		{Username: username, Password: credentials.NewSecret(password), Pull: []string{"*"}},
	}}
	_, err := r.Add("team/app:1", registrytest.Image{Platforms: []string{"linux/amd64"}})
	require.NoError(t, err)
	return r
}

// A network is a network of registries by their hosts, with the requests that they received.
type network struct {
	hosts map[string]http.Handler

	mu  sync.Mutex
	log []string // Read it after the check.
}

func (n *network) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	scheme, _, _ := strings.Cut(req.Header.Get("Authorization"), " ")
	if name, _, ok := req.BasicAuth(); ok {
		scheme = name
	}
	n.mu.Lock()
	n.log = append(n.log, strings.TrimSpace(req.Method+" "+req.Host+req.URL.RequestURI()+" "+scheme))
	n.mu.Unlock()
	h := n.hosts[req.Host]
	if h == nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	h.ServeHTTP(w, req)
}

// below serves a registry below a path, as Harbor serves its proxy projects.
func below(root string, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		switch rest, ok := strings.CutPrefix(req.URL.Path, root); {
		case ok:
			req.URL.Path = "/v2" + rest
			req.RequestURI = req.URL.RequestURI()
		case strings.HasPrefix(req.URL.Path, "/v2"):
			http.NotFound(w, req)
			return
		}
		h.ServeHTTP(w, req)
	})
}

func candidate(username, password string) validate.Candidate {
	return validate.Candidate{Name: username, Source: credentials.Static(credentials.Credential{Username: username, Password: credentials.NewSecret(password)})}
}

// TestCheck has the outcomes of docs/mirrors.md: which login opens the image on which runtime.
func TestCheck(t *testing.T) {
	const (
		hosts = "--- etc/containerd/certs.d/origin.example.com/hosts.toml\n[host.\"https://mirror.example.com/v2/proxy\"]\noverride_path = true\n"
		only  = "--- etc/containerd/certs.d/origin.example.com/hosts.toml\nserver = \"https://mirror.example.com/v2/proxy\"\noverride_path = true\n"
		auth  = "[plugins.\"io.containerd.cri.v1.images\".registry.configs.\"mirror.example.com\".auth]\nusername = \"bob\"\npassword = \"mirror\"\n"
		conf  = "--- etc/containers/registries.conf\n[[registry]]\nlocation = \"origin.example.com\"\n[[registry.mirror]]\nlocation = \"mirror.example.com\"\n"
		file  = "--- run/containers/0/auth.json\n{\"auths\":{\"mirror.example.com\":{\"auth\":\"Ym9iOm1pcnJvcg==\"}}}"
	)
	ann, bob := candidate("ann", "origin"), candidate("bob", "mirror")
	for _, test := range []struct {
		name, files string
		runtime     mirrors.Runtime
		candidates  []validate.Candidate
		host        string // Empty if the pull fails.
		code        registry.Code
	}{
		{"no secret", containerd2Conf + hosts, mirrors.Containerd2, nil, "", registry.ErrUnauthorized},
		{"the registry's login", containerd2Conf + hosts, mirrors.Containerd2, []validate.Candidate{ann}, "origin.example.com", ""},
		{"the mirror's login", containerd2Conf + hosts, mirrors.Containerd2, []validate.Candidate{bob}, "mirror.example.com", ""},
		{"the node's login", containerd2Conf + auth + hosts, mirrors.Containerd2, nil, "mirror.example.com", ""},
		{"the node's login at the only host", containerd2Conf + auth + only, mirrors.Containerd2, nil, "mirror.example.com", ""},
		{"a pull secret disables the node's login", containerd2Conf + auth + only, mirrors.Containerd2, []validate.Candidate{ann}, "", registry.ErrUnauthorized},
		{"a header", containerd2Conf + hosts + "[host.\"https://mirror.example.com/v2/proxy\".header]\nAuthorization = \"Basic Ym9iOm1pcnJvcg==\"", mirrors.Containerd2, nil, "mirror.example.com", ""},
		{"CRI-O, no secret", conf, mirrors.CRIO, nil, "", registry.ErrUnauthorized},
		{"CRI-O, the registry's login", conf, mirrors.CRIO, []validate.Candidate{ann}, "origin.example.com", ""},
		{"CRI-O, the mirror's login in a pull secret", conf, mirrors.CRIO, []validate.Candidate{bob}, "", registry.ErrUnauthorized},
		{"CRI-O, the node's file", conf + file, mirrors.CRIO, []validate.Candidate{bob}, "mirror.example.com", ""},
		{"a broken file", conf + "x", mirrors.CRIO, nil, "", registry.ErrInvalid},
	} {
		t.Run(test.name, func(t *testing.T) {
			mirror := site(t, registrytest.Dialect{}, "bob", "mirror")
			n := &network{hosts: map[string]http.Handler{"origin.example.com": site(t, registrytest.Dialect{}, "ann", "origin"), "mirror.example.com": below("/v2/proxy", mirror)}}
			if test.runtime == mirrors.CRIO {
				n.hosts["mirror.example.com"] = mirror
			}
			node := read(t, test.files)
			route := node.Route(test.runtime, image(t, "origin.example.com/team/app:1"), test.candidates != nil)
			checker := mirrors.Checker{RoundTripper: registrytest.NewRoundTripper(n), NodeLogins: true}
			result, err := checker.Check(t.Context(), node, route, test.candidates...)
			require.Equal(t, err, result.Err)
			require.Equal(t, test.host, result.Host, "%v\n%s", err, strings.Join(n.log, "\n"))
			if test.host == "" {
				require.Equal(t, validate.No, result.Pulls)
				require.ErrorIs(t, err, test.code)
				return
			}
			require.NoError(t, err)
			require.Equal(t, validate.Yes, result.Pulls)
		})
	}
}

// TestCheckRequests has the requests: the root of the API, the parameter ns, and the logins.
func TestCheckRequests(t *testing.T) {
	mirror := below("/v2/proxy", site(t, registrytest.Harbor(), "bob", "mirror"))
	n := &network{hosts: map[string]http.Handler{"mirror.example.com": mirror}}
	node := read(t, containerd2Conf+"--- etc/containerd/certs.d/origin.example.com/hosts.toml\nserver = \"https://mirror.example.com/v2/proxy\"\noverride_path = true\n")
	route := node.Route(mirrors.Containerd2, image(t, "origin.example.com/team/app:1"), true)
	checker := mirrors.Checker{RoundTripper: registrytest.NewRoundTripper(n), Platforms: []validate.Platform{{OS: "linux", Architecture: "amd64"}}}
	result, err := checker.Check(t.Context(), node, route, candidate("bob", "mirror"))
	require.NoError(t, err)
	require.Equal(t, "GET mirror.example.com/v2/proxy/", n.log[0])
	require.Contains(t, n.log, "HEAD mirror.example.com/v2/proxy/team/app/manifests/1?ns=origin.example.com Bearer")
	require.Equal(t, "https://mirror.example.com/v2/proxy/", result.Hops[0].Result.Attempts[0].Exchanges[0].URL)
	for _, e := range result.Hops[0].Result.Attempts[0].Exchanges {
		if e.Method == http.MethodHead {
			require.Equal(t, "https://mirror.example.com/v2/proxy/team/app/manifests/1?ns=origin.example.com", e.URL)
		}
	}
}

func TestCheckSendsNoLoginToOthers(t *testing.T) {
	n := &network{hosts: map[string]http.Handler{"mirror.example.net": site(t, registrytest.Dialect{}, "ann", "origin"), "origin.example.com": http.NotFoundHandler()}}
	node := read(t, containerd1Conf+"[plugins.\"io.containerd.grpc.v1.cri\".registry.configs.\"mirror.example.net\".auth]\nusername = \"ann\"\npassword = \"origin\"\n"+
		"--- etc/containerd/certs.d/origin.example.com/hosts.toml\n[host.\"https://mirror.example.net\"]")
	name := image(t, "origin.example.com/team/app:1")
	checker := mirrors.Checker{RoundTripper: registrytest.NewRoundTripper(n)}

	result, err := checker.Check(t.Context(), node, node.Route(mirrors.Containerd17, name, true), candidate("ann", "origin"))
	require.Error(t, err)
	require.Equal(t, validate.Unknown, result.Pulls)
	require.False(t, result.Hops[0].Checked)
	require.ErrorIs(t, result.Hops[0].Err, registry.ErrInsecure)
	require.NotContains(t, strings.Join(n.log, "\n"), "mirror.example.net")

	result, err = checker.Check(t.Context(), node, node.Route(mirrors.Containerd17, name, false))
	require.Error(t, err)
	require.False(t, result.Hops[0].Checked, "the node's login")
	require.NotContains(t, strings.Join(n.log, "\n"), "mirror.example.net")

	checker.Trusted = []string{"*.example.net"}
	result, err = checker.Check(t.Context(), node, node.Route(mirrors.Containerd17, name, true), candidate("ann", "origin"))
	require.NoError(t, err)
	require.Equal(t, "mirror.example.net", result.Host)
	for _, verb := range []string{"%v", "%+v", "%#v"} {
		require.NotContains(t, fmt.Sprintf(verb, result), "origin\"")
	}

	_, err = checker.Check(t.Context(), node, node.Route(mirrors.Containerd17, name, true))
	require.ErrorContains(t, err, "image", "no candidates are no login")
}

// TestCheckOverSockets has plain HTTP behind https, a certificate of the node's files, a certificate that is not
// verified, and a policy.
func TestCheckOverSockets(t *testing.T) {
	r := site(t, registrytest.Dialect{}, "ann", "origin")
	plain, secure := httptest.NewServer(r), httptest.NewUnstartedServer(r)
	secure.Config.ErrorLog = log.New(io.Discard, "", 0) // Of clients that do not trust the certificate.
	secure.StartTLS()
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	check := func(files, host string, c *mirrors.Checker) error {
		node := read(t, files)
		route := node.Route(mirrors.Containerd2, image(t, host+"/team/app:1"), true)
		_, err := c.Check(context.Background(), node, route, candidate("ann", "origin"))
		return err
	}
	plainHost, secureHost := strings.TrimPrefix(plain.URL, "http://"), strings.TrimPrefix(secure.URL, "https://")
	require.NoError(t, check("", plainHost, &mirrors.Checker{}), "containerd uses plain HTTP at a loopback address")
	require.ErrorIs(t, check("", secureHost, &mirrors.Checker{}), registry.ErrTLS)
	require.NoError(t, check("", secureHost, &mirrors.Checker{SkipVerify: true}), "containerd does not verify certificates at a loopback address")
	ca := containerd2Conf + "--- etc/containerd/certs.d/" + secureHost + "/ca.crt\n" + certificateOf(secure)
	require.NoError(t, check(ca, secureHost, &mirrors.Checker{}))
	require.Error(t, check("", plainHost, &mirrors.Checker{Transport: registry.TransportConfig{Egress: &egress.Policy{}}}), "the policy forbids loopback addresses")
	require.False(t, errors.Is(check("", plainHost, &mirrors.Checker{Transport: registry.TransportConfig{Egress: &egress.Policy{}}}), registry.ErrUnauthorized))
}

func certificateOf(s *httptest.Server) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
}

package mirrors_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
	"github.com/regcred/regcred/validate"
	"github.com/regcred/regcred/validate/mirrors"
)

const withHeader = containerd2Conf + "--- etc/containerd/certs.d/origin.example.com/hosts.toml\nserver = \"https://mirror.example.com\"\n" +
	"[header]\nAuthorization = \"Basic Ym9iOm1pcnJvcg==\"\nX-Team = \"team-1\"\n"

// TestHeaderAtOtherHosts has hosts that a mirror names, and that must not receive the header Authorization of its
// hosts.toml unless they belong to it.
func TestHeaderAtOtherHosts(t *testing.T) {
	for _, test := range []struct {
		name, other string
		redirect    bool // The mirror redirects to the host. Otherwise, it names it as its token server.
		trusted     []string
		sent        bool
	}{
		{"a token server of another site", "https://evil.example/token", false, nil, false},
		{"a token server with a scope in its URL", "https://evil.example/token?scope=x", false, nil, false},
		{"a trusted token server", "https://evil.example/token", false, []string{"evil.example"}, true},
		{"a token server of the site", "https://auth.example.com/token", false, nil, true},
		{"a redirect", "https://evil.example/token?scope=x", true, nil, false},
		{"a redirect within the site", "https://auth.example.com/token?scope=x", true, nil, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			var received []http.Header
			other := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				received = append(received, req.Header.Clone())
				_, _ = w.Write([]byte(`{"token": "x", "access_token": "x"}`))
			})
			mirror := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				if test.redirect {
					http.Redirect(w, req, test.other, http.StatusTemporaryRedirect)
					return
				}
				w.Header().Set("WWW-Authenticate", fmt.Sprintf("Bearer realm=%q,service=\"mirror\"", test.other))
				w.WriteHeader(http.StatusUnauthorized)
			})
			n := &network{hosts: map[string]http.Handler{"mirror.example.com": mirror, "evil.example": other, "auth.example.com": other}}
			node := read(t, withHeader)
			checker := mirrors.Checker{NodeLogins: true, RoundTripper: registrytest.NewRoundTripper(n), Trusted: test.trusted}
			result, err := checker.Check(t.Context(), node, node.Route(mirrors.Containerd2, image(t, "origin.example.com/team/app:1"), false))
			require.Error(t, err)
			sent := false
			for _, h := range received {
				sent = sent || h.Get("Authorization") != ""
				require.Empty(t, h.Get("X-Team"), "another header than Authorization")
			}
			require.Equal(t, test.sent, sent)
			if !test.sent && !test.redirect {
				require.Empty(t, received)
				require.ErrorIs(t, result.Hops[0].Err, registry.ErrInsecure)
				require.ErrorContains(t, result.Hops[0].Err, "Checker.Trusted")
			}
		})
	}
}

// TestHeaderAtOwnTokenServer has a token server at the mirror's own host, which only containerd 2 sends the header to.
func TestHeaderAtOwnTokenServer(t *testing.T) {
	for _, runtime := range []mirrors.Runtime{mirrors.Containerd17, mirrors.Containerd2} {
		var received []string
		mirror := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if req.URL.Path == "/v2/token" {
				received = append(received, req.Header.Get("X-Team"))
			}
			w.Header().Set("WWW-Authenticate", `Bearer realm="https://mirror.example.com/v2/token",service="mirror"`)
			w.WriteHeader(http.StatusUnauthorized)
		})
		n := &network{hosts: map[string]http.Handler{"mirror.example.com": mirror}}
		node := read(t, strings.Replace(withHeader, "version = 3\n[plugins.\"io.containerd.cri.v1.images\"", "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\"", 1)+"[host.\"https://mirror.example.com\"]\n[host.\"https://mirror.example.com\".header]\nX-Team = \"team-1\"\n")
		checker := mirrors.Checker{NodeLogins: true, RoundTripper: registrytest.NewRoundTripper(n)}
		_, err := checker.Check(t.Context(), node, node.Route(runtime, image(t, "origin.example.com/team/app:1"), false))
		require.Error(t, err)
		require.NotEmpty(t, received)
		for _, value := range received {
			require.Equal(t, runtime == mirrors.Containerd2, value != "", runtime)
		}
	}
}

// TestHeadersAreSecrets has headers other than Authorization, all values of which are sent, only with NodeLogins, and
// never shown.
func TestHeadersAreSecrets(t *testing.T) {
	var received http.Header
	mirror := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		received = req.Header.Clone()
		key := req.Header.Get("X-JFrog-Art-Api")
		w.Header().Set("X-Key", key)
		w.WriteHeader(http.StatusForbidden)
		_, _ = fmt.Fprintf(w, `{"errors":[{"code":"DENIED","message":"the key %s, that is mirror, is not valid"}]}`, key)
	})
	n := &network{hosts: map[string]http.Handler{"mirror.example.com": mirror}}
	node := read(t, containerd2Conf+"--- etc/containerd/certs.d/origin.example.com/hosts.toml\nserver = \"https://mirror.example.com\"\n"+
		"[header]\nX-JFrog-Art-Api = \"s3cret-key\"\nX-List = [\"value-1\", \"value-2\"]\n")
	route := node.Route(mirrors.Containerd2, image(t, "origin.example.com/team/app:1"), false)
	checker := mirrors.Checker{RoundTripper: registrytest.NewRoundTripper(n)}
	result, err := checker.Check(t.Context(), node, route)
	require.ErrorContains(t, err, "Checker.NodeLogins")
	require.False(t, result.Hops[0].Checked)
	require.Nil(t, received)

	checker.NodeLogins = true
	result, err = checker.Check(t.Context(), node, route)
	require.ErrorIs(t, err, registry.ErrBlocked)
	require.Equal(t, "s3cret-key", received.Get("X-JFrog-Art-Api"))
	require.Equal(t, []string{"value-1", "value-2"}, received.Values("X-List"))
	require.NotContains(t, err.Error(), "s3cret")
	text, failed := json.Marshal(result.Hops[0].Result)
	require.NoError(t, failed)
	require.NotContains(t, string(text), "s3cret")

	node = read(t, withHeader)
	_, err = checker.Check(t.Context(), node, node.Route(mirrors.Containerd2, image(t, "origin.example.com/team/app:1"), false))
	require.ErrorIs(t, err, registry.ErrBlocked)
	require.NotContains(t, err.Error(), "that is mirror", "the password in Authorization")
}

// TestTokenServerBelowV2 has a token server below /v2/ at the mirror's host, as Quay and Nexus have it. Its path is not
// one of the API.
func TestTokenServerBelowV2(t *testing.T) {
	quay := site(t, registrytest.Quay(), "bob", "mirror")
	proxy := below("/v2/proxy", quay)
	n := &network{hosts: map[string]http.Handler{"mirror.example.com": http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/v2/auth" {
			quay.ServeHTTP(w, req)
			return
		}
		proxy.ServeHTTP(w, req)
	})}}
	node := read(t, containerd2Conf+"--- etc/containerd/certs.d/origin.example.com/hosts.toml\nserver = \"https://mirror.example.com/v2/proxy\"\noverride_path = true\n")
	checker := mirrors.Checker{RoundTripper: registrytest.NewRoundTripper(n)}
	result, err := checker.Check(t.Context(), node, node.Route(mirrors.Containerd2, image(t, "origin.example.com/team/app:1"), true), candidate("bob", "mirror"))
	require.NoError(t, err, strings.Join(n.log, "\n"))
	require.Equal(t, validate.Yes, result.Pulls)
	var urls []string
	for _, e := range result.Hops[0].Result.Attempts[0].Exchanges {
		urls = append(urls, e.URL)
	}
	require.Contains(t, strings.Join(urls, "\n"), "https://mirror.example.com/v2/auth")
}

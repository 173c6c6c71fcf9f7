package validate_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/egress"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
	"github.com/regcred/regcred/validate"
)

func guarded(t *testing.T, c *validate.Checker, host string, way registry.TransportConfig) *validate.Guard {
	t.Helper()
	g, err := c.Guard(registry.Endpoint{Host: host}, way)
	require.NoError(t, err)
	return g
}

func get(t *testing.T, g *validate.Guard, url, authorization string) error {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	res, err := g.RoundTrip(req)
	if err == nil {
		require.NoError(t, res.Body.Close())
	}
	return err
}

// A Guard sends requests only to the registry and the token servers that it accepted, and logins only where allowed.
func TestGuard(t *testing.T) {
	h := &hostile{}
	c := &validate.Checker{RoundTripper: h, Realms: []string{"sso.example.org"}}
	g := guarded(t, c, "registry.example.com", registry.TransportConfig{})
	require.Equal(t, "https://registry.example.com", g.URL().String())
	require.NoError(t, get(t, g, "https://registry.example.com/v2/", "Basic x"))

	for _, elsewhere := range []string{
		"https://evil.example.net/", "http://registry.example.com/", "https://registry.example.com:8443/", "https://auth.example.com/token", "https://169.254.169.254/",
	} {
		require.ErrorIs(t, get(t, g, elsewhere, ""), registry.ErrInsecure, elsewhere)
	}
	for _, realm := range []string{"https://evil.example.net/token", "http://auth.example.com/token", "https://169.254.169.254/token", "gopher://auth.example.com", "%"} {
		_, err := g.TokenServer(realm, true)
		require.ErrorIs(t, err, registry.ErrInsecure, realm)
	}
	require.Empty(t, h.others())

	u, err := g.TokenServer("https://evil.example.net/token", false)
	require.NoError(t, err, "an anonymous request may go to any public host")
	require.NoError(t, get(t, g, u.String(), ""))
	require.ErrorIs(t, get(t, g, u.String(), "Basic x"), registry.ErrInsecure)
	post, err := http.NewRequestWithContext(t.Context(), http.MethodPost, u.String(), strings.NewReader("password=x"))
	require.NoError(t, err)
	_, err = g.RoundTrip(post)
	require.ErrorIs(t, err, registry.ErrInsecure)
	for _, realm := range []string{"https://sso.example.org/token", "http://registry.example.com/token"} {
		u, err := g.TokenServer(realm, true)
		require.NoError(t, err)
		require.Equal(t, "https", u.Scheme)
		require.NoError(t, get(t, g, u.String(), "Basic x"))
	}
	require.NotContains(t, h.auth[len(h.auth)-3], "Basic", "the anonymous request")

	_, err = c.Guard(registry.Endpoint{Host: "a b"}, registry.TransportConfig{})
	require.ErrorIs(t, err, registry.ErrInvalid)
}

// A Guard returns redirects, and applies the policy of the transport or of the Checker.
func TestGuardConnections(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the redirect was followed") }))
	defer other.Close()
	server := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	plain := registry.TransportConfig{PlainHTTP: true, Proxy: registry.Direct}
	c := &validate.Checker{}
	defer c.CloseIdleConnections()
	require.NoError(t, get(t, guarded(t, c, host, plain), server.URL+"/v2/", ""))

	strict := &validate.Checker{Egress: &egress.Policy{AllowPlainHTTP: true, AllowProxy: true}}
	defer strict.CloseIdleConnections()
	require.Error(t, get(t, guarded(t, strict, host, plain), server.URL+"/v2/", ""))
	allowed := &validate.Checker{Egress: &egress.Policy{AllowPlainHTTP: true, AllowProxy: true, Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}}
	defer allowed.CloseIdleConnections()
	require.NoError(t, get(t, guarded(t, allowed, host, plain), server.URL+"/v2/", ""))
}

// A policy also applies to the requests of a RoundTripper, which makes the connections itself.
func TestGuardPolicyOfRoundTripper(t *testing.T) {
	h := &hostile{}
	c := &validate.Checker{RoundTripper: h, Egress: &egress.Policy{}}
	for _, host := range []string{"10.0.0.1", "127.0.0.1:5000", "169.254.169.254"} {
		require.ErrorIs(t, get(t, guarded(t, c, host, registry.TransportConfig{}), "https://"+host+"/v2/", ""), registry.ErrEgressDenied, host)
	}
	require.Empty(t, h.asked)
	require.NoError(t, get(t, guarded(t, c, "registry.example.com", registry.TransportConfig{}), "https://registry.example.com/v2/", ""))
}

// The vendor is known by the host, or by a response.
func TestGuardLockout(t *testing.T) {
	c := &validate.Checker{RoundTripper: (&registrytest.Registry{}).RoundTripper()}
	require.Contains(t, guarded(t, c, "quay.io", registry.TransportConfig{}).Lockout(nil), "Quay")
	require.Empty(t, guarded(t, c, "registry.example.com", registry.TransportConfig{}).Lockout(nil))
	header := http.Header{"Www-Authenticate": {`Bearer realm="https://registry.example.com/service/token",service="harbor-registry"`}}
	require.Contains(t, guarded(t, c, "registry.example.com", registry.TransportConfig{}).Lockout(header), "Harbor")
}

// After CloseIdleConnections, the registry and its token server get new connections.
func TestGuardCloseIdleConnections(t *testing.T) {
	var opened atomic.Int32
	start := func() *httptest.Server {
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				opened.Add(1)
			}
		}
		server.Start()
		t.Cleanup(server.Close)
		return server
	}
	own, tokens := start(), start()
	var transports registry.Transports // Which Checker.CloseIdleConnections does not close.
	defer transports.CloseIdleConnections()
	host := strings.Replace(strings.TrimPrefix(own.URL, "http://"), "127.0.0.1", "localhost", 1)
	c := &validate.Checker{Transports: &transports}
	defer c.CloseIdleConnections()
	g := guarded(t, c, host, registry.TransportConfig{PlainHTTP: true, Proxy: registry.Direct})
	_, err := g.TokenServer(tokens.URL+"/token", true)
	require.NoError(t, err)
	for _, want := range []int32{2, 2, 4} {
		if want == 4 {
			g.CloseIdleConnections()
		}
		require.NoError(t, get(t, g, "http://"+host+"/v2/", ""))
		require.NoError(t, get(t, g, tokens.URL+"/token", "Basic x"))
		require.Equal(t, want, opened.Load())
	}
}

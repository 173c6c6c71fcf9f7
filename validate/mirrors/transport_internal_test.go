package mirrors

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/registry"
)

// TestProxyAddressIsNotTheHosts has a proxy of this machine: a public host behind it may not name private servers.
func TestProxyAddressIsNotTheHosts(t *testing.T) {
	proxy := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(proxy.Close)
	address, err := url.Parse(proxy.URL)
	require.NoError(t, err)
	inner := &http.Transport{Proxy: http.ProxyURL(address)}
	t.Cleanup(inner.CloseIdleConnections)
	h := &hopTransport{hop: Hop{Scheme: "http", Host: "mirror.example.com", Path: "/v2", Repository: "app"}, inner: inner, plainHTTP: true}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://mirror.example.com/v2/", nil)
	require.NoError(t, err)
	res, err := h.RoundTrip(req)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	err = h.checkAddress(netip.MustParseAddrPort("127.0.0.1:80"))
	require.ErrorIs(t, err, registry.ErrInsecure)
	require.NotSame(t, err, h.checkAddress(netip.MustParseAddrPort("127.0.0.1:80")), "callers change the error")
}

// TestRedirectsAreBounded has a host that redirects without end, or sends Location with another status.
func TestRedirectsAreBounded(t *testing.T) {
	status, next := http.StatusFound, "a"
	h := &hopTransport{hop: Hop{Scheme: "https", Host: "m.example.com", Path: "/v2", Repository: "app"}, plainHTTP: true,
		inner: roundTripFunc(func(req *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: status, Header: http.Header{"Location": {next}}, Body: http.NoBody, Request: req}, nil
		})}
	for i := range maxRedirected + 10 {
		next = strconv.Itoa(i)
		get(t, h)
	}
	require.Len(t, h.redirected, maxRedirected)
	h.redirected = nil
	status = http.StatusOK
	get(t, h)
	require.Empty(t, h.redirected)
}

func get(t *testing.T, h *hopTransport) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://m.example.com/v2/app/manifests/1", nil)
	require.NoError(t, err)
	res, err := h.RoundTrip(req)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
}

type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

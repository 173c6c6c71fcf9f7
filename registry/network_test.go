package registry_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest/fakenet"
)

func TestNetworkCode(t *testing.T) {
	network, err := fakenet.New()
	require.NoError(t, err)
	t.Cleanup(network.Close)
	network.Handle("registry.example.com", http.NotFoundHandler())

	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	silent, err := net.Listen("tcp", "127.0.0.1:0") // Accepts connections, and never responds.
	require.NoError(t, err)
	t.Cleanup(func() { _ = silent.Close() })
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, closed.Close())

	direct := registry.TransportConfig{Proxy: registry.Direct}
	untrusting := network.TransportConfig()
	untrusting.CABundle = ""
	noProxy := registry.TransportConfig{Proxy: "http://" + closed.Addr().String()}
	noSocks := registry.TransportConfig{Proxy: "socks5://" + closed.Addr().String()}

	refusing := func(squid string) registry.TransportConfig {
		proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Squid-Error", squid)
			w.WriteHeader(http.StatusServiceUnavailable)
		}))
		t.Cleanup(proxy.Close)
		return registry.TransportConfig{Proxy: proxy.URL}
	}

	tests := map[string]struct {
		transport registry.TransportConfig
		url       string
		want      registry.Code
	}{
		"unknown issuer":           {untrusting, "https://registry.example.com/", registry.ErrTLSUnknownIssuer},
		"proxy refuses":            {refusing(""), "https://elsewhere.example.com/", registry.ErrProxy},
		"proxy finds no name":      {network.TransportConfig(), "https://elsewhere.example.com/", registry.ErrHostNotFound},
		"Squid finds no name":      {refusing("ERR_DNS_FAIL 0"), "https://elsewhere.example.com/", registry.ErrHostNotFound},
		"Squid refuses":            {refusing("ERR_ACCESS_DENIED 0"), "https://elsewhere.example.com/", registry.ErrProxy},
		"proxy is not there":       {noProxy, "https://registry.example.com/", registry.ErrProxy},
		"socks proxy is not there": {noSocks, "https://registry.example.com/", registry.ErrProxy},
		"plain http":               {direct, "https" + plain.URL[len("http"):], registry.ErrTLS},
		"nobody listens":           {direct, "http://" + closed.Addr().String(), registry.ErrUnreachable},
		"no answer":                {direct, "http://" + silent.Addr().String(), registry.ErrTimeout},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h, err := test.transport.HTTP()
			require.NoError(t, err)
			defer h.CloseIdleConnections()
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			if test.want != registry.ErrTimeout {
				ctx = t.Context()
			}
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, test.url, nil)
			require.NoError(t, err)
			res, err := (&http.Client{Transport: h}).Do(req)
			if err == nil {
				_ = res.Body.Close()
			}
			require.Error(t, err)
			require.Equal(t, test.want, registry.NetworkCode(err), "%v", err)
		})
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.Equal(t, registry.ErrCanceled, registry.NetworkCode(ctx.Err()))
	noName := &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: "x.invalid", IsNotFound: true}}
	require.Equal(t, registry.ErrHostNotFound, registry.NetworkCode(noName))
	failing := &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "server misbehaving", Name: "x.invalid", IsTemporary: true}}
	require.Equal(t, registry.ErrUnreachable, registry.NetworkCode(failing))
	require.Equal(t, registry.Code(""), registry.NetworkCode(nil))
}

package registry_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/egress"
	"github.com/regcred/regcred/internal/testcert"
	"github.com/regcred/regcred/registry"
)

// An authority issues certificates, like a company's own authority.
type authority struct {
	*testcert.Authority
	t *testing.T
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	a, err := testcert.New("test authority")
	require.NoError(t, err)
	return authority{a, t}
}

// issue returns a certificate for a server on the loopback address or for a client.
func (a authority) issue() tls.Certificate {
	a.t.Helper()
	c, err := a.Issue("127.0.0.1")
	require.NoError(a.t, err)
	return c
}

// pair returns a certificate and its key, in PEM.
func (a authority) pair() (certificate, key string) {
	a.t.Helper()
	c, k, err := testcert.Encode(a.issue())
	require.NoError(a.t, err)
	return string(c), string(k)
}

// serve starts a TLS server that responds with the protocol and the name of the client's certificate.
func (a authority) serve(change func(c *tls.Config)) *httptest.Server {
	a.t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %d", r.Proto, len(r.TLS.PeerCertificates))
	}))
	server.EnableHTTP2 = true
	server.TLS = &tls.Config{Certificates: []tls.Certificate{a.issue()}, MinVersion: tls.VersionTLS10}
	if change != nil {
		change(server.TLS)
	}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	a.t.Cleanup(server.Close)
	return server
}

// get returns the response of url to a client with the transport tr.
func get(t *testing.T, tr registry.TransportConfig, url string) (string, error) {
	t.Helper()
	h, err := tr.HTTP()
	require.NoError(t, err)
	defer h.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	res, err := (&http.Client{Transport: h}).Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return string(body), nil
}

func TestTransportTrusts(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	server := a.serve(nil)
	direct := registry.TransportConfig{Proxy: registry.Direct}

	_, err := get(t, direct, server.URL)
	require.Equal(t, registry.ErrTLSUnknownIssuer, registry.NetworkCode(err), "%v", err)

	trusting := direct
	trusting.CABundle = "# Our own authorities\n" + other.PEM + "\n" + a.PEM
	body, err := get(t, trusting, server.URL)
	require.NoError(t, err)
	require.Equal(t, "HTTP/2.0 0", body)

	trusting.CABundle = other.PEM
	_, err = get(t, trusting, server.URL)
	require.Equal(t, registry.ErrTLSUnknownIssuer, registry.NetworkCode(err), "%v", err)
}

func TestTransportShowsItsCertificate(t *testing.T) {
	a := newAuthority(t)
	server := a.serve(func(c *tls.Config) {
		c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
		c.ClientCAs.AppendCertsFromPEM([]byte(a.PEM))
		c.NextProtos = []string{"http/1.1"} // Over HTTP/2 a client does not see the rejection's cause.
	})
	tr := registry.TransportConfig{Proxy: registry.Direct, CABundle: a.PEM}
	_, err := get(t, tr, server.URL)
	require.Equal(t, registry.ErrTLS, registry.NetworkCode(err), "%v", err)

	certificate, key := a.pair()
	tr.ClientCertificate, tr.ClientKey = certificate, credentials.NewSecret(key)
	body, err := get(t, tr, server.URL)
	require.NoError(t, err)
	require.Equal(t, "HTTP/1.1 1", body)
}

func TestTransportRefusesOldTLS(t *testing.T) {
	a := newAuthority(t)
	server := a.serve(func(c *tls.Config) { c.MaxVersion = tls.VersionTLS11 })
	_, err := get(t, registry.TransportConfig{Proxy: registry.Direct, CABundle: a.PEM}, server.URL)
	require.Equal(t, registry.ErrTLS, registry.NetworkCode(err), "%v", err)
}

func TestTransportBoundsHeaders(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X", strings.Repeat("x", 100<<10))
	}))
	t.Cleanup(server.Close)
	_, err := get(t, registry.TransportConfig{Proxy: registry.Direct}, server.URL)
	require.ErrorContains(t, err, "exceeded")
}

// proxy is an HTTP proxy that requires a login.
func proxy(t *testing.T, login string) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Proxy-Authorization") != "Basic "+base64.StdEncoding.EncodeToString([]byte(login)) {
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		if r.Method != http.MethodConnect {
			fmt.Fprintf(w, "by proxy to %s", r.Host)
			return
		}
		back, err := (&net.Dialer{}).DialContext(r.Context(), "tcp", r.Host)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer back.Close()
		// The connection is hijacked before the response, because otherwise the server would read what the client sends next.
		front, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer front.Close()
		_, _ = io.WriteString(front, "HTTP/1.1 200 OK\r\n\r\n")
		var both sync.WaitGroup
		for from, to := range map[net.Conn]net.Conn{front: back, back: front} {
			both.Go(func() {
				_, _ = io.Copy(to, from)
				_ = to.Close()
			})
		}
		both.Wait()
	}))
	t.Cleanup(server.Close)
	return server
}

func TestTransportUsesItsProxy(t *testing.T) {
	a := newAuthority(t)
	server := a.serve(nil)
	front := proxy(t, "jo:hunter2:x@/")
	tr := registry.TransportConfig{CABundle: a.PEM, Proxy: front.URL, ProxyUsername: "jo", ProxyPassword: credentials.NewSecret("hunter2:x@/")}

	body, err := get(t, tr, server.URL)
	require.NoError(t, err)
	require.Equal(t, "HTTP/2.0 0", body)
	body, err = get(t, tr, "http://registry.example.com/v2/")
	require.NoError(t, err)
	require.Equal(t, "by proxy to registry.example.com", body)

	tr.ProxyPassword = credentials.NewSecret("hunter3")
	_, err = get(t, tr, server.URL)
	require.Equal(t, registry.ErrProxy, registry.NetworkCode(err), "%v", err)
	require.ErrorContains(t, err, "407")
	require.NotContains(t, err.Error(), "hunter3")

	front.Close()
	for _, target := range []string{server.URL, "http://registry.example.com/"} {
		_, err = get(t, tr, target)
		require.Equal(t, registry.ErrProxy, registry.NetworkCode(err), "%v", err)
		require.NotContains(t, err.Error(), "hunter3")
	}
}

func TestTransportProxyOfTheEnvironment(t *testing.T) {
	usual, err := registry.TransportConfig{}.HTTP()
	require.NoError(t, err)
	require.Equal(t, reflect.ValueOf(egress.ProxyFromEnvironment).Pointer(), reflect.ValueOf(usual.Proxy).Pointer())

	direct, err := registry.TransportConfig{Proxy: registry.Direct}.HTTP()
	require.NoError(t, err)
	if direct.Proxy != nil {
		u, err := direct.Proxy(&http.Request{URL: &url.URL{Scheme: "https", Host: "registry.example.com"}})
		require.NoError(t, err)
		require.Nil(t, u)
	}
}

func TestTransportValidate(t *testing.T) {
	a := newAuthority(t)
	certificate, key := a.pair()
	_, otherKey := a.pair()
	secret := credentials.NewSecret
	tests := map[string]struct {
		transport registry.TransportConfig
		want      []string // The fields that have a problem.
	}{
		"usual":                {registry.TransportConfig{}, nil},
		"everything":           {registry.TransportConfig{CABundle: a.PEM, ClientCertificate: certificate, ClientKey: secret(key), Proxy: "http://p:3128", ProxyUsername: "u", ProxyPassword: secret("hunter2"), PlainHTTP: true}, nil},
		"direct":               {registry.TransportConfig{Proxy: registry.Direct}, nil},
		"https proxy":          {registry.TransportConfig{Proxy: "HTTPS://p.example/"}, nil},
		"socks proxy":          {registry.TransportConfig{Proxy: "socks5h://[::1]:1080"}, nil},
		"bundle of nothing":    {registry.TransportConfig{CABundle: "hunter2"}, []string{"caBundle"}},
		"bundle with a key":    {registry.TransportConfig{CABundle: a.PEM + key}, []string{"caBundle"}},
		"bundle with a tail":   {registry.TransportConfig{CABundle: a.PEM + "hunter2"}, []string{"caBundle"}},
		"bundle of garbage":    {registry.TransportConfig{CABundle: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("hunter2")}))}, []string{"caBundle"}},
		"no key":               {registry.TransportConfig{ClientCertificate: certificate}, []string{"clientCertificate"}},
		"no certificate":       {registry.TransportConfig{ClientKey: secret(key)}, []string{"clientCertificate"}},
		"key beside it":        {registry.TransportConfig{ClientCertificate: certificate + key, ClientKey: secret(key)}, []string{"clientCertificate"}},
		"key instead of it":    {registry.TransportConfig{ClientCertificate: certificate + key}, []string{"clientCertificate"}},
		"key of another":       {registry.TransportConfig{ClientCertificate: certificate, ClientKey: secret(otherKey)}, []string{"clientCertificate"}},
		"key that is none":     {registry.TransportConfig{ClientCertificate: certificate, ClientKey: secret("hunter2")}, []string{"clientCertificate"}},
		"proxy without scheme": {registry.TransportConfig{Proxy: "proxy.example.com:3128"}, []string{"proxy"}},
		"proxy without host":   {registry.TransportConfig{Proxy: "http://:3128"}, []string{"proxy"}},
		"proxy of ftp":         {registry.TransportConfig{Proxy: "ftp://p"}, []string{"proxy"}},
		"proxy with a login":   {registry.TransportConfig{Proxy: "http://u:hunter2@p:3128"}, []string{"proxy"}},
		"proxy that is no URL": {registry.TransportConfig{Proxy: "http://u:hunter2@p:x"}, []string{"proxy"}},
		"password, no name":    {registry.TransportConfig{Proxy: "http://p:3128", ProxyPassword: secret("hunter2")}, []string{"proxyUsername"}},
		"name with a colon":    {registry.TransportConfig{Proxy: "http://p:3128", ProxyUsername: "a:b"}, []string{"proxyUsername"}},
		"login, no proxy":      {registry.TransportConfig{ProxyUsername: "u"}, []string{"proxyUsername"}},
		"login, direct":        {registry.TransportConfig{ProxyUsername: "u", Proxy: registry.Direct}, []string{"proxyUsername"}},
		"all at once":          {registry.TransportConfig{CABundle: "x", ClientCertificate: "x", Proxy: "x", ProxyPassword: secret("x")}, []string{"caBundle", "clientCertificate", "proxy", "proxyUsername"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			err := test.transport.Validate()
			_, httpErr := test.transport.HTTP()
			if test.want == nil {
				require.NoError(t, err)
				require.NoError(t, httpErr)
				return
			}
			require.Error(t, httpErr)
			require.Equal(t, test.want, fieldsOf(t, err), "%v", err)
			require.NotContains(t, err.Error(), "hunter2")
		})
	}
}

func TestTransportsAreShared(t *testing.T) {
	var ts registry.Transports
	direct := registry.TransportConfig{Proxy: registry.Direct}
	first, err := ts.For(direct)
	require.NoError(t, err)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			again, err := ts.For(direct)
			if err != nil || again != first {
				t.Error("another transport for the same way", err)
			}
		})
	}
	group.Wait()
	plain := direct
	plain.PlainHTTP = true
	same, err := ts.For(plain)
	require.NoError(t, err)
	require.Same(t, first, same, "whether it is TLS is in the URL")

	require.Zero(t, first.MaxConnsPerHost)
	bounded := registry.Transports{MaxConnsPerHost: 7}
	few, err := bounded.For(direct)
	require.NoError(t, err)
	require.Equal(t, 7, few.MaxConnsPerHost)

	other, err := ts.For(registry.TransportConfig{})
	require.NoError(t, err)
	require.NotSame(t, first, other)
	_, err = ts.For(registry.TransportConfig{Proxy: "x"})
	require.Error(t, err)

	for i := range 1100 { // More than maxTransports.
		_, err := ts.For(registry.TransportConfig{Proxy: fmt.Sprintf("http://127.0.0.1:%d", i+1)})
		require.NoError(t, err)
	}
	again, err := ts.For(direct)
	require.NoError(t, err)
	require.NotSame(t, first, again)
	ts.CloseIdleConnections()
}

func TestScheme(t *testing.T) {
	require.Equal(t, "https", registry.TransportConfig{}.Scheme())
	require.Equal(t, "http", registry.TransportConfig{PlainHTTP: true}.Scheme())
}

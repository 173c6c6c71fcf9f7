package egress_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/egress"
	"github.com/regcred/regcred/internal/testdns"
)

// counted is a server that counts the connections it gets.
func counted(t *testing.T, address string) (port string, connections *atomic.Int32) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	require.NoError(t, err)
	connections = new(atomic.Int32)
	s := &httptest.Server{Listener: l, Config: &http.Server{
		Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}),
		ConnState: func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				connections.Add(1)
			}
		},
	}}
	s.Start()
	t.Cleanup(s.Close)
	_, port, err = net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	return port, connections
}

func get(t *testing.T, h *http.Transport, address string) error {
	t.Helper()
	t.Cleanup(h.CloseIdleConnections)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	require.NoError(t, err)
	res, err := h.RoundTrip(req)
	if err == nil {
		require.NoError(t, res.Body.Close())
	}
	return err
}

func allow(list ...string) []netip.Prefix {
	var allowed []netip.Prefix
	for _, s := range list {
		allowed = append(allowed, netip.MustParsePrefix(s))
	}
	return allowed
}

// A name that first leads to an allowed address and then to another: each connection is judged by its own address.
func TestRebinding(t *testing.T) {
	port, victim := counted(t, "127.0.0.3:0")
	friend, err := net.Listen("tcp", "127.0.0.2:"+port)
	require.NoError(t, err)
	go func() { _ = http.Serve(friend, http.NotFoundHandler()) }()
	t.Cleanup(func() { _ = friend.Close() })

	p := &egress.Policy{
		Allow: allow("127.0.0.2/32"), AllowPlainHTTP: true,
		Resolver: testdns.Start(t, testdns.Names{"rebind.example.com": {"127.0.0.2", "127.0.0.3"}}),
	}
	h := &http.Transport{DisableKeepAlives: true}
	p.Apply(h)
	require.NoError(t, get(t, h, "http://rebind.example.com:"+port))
	require.ErrorIs(t, get(t, h, "http://rebind.example.com:"+port), egress.ErrForbidden)
	require.Zero(t, victim.Load())
}

// A host that does not exist, one that leads to a closed port, to a silent one, and to a server, all at forbidden
// addresses, are one and the same error.
func TestDenialsLookAlike(t *testing.T) {
	port, victim := counted(t, "127.0.0.3:0")
	p := &egress.Policy{Resolver: testdns.Start(t, testdns.Names{
		"open.example.com": {"127.0.0.3"}, "closed.example.com": {"127.0.0.4"}, "silent.example.com": {"10.255.255.1"},
		"metadata.example.com": {"169.254.169.254"},
	})}
	h := &http.Transport{}
	p.Apply(h)
	var first string
	for _, host := range []string{
		"missing.example.com", "open.example.com", "closed.example.com", "silent.example.com", "metadata.example.com",
		"127.0.0.3", "127.0.0.4", "10.255.255.1", "169.254.169.254", "[::1]", "localhost",
	} {
		err := get(t, h, "https://"+host+":"+port+"/")
		require.ErrorIs(t, err, egress.ErrForbidden, host)
		if first == "" {
			first = err.Error()
		}
		require.Equal(t, first, err.Error(), host)
	}
	require.Zero(t, victim.Load())
}

// A lookup that fails does not show the name servers of the platform: neither their addresses nor those of this machine.
func TestNameServersAreHidden(t *testing.T) {
	for name, failure := range map[string]struct {
		timeout time.Duration
		rcode   byte // Zero means that the server does not respond.
		closed  bool
	}{
		"server failure": {rcode: 2},
		"refused":        {rcode: 5},
		"closed":         {closed: true},
		"silent":         {timeout: 300 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			server, err := net.ListenPacket("udp", "127.0.0.5:0")
			require.NoError(t, err)
			t.Cleanup(func() { _ = server.Close() })
			if failure.closed {
				require.NoError(t, server.Close())
			}
			go func() {
				for query := make([]byte, 512); ; {
					n, from, err := server.ReadFrom(query)
					if err != nil {
						return
					}
					if n >= 12 && failure.rcode != 0 {
						query[2], query[3] = query[2]|0x80, failure.rcode // The response is the query with these changes.
						_, _ = server.WriteTo(query[:n], from)
					}
				}
			}()
			p := &egress.Policy{Resolver: &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "udp", server.LocalAddr().String())
			}}}
			d := &egress.Dialer{Policy: p, Timeout: failure.timeout}
			_, err = d.DialContext(t.Context(), "tcp", "registry.example.com:443")
			dns, ok := errors.AsType[*net.DNSError](err)
			require.True(t, ok, "%v", err)
			require.Equal(t, failure.timeout > 0, dns.IsTimeout)
			require.Equal(t, "registry.example.com.", dns.Name)
			for _, text := range []string{err.Error(), fmt.Sprintf("%+v %#v %+v", err, dns, dns.UnwrapErr)} {
				require.NotContains(t, text, "127.0.0.")
				for _, line := range resolvers(t) {
					require.NotContains(t, text, line)
				}
			}
		})
	}
}

// resolvers returns the addresses of the name servers of this machine.
func resolvers(t *testing.T) []string {
	file, err := os.ReadFile("/etc/resolv.conf")
	if err != nil {
		t.Log(err)
	}
	var all []string
	for line := range strings.Lines(string(file)) {
		if words := strings.Fields(line); len(words) == 2 && words[0] == "nameserver" {
			all = append(all, words[1])
		}
	}
	return all
}

// The search list of the machine is not used: else "harbor.prod" would lead to harbor.prod.svc.cluster.local.
func TestNamesAreAbsolute(t *testing.T) {
	var asked atomic.Value
	p := &egress.Policy{Resolver: &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			defer func() { _ = server.Close() }()
			packet := make([]byte, 512)
			if n, err := server.Read(packet); err == nil {
				asked.CompareAndSwap(nil, string(packet[:n]))
			}
		}()
		return client, ctx.Err()
	}}}
	_, err := (&egress.Dialer{Policy: p, Timeout: time.Second}).DialContext(t.Context(), "tcp", "harbor.prod:443")
	require.Error(t, err)
	require.Contains(t, asked.Load(), "\x06harbor\x04prod\x00")
}

// A proxy is a server like any other; nothing is sent to one that is at a forbidden address.
func TestProxyIsJudged(t *testing.T) {
	port, victim := counted(t, "127.0.0.3:0")
	for _, scheme := range []string{"http", "socks5"} {
		h := &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: scheme, Host: "127.0.0.3:" + port})}
		(&egress.Policy{}).Apply(h)
		require.ErrorIs(t, get(t, h, "https://ghcr.io/v2/"), egress.ErrForbidden)
		require.Zero(t, victim.Load())

		h = &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: scheme, Host: "127.0.0.3:" + port})}
		(&egress.Policy{Allow: allow("127.0.0.3/32")}).Apply(h)
		require.ErrorIs(t, get(t, h, "https://10.0.0.1/v2/"), egress.ErrForbidden) // Nor is the proxy asked for one.
		require.Zero(t, victim.Load())
	}
	h := &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: "127.0.0.3:" + port})}
	(&egress.Policy{Allow: allow("127.0.0.3/32")}).Apply(h)
	require.NotErrorIs(t, get(t, h, "https://ghcr.io/v2/"), egress.ErrForbidden)
	require.NotZero(t, victim.Load())
}

// Package net/http ignores a proxy that it cannot read.
func TestInvalidEnvironmentProxy(t *testing.T) {
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"} {
		t.Setenv(name, "")
	}
	req := func(s string) *http.Request { return httptest.NewRequest(http.MethodGet, s, nil) }
	_, err := http.ProxyFromEnvironment(req("https://ghcr.io/")) // It remembers an environment without a proxy.
	require.NoError(t, err)
	for value, valid := range map[string]bool{
		"http://ann:pa%zzword@proxy.example.com:3128": false, "http://%zz": false,
		"": true, "http://proxy.example.com:3128": true, "proxy.example.com:3128": true,
	} {
		t.Setenv("https_proxy", value)
		_, err := egress.ProxyFromEnvironment(req("https://ghcr.io/"))
		if valid {
			require.NoError(t, err, value)
			continue
		}
		require.ErrorIs(t, err, egress.ErrEnvironmentProxy, value)
		require.ErrorContains(t, err, "https_proxy")
		require.NotContains(t, err.Error(), "word")
		_, err = egress.ProxyFromEnvironment(req("http://ghcr.io/"))
		require.NoError(t, err)
	}
	t.Setenv("https_proxy", "")
	t.Setenv("HTTP_PROXY", "http://%zz")
	_, err = egress.ProxyFromEnvironment(req("http://ghcr.io/"))
	require.ErrorIs(t, err, egress.ErrEnvironmentProxy)
}

// A name that the platform controls may lead into its own network; another name for the same address may not, nor may
// it lead to a metadata service.
func TestAllowHosts(t *testing.T) {
	port, _ := counted(t, "127.0.0.3:0")
	p := &egress.Policy{
		AllowHosts: []string{"*.ecr.example.com", "Harbor.Example.com"}, AllowPlainHTTP: true,
		Resolver: testdns.Start(t, testdns.Names{
			"api.ecr.example.com": {"127.0.0.3"}, "ecr.example.com": {"127.0.0.3"}, "evil-ecr.example.com": {"127.0.0.3"},
			"harbor.example.com": {"127.0.0.3"}, "x.harbor.example.com": {"127.0.0.3"}, "meta.ecr.example.com": {"169.254.169.254"},
		}),
	}
	h := &http.Transport{}
	p.Apply(h)
	for _, host := range []string{"api.ecr.example.com", "harbor.example.com", "HARBOR.example.com"} {
		require.NoError(t, get(t, h, "http://"+host+":"+port), host)
	}
	for _, host := range []string{"ecr.example.com", "evil-ecr.example.com", "x.harbor.example.com", "meta.ecr.example.com", "127.0.0.3"} {
		require.ErrorIs(t, get(t, h, "http://"+host+":"+port), egress.ErrForbidden, host)
	}
}

// TestEnvironmentProxy runs itself again, because package net/http reads the environment once.
func TestEnvironmentProxy(t *testing.T) {
	if proxy := os.Getenv("REGCRED_TEST_PROXY"); proxy != "" {
		testEnvironmentProxy(t, proxy)
		return
	}
	port, asked := counted(t, "127.0.0.3:0")
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestEnvironmentProxy$")
	proxy := "127.0.0.3:" + port
	cmd.Env = append(os.Environ(), "HTTPS_PROXY=http://"+proxy, "NO_PROXY=127.0.0.3,direct.example.com", "REGCRED_TEST_PROXY="+proxy)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	require.EqualValues(t, 1, asked.Load(), "only the one allowed request reaches the proxy")
}

func testEnvironmentProxy(t *testing.T, proxy string) {
	h := &http.Transport{}
	(&egress.Policy{EnvironmentProxy: true, Resolver: testdns.Start(t, nil)}).Apply(h)
	require.NotErrorIs(t, get(t, h, "https://ghcr.io/v2/"), egress.ErrForbidden) // The proxy answers no CONNECT.
	for _, denied := range []string{
		"https://10.0.0.1/", "https://169.254.169.254/", "http://ghcr.io/", "https://direct.example.com/",
		"https://" + proxy + "/", // NO_PROXY would have it dialed as a server of a profile.
	} {
		require.ErrorIs(t, get(t, h, denied), egress.ErrForbidden, denied)
	}
	h = &http.Transport{}
	(&egress.Policy{Resolver: testdns.Start(t, nil)}).Apply(h)
	require.ErrorIs(t, get(t, h, "https://ghcr.io/v2/"), egress.ErrForbidden) // It is looked up here.
}

func TestDialerCheck(t *testing.T) {
	port, victim := counted(t, "127.0.0.3:0")
	d := &egress.Dialer{Check: func(to netip.AddrPort) error {
		require.Equal(t, "127.0.0.3:"+port, to.String())
		return egress.ErrEnvironmentProxy
	}}
	_, err := d.DialContext(t.Context(), "tcp", "127.0.0.3:"+port)
	require.ErrorIs(t, err, egress.ErrEnvironmentProxy)
	require.Zero(t, victim.Load())
	conn, err := new(egress.Dialer).DialContext(t.Context(), "tcp", "127.0.0.3:"+port)
	require.NoError(t, err)
	require.NoError(t, conn.Close())
}

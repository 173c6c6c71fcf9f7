// Package fakenet implements a network of named hosts on the loopback address, so that a test can connect to
// registry-1.docker.io, api.ecr.us-east-1.amazonaws.com or oauth2.googleapis.com over TLS, under these names, without
// traffic outside the machine.
//
// [New] starts the network, [Network.Handle] sets the handler of a host, and [Network.TransportConfig] returns the
// proxy and the certificate authority that a profile needs for it. Programs in other languages need the environment
// variable HTTPS_PROXY and the authority's certificate. A host without a handler does not exist: package registry
// reports [registry.ErrHostNotFound] for it. [Network.HandleRegistry] knows the hosts of Docker Hub and other
// registries.
//
// It is for tests and examples: it does not limit what its clients send.
package fakenet

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
)

// A Network is a proxy on the loopback address, with all the hosts behind it. Create it with [New]. It is safe for
// concurrent use.
type Network struct {
	// URL is the address of the proxy, for HTTPS_PROXY and [registry.TransportConfig.Proxy].
	URL string
	// CA is the certificate, in PEM, of the authority that signs the certificate of every host.
	CA string

	authority *authority
	proxy     *http.Server
	inner     *http.Server
	conns     *connListener
	serving   sync.WaitGroup

	mu     sync.Mutex
	hosts  map[string]http.Handler
	dialed []string
}

// New starts a network without hosts. Close it when done.
func New() (*Network, error) {
	authority, err := newAuthority()
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	n := &Network{
		URL:       "http://" + listener.Addr().String(),
		CA:        authority.PEM,
		authority: authority,
		conns:     newConnListener(listener.Addr()),
		hosts:     make(map[string]http.Handler),
	}
	silent := log.New(io.Discard, "", 0) // Clients report certificates that they do not trust.
	n.inner = &http.Server{Handler: http.HandlerFunc(n.serveHost), ErrorLog: silent}
	n.proxy = &http.Server{Handler: http.HandlerFunc(n.serveProxy), ErrorLog: silent}
	tlsConfig := &tls.Config{
		NextProtos: []string{"h2", "http/1.1"},
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			host := hello.ServerName
			if host == "" {
				host = hello.Conn.(*hostConn).host // An IP address has no server name.
			}
			return authority.leaf(host)
		},
	}
	n.inner.TLSConfig = tlsConfig
	n.serving.Go(func() { _ = n.inner.ServeTLS(n.conns, "", "") })
	n.serving.Go(func() { _ = n.proxy.Serve(listener) })
	return n, nil
}

// Handle sets the handler of a host, and replaces a previous one. The host has no port: all its ports are served, with
// TLS. "*.example.com" matches every host below example.com that has no handler of its own and matches no longer
// pattern.
func (n *Network) Handle(host string, h http.Handler) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hosts[strings.ToLower(host)] = h
}

// HandleRegistry serves a registry at the host of an endpoint, as in the names of images, and at the hosts that belong
// to it: for "docker.io" the hosts of Docker Hub's API, token server and blobs, for "registry.gitlab.com" the token
// server at gitlab.com. It sets the TokenHost and the BlobHost of the registry if they are empty. For the clouds, see
// the Attach methods of their fakes. It panics if endpoint is not valid.
func (n *Network) HandleRegistry(endpoint string, r *registrytest.Registry) {
	e, err := registry.ParseEndpoint(endpoint)
	if err != nil {
		panic(fmt.Sprintf("fakenet: endpoint %q %v", endpoint, err))
	}
	others := partners[e.Host]
	r.TokenHost = cmp.Or(r.TokenHost, others.token, "auth."+e.Host)
	r.BlobHost = cmp.Or(r.BlobHost, others.blobs, "blobs."+e.Host)
	for _, host := range append([]string{e.Host, e.APIHost(), r.TokenHost, r.BlobHost}, others.aliases...) {
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		n.Handle(host, r)
	}
}

// partners are the real hosts of registries whose parts have different hosts.
var partners = map[string]struct {
	token, blobs string
	aliases      []string
}{
	"docker.io":           {"auth.docker.io", "production.cloudflare.docker.com", []string{"index.docker.io"}},
	"registry.gitlab.com": {"gitlab.com", "storage.googleapis.com", nil},
	"quay.io":             {"quay.io", "cdn01.quay.io", nil},
	"ghcr.io":             {"ghcr.io", "pkg-containers.githubusercontent.com", nil},
}

// TransportConfig returns the transport of a profile for the network.
func (n *Network) TransportConfig() registry.TransportConfig {
	return registry.TransportConfig{CABundle: n.CA, Proxy: n.URL}
}

// Client returns a client that connects to the network.
func (n *Network) Client() *http.Client {
	t, err := n.TransportConfig().HTTP()
	if err != nil {
		panic(err) // The network's own certificate and address are valid.
	}
	return &http.Client{Transport: t}
}

// Dialed returns the hosts, with ports, of all connections that clients made or tried to make, in their order. A test
// can check here that a host was not contacted.
func (n *Network) Dialed() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.dialed)
}

// Close stops the network and closes all its connections. The request context of a running handler ends.
func (n *Network) Close() {
	_ = n.proxy.Close()
	_ = n.inner.Close()
	_ = n.conns.Close()
	n.serving.Wait()
}

// find returns the handler of a host, and records the host for Dialed.
func (n *Network) find(hostport string) http.Handler {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.ToLower(host)
	n.mu.Lock()
	defer n.mu.Unlock()
	if h := n.hosts[host]; h != nil {
		return h
	}
	var found http.Handler
	longest := 0
	for pattern, h := range n.hosts {
		if suffix, ok := strings.CutPrefix(pattern, "*"); ok && strings.HasSuffix(host, suffix) && len(suffix) > longest {
			found, longest = h, len(suffix)
		}
	}
	return found
}

func (n *Network) note(hostport string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.dialed = append(n.dialed, hostport)
}

// serveProxy opens a tunnel, or forwards an http request.
func (n *Network) serveProxy(w http.ResponseWriter, r *http.Request) {
	n.note(r.Host)
	if n.find(r.Host) == nil {
		noSuchHost(w)
		return
	}
	if r.Method != http.MethodConnect {
		n.serveHost(w, r)
		return
	}
	conn, buffered, err := w.(http.Hijacker).Hijack()
	if err != nil {
		http.Error(w, "fakenet: cannot open a tunnel", http.StatusInternalServerError)
		return
	}
	if _, err := io.WriteString(conn, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		_ = conn.Close()
		return
	}
	host, _, _ := net.SplitHostPort(r.Host)
	n.conns.deliver(&hostConn{Conn: conn, r: buffered.Reader, host: host})
}

// noSuchHost sends the response of a proxy that cannot resolve the name (RFC 9209, 2.3.2).
func noSuchHost(w http.ResponseWriter) {
	w.Header().Set("Proxy-Status", `fakenet; error=dns_error; rcode="NXDOMAIN"`)
	http.Error(w, "fakenet: no such host", http.StatusBadGateway)
}

func (n *Network) serveHost(w http.ResponseWriter, r *http.Request) {
	h := n.find(r.Host)
	if h == nil {
		noSuchHost(w)
		return
	}
	r.URL = &url.URL{Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: r.URL.RawQuery} // As a server receives it.
	h.ServeHTTP(w, r)
}

// A hostConn is the inner connection of a tunnel to one host.
type hostConn struct {
	net.Conn
	r    *bufio.Reader
	host string
}

func (c *hostConn) Read(b []byte) (int, error) { return c.r.Read(b) }

// A connListener passes connections from the proxy to the server of the hosts.
type connListener struct {
	addr  net.Addr
	conns chan net.Conn
	ctx   context.Context
	stop  context.CancelFunc
}

func newConnListener(addr net.Addr) *connListener {
	ctx, stop := context.WithCancel(context.Background())
	return &connListener{addr, make(chan net.Conn), ctx, stop}
}

func (l *connListener) deliver(c net.Conn) {
	select {
	case l.conns <- c:
	case <-l.ctx.Done():
		_ = c.Close()
	}
}

func (l *connListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.ctx.Done():
		return nil, net.ErrClosed
	}
}

func (l *connListener) Close() error   { l.stop(); return nil }
func (l *connListener) Addr() net.Addr { return l.addr }

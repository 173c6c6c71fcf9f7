package registrytest

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"

	"github.com/regcred/regcred/internal/testcert"
	"github.com/regcred/regcred/registry"
)

// A Server serves a [Registry] on the loopback address. [Start] and [StartPlainHTTP] return one.
type Server struct {
	// Registry is the registry that is served.
	Registry *Registry
	// Host is the host and port, as written in the names of images: "127.0.0.1:40443".
	Host string
	// URL is the scheme and Host.
	URL string
	// CA is the certificate, in PEM, of the authority that signs the server's certificates. It is empty with plain HTTP.
	CA string

	client  *http.Client
	servers []*http.Server
	end     context.CancelFunc
	serving sync.WaitGroup

	mu     sync.Mutex
	closed bool
	calls  sync.WaitGroup
}

// Start serves the registry over TLS, with certificates for 127.0.0.1, ::1 and localhost. Close the server when done.
func Start(r *Registry) (*Server, error) { return start(r, true) }

// StartPlainHTTP serves the registry without TLS. Close the server when done.
func StartPlainHTTP(r *Registry) (*Server, error) { return start(r, false) }

// certify returns a certificate for the loopback address, signed by the server's own authority.
func (s *Server) certify() (tls.Certificate, error) {
	authority, err := testcert.New("registrytest authority")
	if err != nil {
		return tls.Certificate{}, err
	}
	s.CA = authority.PEM
	return authority.Issue("localhost", "127.0.0.1", "::1")
}

func start(r *Registry, secure bool) (*Server, error) {
	ctx, end := context.WithCancel(context.Background())
	s := &Server{Registry: r, end: end}
	var config *tls.Config
	scheme := "http"
	if secure {
		cert, err := s.certify()
		if err != nil {
			end()
			return nil, err
		}
		scheme, config = "https", &tls.Config{Certificates: []tls.Certificate{cert}}
	}
	// Each part of the registry has its own host name, not just its own port: some clients reject a redirect to another IP
	// address.
	parts := []Part{PartRegistry}
	if r.Dialect.token.otherHost {
		parts = append(parts, PartToken)
	}
	if r.RedirectBlobs {
		parts = append(parts, PartBlobs)
	}
	hosts := make(map[Part]string)
	var listeners []net.Listener
	for _, part := range parts {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			end()
			for _, l := range listeners {
				_ = l.Close()
			}
			return nil, err
		}
		listeners = append(listeners, l)
		hosts[part] = l.Addr().String()
		if part != PartRegistry {
			hosts[part] = strings.Replace(hosts[part], "127.0.0.1", "localhost", 1)
		}
	}
	for i, part := range parts {
		at := place{part: part, tokenHost: hosts[PartToken], blobHost: hosts[PartBlobs]}
		s.serve(ctx, listeners[i], config, at)
	}
	s.Host = hosts[PartRegistry]
	s.URL = scheme + "://" + s.Host
	transport, err := s.TransportConfig().HTTP()
	if err != nil {
		s.Close()
		return nil, err
	}
	s.client = &http.Client{Transport: transport}
	return s, nil
}

func (s *Server) serve(ctx context.Context, l net.Listener, config *tls.Config, at place) {
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if s.enter() {
				defer s.calls.Done()
				s.Registry.serve(w, req, at)
			}
		}),
		TLSConfig:   config.Clone(),             // The server modifies it.
		ErrorLog:    log.New(io.Discard, "", 0), // Clients report certificates that they do not trust.
		BaseContext: func(net.Listener) context.Context { return ctx },
		ConnContext: withConn,
	}
	s.servers = append(s.servers, server)
	s.serving.Go(func() {
		var err error
		if config != nil {
			err = server.ServeTLS(l, "", "")
		} else {
			err = server.Serve(l)
		}
		if !errors.Is(err, http.ErrServerClosed) {
			_ = l.Close()
		}
	})
}

// enter counts a call, so that Close can wait for its end.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.calls.Add(1)
	return true
}

// TransportConfig returns the transport of a profile for the server.
func (s *Server) TransportConfig() registry.TransportConfig {
	return registry.TransportConfig{CABundle: s.CA, Proxy: registry.Direct, PlainHTTP: s.CA == ""}
}

// Client returns a client that trusts the server's certificate. It sends no login.
func (s *Server) Client() *http.Client { return s.client }

// Close closes all connections, and blocks until everything that the server started has ended. The registry may be
// served again.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.end()
	for _, server := range s.servers {
		_ = server.Close()
	}
	s.serving.Wait()
	s.calls.Wait()
	if s.client != nil {
		s.client.CloseIdleConnections()
	}
}

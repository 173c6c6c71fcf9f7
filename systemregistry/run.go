package systemregistry

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/regcred/regcred/internal/option"
)

const (
	// readHeaderTimeout is the time limit for the headers of a request.
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 64 << 10
)

// run serves until ctx ends. There is no time limit on a whole request, because a large layer over a slow line takes
// long. [pace] sets the lowest transfer rate instead.
func (r *Registry) run(ctx context.Context) error {
	listener, err := r.listen(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	server := r.httpServer()
	served, maintained := make(chan error, 1), make(chan struct{})
	go func() { served <- server.Serve(listener) }()
	go func() { defer close(maintained); r.Maintain(ctx) }()
	if r.config.OnReady != nil {
		r.config.OnReady(r.ready(listener.Addr()))
	}

	select {
	case err = <-served:
		err = errors.Join(fmt.Errorf("serve registry: %w", err), server.Close()) // Serve leaves connections open.
	case <-ctx.Done():
		err = shutdown(ctx, server, option.OrDefault(r.config.ShutdownTimeout, defaultShutdownTimeout))
		<-served
	}
	cancel()
	<-maintained
	return err
}

func (r *Registry) httpServer() *http.Server {
	return &http.Server{
		Handler:           r,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ConnContext:       connContext,
		ErrorLog:          log.New(errorWriter(r.config.failed), "", 0),
	}
}

func shutdown(ctx context.Context, server *http.Server, grace time.Duration) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	err := server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) { // Shutdown cut off the requests that outlast ShutdownTimeout, as documented.
		return server.Close()
	}
	return err
}

func (r *Registry) listen(ctx context.Context) (net.Listener, error) {
	listener := r.config.Listener
	if listener == nil {
		addr := r.config.Addr
		if addr == "" {
			addr = defaultAddr
		}
		var err error
		if listener, err = new(net.ListenConfig).Listen(ctx, "tcp", addr); err != nil {
			return nil, fmt.Errorf("serve registry: %w", err)
		}
	}
	anonymous := &strangers{most: option.OrDefault(r.config.MaxAnonymous, defaultAnonymous), exempt: r.trusted}
	listener = anonymous.listener(listener)
	switch {
	case r.config.PlainHTTP:
		return listener, nil
	case r.config.TLS != nil:
		return tls.NewListener(listener, r.config.TLS), nil
	default:
		for _, host := range r.config.permitted() {
			if !r.authority.Permits(host) {
				r.config.failed(fmt.Errorf("the registry's authority does not cover %s, so its certificate is not valid for it: "+
					"replace the authority, see Registry.ReplaceCA", host))
			}
		}
		return tls.NewListener(listener, r.authority.TLS(r.config.hosts())), nil
	}
}

// permitted returns the names that the registry's own authority may sign: the names in the configuration, and loopback.
// If it returns none, the authority may sign all names, because the name of a machine or pod changes more often than
// the authority.
func (s Server) permitted() []string {
	hosts := slices.Clone(s.Hosts)
	if u, err := url.Parse(s.URL); err == nil && u.Hostname() != "" {
		hosts = append(hosts, u.Hostname())
	}
	if len(hosts) == 0 {
		return nil
	}
	for _, host := range []string{"localhost", "127.0.0.1", "::1"} {
		if !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	return hosts
}

// hosts returns the names in the certificate from the registry's own authority.
func (s Server) hosts() []string {
	if len(s.Hosts) > 0 {
		return s.Hosts
	}
	hosts := []string{"localhost", "127.0.0.1", "::1"}
	if name, err := os.Hostname(); err == nil {
		hosts = append(hosts, strings.ToLower(name))
	}
	if u, err := url.Parse(s.URL); err == nil && u.Hostname() != "" && !slices.Contains(hosts, u.Hostname()) {
		hosts = append(hosts, u.Hostname())
	}
	return hosts
}

func (r *Registry) ready(addr net.Addr) Ready {
	ready := Ready{Registry: r, Addr: addr, URL: r.config.URL}
	if ready.URL == "" {
		scheme := "https"
		if r.config.PlainHTTP {
			scheme = "http"
		}
		host := addr.String()
		if tcp, ok := addr.(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
			host = fmt.Sprintf("localhost:%d", tcp.Port)
		}
		ready.URL = scheme + "://" + host
	}
	if r.config.TLS == nil && !r.config.PlainHTTP {
		ready.CA = r.CA()
	}
	return ready
}

// errorWriter is a writer that passes the lines of net/http's log to a hook.
type errorWriter func(error)

func (w errorWriter) Write(line []byte) (int, error) {
	w(errors.New(strings.TrimSpace(string(line))))
	return len(line), nil
}

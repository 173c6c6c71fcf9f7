package validate_test

import (
	"context"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
)

// host is an address that is nobody's (RFC 5737), and stands for the server. With one of loopback, go-containerregistry
// would try plain HTTP as well; a name, regclient would look up.
const host = "192.0.2.1"

// A server is a registry with images, over TLS on loopback.
type server struct {
	*httptest.Server
	registry    *registrytest.Registry
	images      []registry.Image
	connections atomic.Int64
}

// newServer starts a server with a scheme: "basic", "bearer" for tokens, or "bearer-get" for a token server that answers
// POST with 405, as containerd sends it, and GET with a token.
func newServer(tb testing.TB, repositories, tags int, scheme, protocol string, delay time.Duration) *server {
	d := registrytest.DistributionToken()
	if scheme == "basic" {
		d = registrytest.DistributionBasic()
	}
	account := registrytest.Account{Username: username, Password: credentials.NewSecret(password), Pull: []string{"*"}}
	r := &registrytest.Registry{Dialect: d, Accounts: []registrytest.Account{account}}
	s := &server{Server: httptest.NewUnstartedServer(r), registry: r}
	s.EnableHTTP2 = protocol == "h2"
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.connections.Add(1)
		}
	}
	s.StartTLS()
	tb.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	for t := range tags {
		for i := range repositories {
			image := registry.Image{Host: host, Repository: fmt.Sprintf("team/app%03d", i), Tag: fmt.Sprintf("v%d", t)}
			if _, err := r.Add(image.Repository+":"+image.Tag, registrytest.Image{}); err != nil {
				tb.Fatal(err)
			}
			s.images = append(s.images, image)
		}
	}
	if scheme == "bearer-get" {
		r.Inject(registrytest.Fault{
			Match:  func(q registrytest.Request) bool { return q.Method == http.MethodPost },
			Delay:  delay,
			Answer: registrytest.Answer{Status: http.StatusMethodNotAllowed},
		})
	}
	if delay > 0 {
		r.Inject(registrytest.Fault{Delay: delay})
	}
	return s
}

// work returns the work to be done, with transports that have no connection yet.
func (s *server) work(tb testing.TB, atOnce int) work {
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	transport := registry.TransportConfig{CABundle: string(ca), Proxy: registry.Direct}
	w := work{images: slices.Clone(s.images), atOnce: atOnce, transport: transport}
	w.transports = &registry.Transports{MaxConnsPerHost: atOnce}
	own, err := w.transports.For(transport)
	if err != nil {
		tb.Fatal(err)
	}
	if w.way, err = transport.HTTP(); err != nil {
		tb.Fatal(err)
	}
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, s.Listener.Addr().String())
	}
	for _, h := range []*http.Transport{own, w.way} {
		h.DialContext = dial
		h.TLSClientConfig.ServerName = "example.com" // As the certificates of httptest say.
	}
	return w
}

func BenchmarkImages(b *testing.B) {
	for _, size := range []struct{ repositories, tags, atOnce int }{{1, 1, 1}, {1, 100, 1}, {1, 100, 32}, {100, 10, 32}} {
		for _, scheme := range []string{"basic", "bearer", "bearer-get"} {
			for _, delay := range []time.Duration{0, 20 * time.Millisecond} {
				for _, protocol := range []string{"h2", "h1"} {
					s := newServer(b, size.repositories, size.tags, scheme, protocol, delay)
					for _, name := range []string{"limit", "regcred", "ggcr Puller", "ggcr remote.Head", "oras", "regclient"} {
						b.Run(fmt.Sprintf("images=%d/repositories=%d/atonce=%d/%s/%s/%s/%s", len(s.images), size.repositories,
							size.atOnce, scheme, delay, protocol, name), func(b *testing.B) { s.measure(b, peers[name], size.atOnce) })
					}
				}
			}
		}
	}
}

// measure leaves out the making of transports, which read all of the system's certificates.
func (s *server) measure(b *testing.B, peer peer, atOnce int) {
	b.ReportAllocs()
	s.registry.ResetRequests()
	s.connections.Store(0)
	for b.Loop() {
		b.StopTimer()
		w := s.work(b, atOnce)
		b.StartTimer()
		if err := peer(b.Context(), w); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		w.close()
		b.StartTimer()
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/1e3/float64(b.N), "ms/op")
	b.ReportMetric(float64(len(s.registry.Requests()))/float64(b.N), "requests/op")
	b.ReportMetric(float64(s.connections.Load())/float64(b.N), "connections/op")
}

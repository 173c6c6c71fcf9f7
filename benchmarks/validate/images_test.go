package validate_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
)

// A server is a registry with images, over TLS on loopback.
type server struct {
	tb     testing.TB
	served *registrytest.Server
	images []registry.Image
}

func newServer(tb testing.TB, repositories, tags int, scheme string, delay time.Duration) *server {
	d := registrytest.DistributionToken()
	if scheme == "basic" {
		d = registrytest.DistributionBasic()
	}
	r := &registrytest.Registry{Dialect: d, Accounts: []registrytest.Account{{Username: username, Password: credentials.NewSecret(password), Pull: []string{"*"}}}}
	served, err := registrytest.Start(r)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(served.Close)
	s := &server{tb: tb, served: served}
	for t := range tags {
		for i := range repositories {
			image := registry.Image{Host: served.Host, Repository: fmt.Sprintf("team/app%03d", i), Tag: fmt.Sprintf("v%d", t)}
			if _, err := r.Add(image.Repository+":"+image.Tag, registrytest.Image{}); err != nil {
				tb.Fatal(err)
			}
			s.images = append(s.images, image)
		}
	}
	if delay > 0 {
		r.Inject(registrytest.Fault{Delay: delay})
	}
	return s
}

// work returns the work with a transport of its own, and the number of connections that it made.
func (s *server) work(http2 bool, atOnce int) (work, *atomic.Int64) {
	way, err := s.served.Transport().HTTP()
	if err != nil {
		s.tb.Fatal(err)
	}
	way.ForceAttemptHTTP2 = http2
	if !http2 {
		way.Protocols = new(http.Protocols)
		way.Protocols.SetHTTP1(true)
	}
	var connections atomic.Int64
	dial := way.DialContext
	way.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		connections.Add(1)
		return dial(ctx, network, address)
	}
	s.tb.Cleanup(way.CloseIdleConnections)
	return work{s.served.Host, append([]registry.Image(nil), s.images...), way, atOnce}, &connections
}

func BenchmarkImages(b *testing.B) {
	for _, size := range []struct{ repositories, tags, atOnce int }{{1, 1, 1}, {1, 100, 1}, {1, 100, 32}, {100, 10, 32}} {
		for _, scheme := range []string{"bearer", "basic"} {
			for _, delay := range []time.Duration{0, 20 * time.Millisecond} {
				for _, http2 := range []bool{true, false} {
					protocol := map[bool]string{true: "h2", false: "h1"}[http2]
					s := newServer(b, size.repositories, size.tags, scheme, delay)
					for _, name := range []string{"limit", "regcred", "ggcr Puller", "ggcr remote.Head", "oras"} {
						b.Run(fmt.Sprintf("images=%d/repositories=%d/atonce=%d/%s/%s/%s/%s", len(s.images), size.repositories, size.atOnce, scheme, delay, protocol, name), func(b *testing.B) {
							s.measure(b, peers[name], http2, size.atOnce)
						})
					}
				}
			}
		}
	}
}

func (s *server) measure(b *testing.B, peer func(context.Context, work) error, http2 bool, atOnce int) {
	b.ReportAllocs()
	var connections int64
	s.served.Registry.ResetRequests()
	for b.Loop() {
		w, n := s.work(http2, atOnce)
		if err := peer(b.Context(), w); err != nil {
			b.Fatal(err)
		}
		connections += n.Load()
		w.way.(*http.Transport).CloseIdleConnections()
	}
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/op")
	b.ReportMetric(float64(len(s.served.Registry.Requests()))/float64(b.N), "requests/op")
	b.ReportMetric(float64(connections)/float64(b.N), "connections/op")
}

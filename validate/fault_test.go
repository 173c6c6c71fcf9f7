package validate_test

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
	"github.com/regcred/regcred/validate"
)

// For any fault of a registry, a check ends within its limits, fails with a specific code, uses little memory and
// leaves no goroutine behind.
func TestFaults(t *testing.T) {
	for name, f := range faults {
		for _, where := range everywhere {
			for _, protocol := range []string{"HTTP/2.0", "HTTP/1.1"} {
				if protocol == "HTTP/1.1" && where != "manifest" {
					continue // The difference is below the steps.
				}
				t.Run(name+" "+where+" "+protocol, func(t *testing.T) { f.meet(t, where, protocol) })
			}
		}
	}
}

func (f fault) meet(t *testing.T, where, protocol string) {
	before := runtime.NumGoroutine()
	r := newRegistry(registrytest.DistributionToken(), user("ann", "right", "*")) // A host of no known vendor.
	digest := add(t, r, registrytest.Image{}, "team/app:1")
	var asked atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		step := "other"
		switch {
		case strings.Contains(req.URL.Path, "/manifests/") && req.Method == http.MethodGet:
			step = "manifest"
		case strings.HasSuffix(req.URL.Path, "/token"):
			step = "token"
		case strings.Trim(req.URL.Path, "x") == "/v2/":
			step = "ping"
		}
		if step == where {
			if n := asked.Add(1); !f.once || n == 1 {
				f.do(w, req, r)
				return
			}
		}
		r.ServeHTTP(w, req)
	}))
	server.EnableHTTP2 = protocol == "HTTP/2.0"
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	closeServer := func() { server.CloseClientConnections(); server.Close() }
	c := &validate.Checker{
		Timeout: cmp.Or(f.timeout, 10*time.Second), MaxWait: 2 * time.Second,
		Platforms: []validate.Platform{{OS: "linux", Architecture: "amd64"}},
	}
	candidate := as("ann", "right")
	candidate.Transport = registry.TransportConfig{CABundle: pemOf(server.Certificate()), Proxy: registry.Direct}

	var m0, m1 runtime.MemStats
	runtime.ReadMemStats(&m0)
	began := time.Now()
	got, err := c.Image(t.Context(), image(t, server.Listener.Addr().String()+"/team/app:1"), candidate)
	took := time.Since(began)
	runtime.ReadMemStats(&m1)

	want := f.want
	if other, ok := f.wantAt[where]; ok {
		want = other
	}
	require.Equal(t, want, registry.CodeOf(err), "%v", err)
	if want == "" {
		require.Equal(t, digest, got.Digest)
	} else if f.wait > 0 && want != "" {
		e, _ := errors.AsType[*registry.Error](err)
		require.GreaterOrEqual(t, e.Wait, f.wait)
	}
	require.LessOrEqual(t, int(asked.Load()), f.requests)
	require.GreaterOrEqual(t, took, f.atLeast)
	require.Less(t, took, time.Minute)
	require.Less(t, m1.TotalAlloc-m0.TotalAlloc, cmp.Or(f.maxAlloc, 16<<20), "bytes allocated")

	c.CloseIdleConnections()
	closeServer()
	for end := time.Now().Add(time.Minute); runtime.NumGoroutine() > before && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	require.LessOrEqual(t, runtime.NumGoroutine(), before, "goroutines are left")
}

// No server responds.
func TestNobody(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	closed := l.Addr().String()
	require.NoError(t, l.Close())
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	direct, inTheClear := registry.TransportConfig{Proxy: registry.Direct}, registry.TransportConfig{Proxy: registry.Direct, PlainHTTP: true}
	for name, tc := range map[string]struct {
		host string
		way  registry.TransportConfig
		want registry.Code
	}{
		"refused":           {closed, direct, registry.ErrUnreachable},
		"proxy down":        {"registry.example.com", registry.TransportConfig{Proxy: "http://" + closed}, registry.ErrProxy},
		"plain HTTP":        {plain.Listener.Addr().String(), direct, registry.ErrTLS},
		"proxy refuses":     {"registry.example.com", registry.TransportConfig{Proxy: plain.URL}, registry.ErrProxy},
		"not a registry":    {plain.Listener.Addr().String(), inTheClear, registry.ErrNotRegistry},
		"invalid transport": {"registry.example.com", registry.TransportConfig{Proxy: "nonsense"}, registry.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			c := &validate.Checker{}
			defer c.CloseIdleConnections()
			candidate := as("ann", "right")
			candidate.Transport = tc.way
			got, err := c.Image(t.Context(), image(t, tc.host+"/team/app:1"), candidate)
			require.Equal(t, tc.want, registry.CodeOf(err), "%v", err)
			require.NotContains(t, strings.Join(got.Warnings, "\n"), "does not pull", "a verdict about a runtime")
			_, err = c.Login(t.Context(), endpoint(t, tc.host), candidate)
			require.Equal(t, tc.want, registry.CodeOf(err), "%v", err)
			require.NotContains(t, err.Error(), "right", "the password")
		})
	}
}

// The name of the registry does not resolve: the resolver responds that there is no such host, fails, or is silent.
func TestNameNotResolved(t *testing.T) {
	for name, tc := range map[string]struct {
		rcode   byte // RFC 1035, 4.1.1.
		timeout time.Duration
		want    registry.Code
	}{
		"no such host": {rcode: 3, want: registry.ErrHostNotFound},
		"fails":        {rcode: 2, want: registry.ErrUnreachable},
		"silent":       {timeout: 300 * time.Millisecond, want: registry.ErrTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			resolver, err := net.ListenPacket("udp", "127.0.0.1:0")
			require.NoError(t, err)
			defer resolver.Close()
			go func() {
				for query := make([]byte, 512); ; {
					n, from, err := resolver.ReadFrom(query)
					if err != nil {
						return
					}
					if n < 12 || tc.rcode == 0 {
						continue
					}
					query[2], query[3] = query[2]|0x80, tc.rcode // The response is the query with these changes.
					_, _ = resolver.WriteTo(query[:n], from)
				}
			}()
			ask := func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "udp", resolver.LocalAddr().String())
			}
			dialer := &net.Dialer{Resolver: &net.Resolver{PreferGo: true, Dial: ask}}
			c := &validate.Checker{Timeout: tc.timeout, RoundTripper: &http.Transport{DialContext: dialer.DialContext}}
			_, err = c.Image(t.Context(), image(t, "registry.example.com/team/app:1"), as("ann", "right"))
			require.Equal(t, tc.want, registry.CodeOf(err), "%v", err)
			require.NotEmpty(t, registry.HintOf(err))
		})
	}
}

// A canceled call returns at once, with the cause of the cancellation.
func TestCanceled(t *testing.T) {
	r := newRegistry(registrytest.DockerHub(), user("ann", "right", "*"))
	add(t, r, registrytest.Image{}, "team/app:1")
	for _, part := range []registrytest.Part{registrytest.PartRegistry, registrytest.PartToken} {
		remove := r.Inject(registrytest.Fault{Match: func(q registrytest.Request) bool { return q.Part == part }, Hang: true})
		s := start(t, r)
		ctx, cancel := context.WithCancelCause(t.Context())
		cause := errors.New("enough")
		time.AfterFunc(100*time.Millisecond, func() { cancel(cause) })
		var requests []validate.Request
		for _, tag := range []string{"1", "2", "3"} {
			candidates := []validate.Candidate{login(s, "ann", "right")}
			requests = append(requests, validate.Request{Image: image(t, s.Host+"/team/app:"+tag), Candidates: candidates})
		}
		began := time.Now()
		got, err := (&validate.Checker{Timeout: time.Hour}).Images(ctx, requests)
		require.Less(t, time.Since(began), time.Minute)
		require.ErrorIs(t, err, cause)
		for _, r := range got {
			require.Equal(t, registry.ErrCanceled, registry.CodeOf(r.Err))
			require.ErrorIs(t, r.Err, cause)
		}
		remove()
	}
}

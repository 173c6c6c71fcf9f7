package validate_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
	"github.com/regcred/regcred/validate"
)

// hosts sends each request to the registry at its host.
type hosts map[string]*registrytest.Registry

func (h hosts) RoundTrip(req *http.Request) (*http.Response, error) {
	return h[req.URL.Hostname()].RoundTripper().RoundTrip(req)
}

// A gauge counts concurrent requests.
type gauge struct {
	next http.RoundTripper
	mu   sync.Mutex
	now  map[string]int // By host; "" for all.
	max  map[string]int
}

func (g *gauge) add(host string, n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, key := range []string{host, ""} {
		g.now[key] += n
		g.max[key] = max(g.max[key], g.now[key])
	}
}

func (g *gauge) RoundTrip(req *http.Request) (*http.Response, error) {
	g.add(req.URL.Hostname(), 1)
	defer g.add(req.URL.Hostname(), -1)
	time.Sleep(20 * time.Millisecond)
	return g.next.RoundTrip(req)
}

func TestImagesConcurrency(t *testing.T) {
	for name, tc := range map[string]struct {
		checker         *validate.Checker
		inAll, toOne    int
		atLeast, atMost time.Duration
	}{
		// 2 x 64 images at 20 ms, and a ping.
		"usual":     {&validate.Checker{}, 32, 16, 100 * time.Millisecond, 120 * time.Millisecond},
		"by one":    {&validate.Checker{Concurrency: 1}, 1, 1, 2600 * time.Millisecond, 2600 * time.Millisecond},
		"registry":  {&validate.Checker{PerRegistry: 4}, 8, 4, 340 * time.Millisecond, 340 * time.Millisecond},
		"unbounded": {&validate.Checker{Concurrency: 1000, PerRegistry: 1000}, 128, 64, 40 * time.Millisecond, 40 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := hosts{}
				var requests []validate.Request
				for _, host := range []string{"a.example.com", "b.example.com"} {
					r := newRegistry(registrytest.MCR())
					h[host] = r
					for i := range 64 {
						n := fmt.Sprintf("team/app:%d", i)
						add(t, r, registrytest.Image{}, n)
						requests = append(requests, validate.Request{Image: image(t, host+"/"+n)})
					}
				}
				g := &gauge{next: h, now: map[string]int{}, max: map[string]int{}}
				tc.checker.RoundTripper = g
				began := time.Now()
				_, err := tc.checker.Images(t.Context(), requests)
				require.NoError(t, err)
				require.Equal(t, tc.inAll, g.max[""])
				require.Equal(t, tc.toOne, max(g.max["a.example.com"], g.max["b.example.com"]))
				took := time.Since(began)
				require.True(t, tc.atLeast <= took && took <= tc.atMost, "it took %s", took)
			})
		})
	}
}

// All calls together have no more connections to a registry at once than PerRegistry; over HTTP/2, one. Without a limit
// there would be dozens, because net/http dials for a request that an older connection then serves, if one is free
// before the handshake is done. If net/http gives a connection up on a busy machine, the server learns that later, so it
// may see a few more.
func TestImagesConnections(t *testing.T) {
	for protocol, atMost := range map[string]int{"HTTP/1.1": 8, "HTTP/2": 3} {
		t.Run(protocol, func(t *testing.T) {
			r := newRegistry(registrytest.DistributionToken())
			r.Accounts = []registrytest.Account{user("ann", "right", "*")}
			var mu sync.Mutex
			now, most := 0, 0
			server := httptest.NewUnstartedServer(r)
			server.EnableHTTP2 = protocol == "HTTP/2"
			server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
				mu.Lock()
				defer mu.Unlock()
				switch state {
				case http.StateNew:
					now++
					most = max(most, now)
				case http.StateClosed:
					now--
				}
			}
			server.Listener = slowGreeting{server.Listener}
			server.StartTLS()
			defer server.Close()
			candidates := []validate.Candidate{{
				Source:    source("ann", "right"),
				Transport: registry.TransportConfig{CABundle: pemOf(server.Certificate()), Proxy: registry.Direct},
			}}
			var requests []validate.Request
			for i := range 200 {
				n := fmt.Sprintf("team/app%d:1", i)
				add(t, r, registrytest.Image{}, n)
				i := image(t, server.Listener.Addr().String()+"/"+n)
				requests = append(requests, validate.Request{Image: i, Candidates: candidates})
			}
			c := &validate.Checker{PerRegistry: 4}
			defer c.CloseIdleConnections()
			_, err := c.Login(t.Context(), endpoint(t, server.Listener.Addr().String()), candidates[0])
			require.NoError(t, err)
			var calls sync.WaitGroup
			for range 3 {
				calls.Go(func() {
					_, err := c.Images(t.Context(), requests)
					assert.NoError(t, err)
				})
			}
			calls.Wait()
			mu.Lock()
			defer mu.Unlock()
			require.LessOrEqual(t, most, atMost)
		})
	}
}

// slowGreeting makes handshakes take longer than requests.
type slowGreeting struct{ net.Listener }

func (l slowGreeting) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	return &slowConn{Conn: conn}, err
}

type slowConn struct {
	net.Conn
	greeted bool // Used by one goroutine only.
}

func (c *slowConn) Read(b []byte) (int, error) {
	if !c.greeted {
		time.Sleep(20 * time.Millisecond)
		c.greeted = true
	}
	return c.Conn.Read(b)
}

// A registry that does not respond delays no other.
func TestImagesSlowRegistry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow, quick := newRegistry(registrytest.MCR()), newRegistry(registrytest.MCR())
		slow.Inject(registrytest.Fault{Hang: true})
		var requests []validate.Request
		for i := range 100 {
			n := fmt.Sprintf("team/app:%d", i)
			add(t, quick, registrytest.Image{}, n)
			requests = append(requests, validate.Request{Image: image(t, "slow.example.com/"+n)})
			requests = append(requests, validate.Request{Image: image(t, "quick.example.com/"+n)})
		}
		began := time.Now()
		var last time.Duration
		c := &validate.Checker{RoundTripper: hosts{"slow.example.com": slow, "quick.example.com": quick}}
		c.Progress = func(p validate.Progress) {
			if p.Result.Err == nil {
				last = time.Since(began)
			}
		}
		_, err := c.Images(t.Context(), requests)
		require.ErrorIs(t, err, registry.ErrTimeout)
		require.Less(t, last, time.Second)
		require.LessOrEqual(t, time.Since(began), 31*time.Second, "each image waited again for a registry that does not answer")
	})
}

// If a registry requests a short wait, all of its images wait. If it requests an hour, no more requests are sent.
func TestImagesRetryAfter(t *testing.T) {
	for name, tc := range map[string]struct {
		maxWait, wish time.Duration
		times         int
		want          registry.Code
		took          time.Duration
		requests      int // At most, in addition to the ping.
	}{
		"a moment":           {0, 5 * time.Second, 1, "", 5 * time.Second, 41},
		"an hour":            {0, time.Hour, 0, registry.ErrRateLimited, 0, 16},
		"longer than we may": {2 * time.Second, 5 * time.Second, 0, registry.ErrRateLimited, 0, 16},
		"as long as we may":  {time.Hour, time.Hour, 1, "", time.Hour, 41},
		"never wait":         {-1, time.Second, 0, registry.ErrRateLimited, 0, 16},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRegistry(registrytest.MCR())
				var requests []validate.Request
				for i := range 40 {
					n := fmt.Sprintf("team/app:%d", i)
					add(t, r, registrytest.Image{}, n)
					requests = append(requests, validate.Request{Image: image(t, "a.example.com/"+n)})
				}
				r.Inject(registrytest.Fault{
					Match: func(q registrytest.Request) bool { return q.Reference != "" }, Times: tc.times,
					Answer: registrytest.Answer{Status: 429}, Header: map[string]string{"Retry-After": fmt.Sprint(int(tc.wish.Seconds()))},
				})
				c := &validate.Checker{RoundTripper: r.RoundTripper(), MaxWait: tc.maxWait}
				began := time.Now()
				got, err := c.Images(t.Context(), requests)
				require.Equal(t, tc.want, registry.CodeOf(err), "%v", err)
				require.Equal(t, tc.took, time.Since(began).Truncate(time.Second))
				require.LessOrEqual(t, len(r.Requests()), tc.requests+1)
				for _, g := range got {
					require.Equal(t, tc.want, registry.CodeOf(g.Err))
				}
			})
		})
	}
}

// In a batch, a source is called once, and a rejected credential is dropped and renewed once, for all images.
func TestImagesRenewsOnce(t *testing.T) {
	r := newRegistry(registrytest.DistributionToken(), user("ann", "new", "*"))
	s := start(t, r)
	var asked, refused atomic.Int32
	candidates := []validate.Candidate{{
		Name: "ann",
		Source: credentials.Func(func(context.Context) (credentials.Credential, error) {
			asked.Add(1)
			password := "old"
			if refused.Load() > 0 {
				password = "new"
			}
			return credentials.Credential{Username: "ann", Password: credentials.NewSecret(password)}, nil
		}),
		OnRejected: func(credentials.Credential) { refused.Add(1) },
		Transport:  s.TransportConfig(),
	}}
	var requests []validate.Request
	for i := range 50 {
		n := fmt.Sprintf("team/app%d:1", i)
		add(t, r, registrytest.Image{}, n)
		requests = append(requests, validate.Request{Image: image(t, s.Host+"/"+n), Candidates: candidates})
	}
	_, err := (&validate.Checker{}).Images(t.Context(), requests)
	require.NoError(t, err)
	require.EqualValues(t, 1, refused.Load())
	require.EqualValues(t, 2, asked.Load())
}

func TestCacheFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRegistry(registrytest.DistributionToken(), user("ann", "right", "*"))
		r.TokenTTL = 5 * time.Minute
		digest := add(t, r, registrytest.Image{}, "team/app:1")
		c := &validate.Checker{RoundTripper: r.RoundTripper(), CacheFor: time.Hour, Deep: true}
		ask := func(reference, password string) (requests int, err error) {
			r.ResetRequests()
			_, err = c.Image(t.Context(), image(t, "a.example.com/team/app"+reference), as("ann", password))
			return len(r.Requests()), err
		}
		for _, step := range []struct {
			what, reference, password string
			after                     time.Duration
			requests                  int
			want                      registry.Code
		}{
			{"all again: ping, token, HEAD, GET, config, layer", ":1", "right", 0, 6, ""},
			{"a tag is always asked for, and nothing else", ":1", "right", time.Minute, 1, ""},
			{"a digest is not", "@" + digest, "right", time.Minute, 0, ""},
			{"what one login learned is not another's: token (POST, GET), login, and is it public", "@" + digest, "wrong", 0, 5, registry.ErrUnauthorized},
			{"the token has expired", ":1", "right", 10 * time.Minute, 2, ""},
			{"the time is over", "@" + digest, "right", time.Hour, 6, ""},
		} {
			time.Sleep(step.after)
			n, err := ask(step.reference, step.password)
			require.Equal(t, step.want, registry.CodeOf(err), "%s: %v", step.what, err)
			require.Equal(t, step.requests, n, "%s: %v", step.what, r.Requests())
		}
	})
}

// Without CacheFor, every call starts again.
func TestNoCache(t *testing.T) {
	r := newRegistry(registrytest.DistributionToken(), user("ann", "right", "*"))
	digest := add(t, r, registrytest.Image{}, "team/app:1")
	c := &validate.Checker{RoundTripper: r.RoundTripper()}
	for range 2 {
		r.ResetRequests()
		_, err := c.Image(t.Context(), image(t, "a.example.com/team/app@"+digest), as("ann", "right"))
		require.NoError(t, err)
		require.Len(t, r.Requests(), 3)
	}
}

// A token that is revoked before it expires is renewed, once for all its users.
func TestTokenRevoked(t *testing.T) {
	for _, d := range []registrytest.Dialect{
		registrytest.DistributionToken(), registrytest.Quay(), registrytest.ECRPublic(), registrytest.GCR(),
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newRegistry(d, user("ann", "right", "*"))
			add(t, r, registrytest.Image{}, "team/app:1")
			c := &validate.Checker{RoundTripper: r.RoundTripper(), CacheFor: time.Hour}
			for range 2 {
				_, err := c.Image(t.Context(), image(t, homes[d.Name].host+"/team/app:1"), as("ann", "right"))
				require.NoError(t, err, d.Name)
				r.ExpireTokens()
				time.Sleep(2 * time.Minute)
			}
		})
	}
}

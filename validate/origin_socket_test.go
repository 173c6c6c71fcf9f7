package validate_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/egress"
	"github.com/regcred/regcred/internal/testcert"
	"github.com/regcred/regcred/internal/testdns"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/validate"
)

// Addresses on loopback that stand for places on the internet.
const (
	friendAddress = "127.0.0.2" // Allowed: all hosts of a graph are here.
	victimAddress = "127.0.0.3" // Not allowed: the platform's own network.
	proxyAddress  = "127.0.0.4" // Allowed, because the profile or the environment names it.
)

const proxyPassword = "pr0xy-p4ssw0rd"

// A wire carries the requests of graphs over sockets: a server for all hosts, a victim to which names are rebound, and
// a proxy.
type wire struct {
	secure      string // Port of TLS.
	plain       string
	proxy       string // Its URL, without a login.
	authority   *testcert.Authority
	resolver    *net.Resolver
	current     atomic.Pointer[graph]
	mu          sync.Mutex
	random      *rand.Rand // For lookups and the proxy.
	victims     atomic.Int32
	rebound     int
	proxied     int
	proxyLogins int
}

func (w *wire) chance(n int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.random.IntN(n) == 0
}

func newWire(t *testing.T) *wire {
	t.Helper()
	w := &wire{random: rand.New(rand.NewPCG(14, 14))}
	var err error
	w.authority, err = testcert.New("graphs")
	require.NoError(t, err)
	certificates := make(map[string]*tls.Certificate)
	config := &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		name := hello.ServerName
		if name == "" {
			name, _, _ = net.SplitHostPort(hello.Conn.LocalAddr().String())
		}
		if certificates[name] == nil {
			c, err := w.authority.Issue(name)
			if err != nil {
				return nil, err
			}
			certificates[name] = &c
		}
		return certificates[name], nil
	}}
	listen := func(address string) net.Listener {
		l, err := net.Listen("tcp", address)
		require.NoError(t, err)
		return l
	}
	serve := func(l net.Listener, h http.HandlerFunc) {
		s := &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: time.Minute}
		go func() { _ = s.Serve(l) }()
		t.Cleanup(func() { _ = s.Close() })
	}
	for _, port := range []*string{&w.secure, &w.plain} {
		friend := listen(friendAddress + ":0")
		_, *port, _ = net.SplitHostPort(friend.Addr().String())
		victim := listen(victimAddress + ":" + *port)
		t.Cleanup(func() { _ = victim.Close() })
		go func() {
			for {
				conn, err := victim.Accept()
				if err != nil {
					return
				}
				w.victims.Add(1)
				_ = conn.Close()
			}
		}()
		if port == &w.secure {
			serve(tls.NewListener(friend, config), func(res http.ResponseWriter, req *http.Request) { w.answer(res, req, "https") })
		} else {
			serve(friend, func(res http.ResponseWriter, req *http.Request) { w.answer(res, req, "http") })
		}
	}
	l := listen(proxyAddress + ":0")
	w.proxy = "http://" + l.Addr().String()
	serve(l, w.relay)
	everything := []string{friendAddress}
	w.resolver = testdns.StartFunc(t, func(string) []string { return everything }, func(string, []string) string {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.random.IntN(6) == 0 {
			w.rebound++
			return victimAddress
		}
		return friendAddress
	})
	return w
}

// answer answers as any host of the current graph.
func (w *wire) answer(res http.ResponseWriter, req *http.Request, scheme string) {
	g := w.current.Load()
	if text := req.Header.Get("Proxy-Authorization"); text != "" {
		g.fail("the proxy's login went to a server: " + req.Host)
	}
	u := *req.URL
	u.Scheme, u.Host = scheme, req.Host
	as := req.Clone(req.Context())
	as.URL = &u
	answer, err := g.RoundTrip(as)
	if err != nil {
		return
	}
	defer func() { _ = answer.Body.Close() }()
	for name, values := range answer.Header {
		res.Header()[name] = values
	}
	if w.chance(3) {
		res.Header().Set("Connection", "close") // The next request looks the name up again.
	}
	res.WriteHeader(answer.StatusCode)
	_, _ = io.Copy(res, answer.Body)
}

// relay is the proxy, which is the profile's or the environment's: it sees no login but its own, and that of registries
// that are asked over plain HTTP.
func (w *wire) relay(res http.ResponseWriter, req *http.Request) {
	g := w.current.Load()
	login := req.Header.Get("Proxy-Authorization")
	w.mu.Lock()
	w.proxied++
	if login == "Basic "+base64.StdEncoding.EncodeToString([]byte("penny:"+proxyPassword)) {
		w.proxyLogins++
	}
	fate := w.random.IntN(12)
	w.mu.Unlock()
	req.Header.Del("Proxy-Authorization")
	if req.Method == http.MethodConnect {
		if text := strings.Join(req.Header["Authorization"], " "); text != "" {
			g.fail("a login went to the proxy: " + text[:6])
		}
	}
	if fate < 3 {
		g.mu.Lock()
		elsewhere := g.url("/token")
		g.mu.Unlock()
		res.Header().Set("Proxy-Authenticate", `Basic realm="`+elsewhere+`"`)
		res.Header().Set("Location", elsewhere)
		res.WriteHeader([]int{http.StatusProxyAuthRequired, http.StatusFound, http.StatusForbidden}[fate]) // A 502 would be retried after a while.
		return
	}
	if req.Method != http.MethodConnect {
		w.answer(res, req, "http")
		return
	}
	_, port, _ := net.SplitHostPort(req.Host)
	there, err := net.Dial("tcp", friendAddress+":"+port)
	if err != nil {
		res.WriteHeader(http.StatusBadGateway)
		return
	}
	defer func() { _ = there.Close() }()
	here, buffered, err := http.NewResponseController(res).Hijack()
	if err != nil {
		return
	}
	defer func() { _ = here.Close() }()
	_, _ = io.WriteString(here, "HTTP/1.1 200 OK\r\n\r\n")
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(there, bufio.NewReader(buffered))
		_ = there.Close()
		close(ended)
	}()
	_, _ = io.Copy(here, there)
	_ = here.Close()
	<-ended
}

// graph returns a graph whose hosts are at the ports of the wire.
func (w *wire) graph(seed uint64) *graph {
	g := newGraph(seed)
	for g.registry == "docker.io" || net.ParseIP(hostOf(g.base)) != nil || hostOf(g.base) == "localhost" {
		seed += 1 << 32
		g = newGraph(seed)
	}
	scheme, port := "https", w.secure
	if strings.HasPrefix(g.base, "http:") || seed%2 == 0 {
		scheme, port = "http", w.plain
	}
	g.registry = net.JoinHostPort(hostOf(g.base), port)
	g.base = scheme + "://" + g.registry
	g.ports = map[string]string{"https": w.secure, "http": w.plain}
	return g
}

// Credentials never leave their origin, over real sockets: with names that are rebound to the platform's own network at
// any lookup, through the profile's proxy, and in a process of its own through the environment's.
func TestCredentialsNeverLeaveTheirOriginOnTheWire(t *testing.T) {
	const child = "REGCRED_GRAPHS_PROXY"
	inChild := os.Getenv(child) != ""
	w := newWire(t)
	policy := &egress.Policy{Allow: []netip.Prefix{netip.MustParsePrefix(friendAddress + "/32")}, AllowPlainHTTP: true, Resolver: w.resolver}
	ways := []registry.TransportConfig{{CABundle: w.authority.PEM, Egress: policy}}
	proxied := *policy
	if inChild { // Package net/http reads the environment once.
		login := strings.Replace(w.proxy, "http://", "http://penny:"+proxyPassword+"@", 1)
		for _, name := range []string{"HTTPS_PROXY", "HTTP_PROXY"} {
			t.Setenv(name, login)
		}
		t.Setenv("NO_PROXY", "")
		proxied.EnvironmentProxy = true
		ways = []registry.TransportConfig{{CABundle: w.authority.PEM, Egress: &proxied}}
	} else {
		proxied.AllowProxy = true
		proxied.Allow = append(slices.Clone(proxied.Allow), netip.MustParsePrefix(proxyAddress+"/32"))
		ways = append(ways, registry.TransportConfig{
			CABundle: w.authority.PEM, Egress: &proxied, Proxy: w.proxy, ProxyUsername: "penny", ProxyPassword: credentials.NewSecret(proxyPassword),
		})
	}
	graphs := 2000
	if testing.Short() {
		graphs = 300
	}
	var transports registry.Transports
	checkers := make(map[bool]*validate.Checker)
	for _, deep := range []bool{false, true} {
		checkers[deep] = &validate.Checker{Deep: deep, MaxWait: -1, Timeout: time.Minute, Transports: &transports}
	}
	var withPassword, withToken int
	for seed := range uint64(graphs) {
		g := w.graph(seed)
		w.current.Store(g)
		way := ways[int(seed/2)%len(ways)]
		way.PlainHTTP = strings.HasPrefix(g.base, "http:")
		candidate := validate.Candidate{
			Source:    credentials.Static(credentials.Credential{Username: "ann", Password: credentials.NewSecret(graphPassword)}),
			Transport: way,
		}
		c := checkers[seed%3 == 0]
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		name := g.registry + "/team/app:1"
		_, _ = c.Image(ctx, image(t, name), candidate)
		if seed%4 == 3 {
			for range c.Tags(ctx, image(t, name), candidate) { //nolint:revive // The requests are what counts.
			}
		}
		cancel()
		g.mu.Lock()
		require.Empty(t, g.violation, "seed %d, registry %s:\n%s", seed, g.base, strings.Join(g.log, "\n"))
		for _, line := range g.log {
			if strings.Contains(line, `auth="Basic`) {
				withPassword++
			}
			if strings.Contains(line, `auth="Bearer`) {
				withToken++
			}
		}
		g.mu.Unlock()
		require.Zero(t, w.victims.Load(), "seed %d: a connection to the platform's own network:\n%s", seed, strings.Join(g.log, "\n"))
	}
	// The property is about something.
	w.mu.Lock()
	defer w.mu.Unlock()
	t.Logf("%d graphs: %d requests with a password, %d with a token, %d lookups rebound, %d requests to the proxy, %d with its login", graphs, withPassword, withToken, w.rebound, w.proxied, w.proxyLogins)
	require.Greater(t, withPassword, graphs/20)
	require.Greater(t, withToken, graphs/40)
	require.Greater(t, w.proxied, graphs/10)
	require.Equal(t, w.proxied, w.proxyLogins)
	if inChild {
		return
	}
	require.Greater(t, w.rebound, graphs/20)
	args := []string{"-test.run=^TestCredentialsNeverLeaveTheirOriginOnTheWire$", "-test.v"}
	if testing.Short() {
		args = append(args, "-test.short")
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), child+"=1")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "requests with a password")
	t.Logf("with the environment's proxy: %s", out)
}

// fail records what the wire saw and judge cannot.
func (g *graph) fail(why string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.violation == "" {
		g.violation = why
	}
}

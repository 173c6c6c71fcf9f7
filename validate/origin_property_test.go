package validate_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/publicsuffix"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/validate"
)

// A graph is an internet whose servers challenge, redirect and issue tokens at random. It records the requests that it
// receives.
type graph struct {
	random    *rand.Rand
	registry  string // As in the names of images.
	base      string // Scheme and host of its API.
	realms    []string
	hosts     []string
	ports     map[string]string // By scheme, if the hosts are on sockets; see wire.
	mu        sync.Mutex
	named     map[string]bool // URLs of token servers that a challenge named, without a query.
	issued    int
	log       []string
	violation string
}

const graphPassword = "p4ssw0rd-of-ann"

// registries are the kinds of names for which a rule about sites may be wrong.
var graphRegistries = []string{
	"registry.example.com", "registry.example.com:5000", "example.com", "registry.example.co.uk", "ann.azurecr.io", "ann.jfrog.io",
	"111111111111.dkr.ecr.us-east-1.amazonaws.com", "ann.github.io", "docker.io", "10.0.0.5:5000", "localhost:5000", "registry.school.k12.ca.us",
	"registry.redhat.io", "lscr.io",
}

func newGraph(seed uint64) *graph {
	g := &graph{random: rand.New(rand.NewPCG(seed, 14)), named: make(map[string]bool)}
	g.registry = graphRegistries[g.random.IntN(len(graphRegistries))]
	name, _, err := net.SplitHostPort(g.registry)
	if err != nil {
		name = g.registry
	}
	api := strings.Replace(g.registry, "docker.io", "registry-1.docker.io", 1)
	g.base = "https://" + api
	if g.random.IntN(8) == 0 && g.registry != "docker.io" {
		g.base = "http://" + api
	}
	apiName := strings.Replace(name, "docker.io", "registry-1.docker.io", 1)
	_, parent, _ := strings.Cut(apiName, ".")
	g.hosts = []string{ // A dozen: the registry, its relatives, look-alikes, strangers, this machine.
		api, apiName, apiName + ":8443", strings.ToUpper(api), "auth." + parent, parent, "auth." + apiName, "eve." + parent,
		apiName + ".evil.org", "x" + apiName, strings.Replace(apiName, ".", "-", 1), "evil.org", "auth.evil.org:8443", "sso.redhat.com", "ghcr.io",
		"127.0.0.1:5000", "localhost", "169.254.169.254", "10.0.0.6", "[::1]", apiName + ".",
	}
	if g.random.IntN(4) == 0 {
		g.realms = []string{"auth.evil.org"} // The program trusts this one.
	}
	return g
}

func (g *graph) url(path string) string {
	scheme := "https"
	if g.random.IntN(5) == 0 {
		scheme = "http"
	}
	user := ""
	if g.random.IntN(20) == 0 {
		user = "ann:x@"
	}
	host := g.hosts[g.random.IntN(len(g.hosts))]
	if port := g.ports[scheme]; port != "" {
		u, err := url.Parse("//" + host)
		if err == nil {
			host = net.JoinHostPort(u.Hostname(), port)
		}
	}
	return scheme + "://" + user + host + path
}

func (g *graph) RoundTrip(req *http.Request) (*http.Response, error) {
	body := ""
	if req.Body != nil {
		text, _ := io.ReadAll(req.Body)
		body = string(text)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.judge(req, body)
	w := httptest.NewRecorder()
	fromRegistry := strings.EqualFold(req.URL.Scheme+"://"+req.URL.Host, g.base)
	token := strings.HasPrefix(req.URL.Path, "/token")
	switch n := g.random.IntN(12); {
	case n < 3 && (!fromRegistry || req.Header.Get("Authorization") != "" || g.random.IntN(3) == 0):
		path := []string{"/token", "/v2/team/app/manifests/1", "/x?signed=1"}[g.random.IntN(3)]
		w.Header().Set("Location", g.url(path))
		w.WriteHeader([]int{301, 302, 303, 307, 308}[g.random.IntN(5)])
	case token && n < 5:
		w.WriteHeader([]int{405, 404, 401, 403, 400}[g.random.IntN(5)])
	case token:
		g.issued++
		_, _ = fmt.Fprintf(w, `{"token":"t0ken-%d","expires_in":300}`, g.issued)
	case req.Header.Get("Authorization") == "" || n < 6:
		var challenges []string
		for range 1 + g.random.IntN(2) {
			realm := g.url("/token")
			if g.random.IntN(2) == 0 {
				realm = g.base + "/token"
			}
			if g.random.IntN(8) == 0 {
				realm = strings.ToUpper(realm)
			}
			challenge := []string{
				`Basic realm="x"`, `Bearer realm="` + realm + `",service="s"`, `Bearer realm="` + realm + `",service="s",scope="repository:team/app:pull"`,
				"Negotiate", `Digest realm="x", nonce="n"`, `Bearer service="s"`,
			}[g.random.IntN(6)]
			challenges = append(challenges, challenge)
			if strings.HasPrefix(challenge, "Basic") && req.URL.Scheme == "https" && slices.Contains(g.realms, strings.ToLower(req.URL.Hostname())) {
				g.named[withoutQuery(req.URL)] = true // containerd sends the login to the target of a redirect that asks for it.
			}
			if u, err := url.Parse(realm); err == nil {
				g.named[withoutQuery(u)] = true
			}
		}
		w.Header()["Www-Authenticate"] = challenges
		w.WriteHeader(http.StatusUnauthorized)
	case n == 6:
		w.WriteHeader([]int{404, 403}[g.random.IntN(2)])
	case strings.Contains(req.URL.Path, "/manifests/"):
		text := `{"schemaVersion":2,"mediaType":"` + manifestType + `","config":{"mediaType":"x","digest":"sha256:` + strings.Repeat("0", 64) + `","size":1},"layers":[]}`
		w.Header().Set("Content-Type", manifestType)
		w.Header().Set("Docker-Content-Digest", digestText(text))
		if req.Method == http.MethodGet {
			_, _ = w.WriteString(text)
		}
	case strings.Contains(req.URL.Path, "/tags/list"), strings.Contains(req.URL.Path, "_catalog"):
		if g.random.IntN(2) == 0 {
			w.Header().Set("Link", "<"+g.url("/v2/team/app/tags/list?last=x")+`>; rel="next"`)
		}
		_, _ = w.WriteString(`{"tags":["1"],"repositories":["team/app"]}`)
	}
	res := w.Result()
	res.Request = req
	return res, nil
}

func withoutQuery(u *url.URL) string {
	return strings.ToLower(u.Scheme) + "://" + strings.ToLower(u.Host) + strings.ToLower(u.Path)
}

// judge checks the property independently of the code under test: which servers may receive a password and a token.
func (g *graph) judge(req *http.Request, body string) {
	u := req.URL
	line := fmt.Sprintf("%s %s auth=%.12q body=%d", req.Method, u, req.Header.Get("Authorization"), len(body))
	g.log = append(g.log, line)
	fail := func(why string) {
		if g.violation == "" {
			g.violation = why + ": " + line
		}
	}
	_, password, _ := req.BasicAuth()
	inBody := strings.Contains(body, graphPassword)
	encoded := base64.StdEncoding.EncodeToString([]byte("ann:" + graphPassword))
	for name, values := range req.Header {
		if text := strings.Join(values, " "); name != "Authorization" && (strings.Contains(text, graphPassword) || strings.Contains(text, encoded) || strings.Contains(text, "t0ken-")) {
			fail("a secret in the header " + name)
		}
	}
	if text := u.String(); strings.Contains(text, graphPassword) || strings.Contains(text, encoded) || strings.Contains(text, "t0ken-") {
		fail("a secret in a URL")
	}
	origin := strings.ToLower(u.Scheme + "://" + u.Host)
	if strings.HasPrefix(req.Header.Get("Authorization"), "Bearer ") && origin != strings.ToLower(g.base) {
		fail("a token went to another origin than the registry's")
	}
	if password == "" && !inBody {
		return
	}
	if u.Scheme == "http" && strings.HasPrefix(g.base, "https:") {
		fail("a password went over plain HTTP")
	}
	if password != "" && origin == strings.ToLower(g.base) && !inBody {
		return // The registry itself.
	}
	named := func(same func(*url.URL) bool) bool {
		for text := range g.named {
			r, err := url.Parse(text)
			if err != nil {
				continue
			}
			if r.Scheme == "http" && strings.HasPrefix(g.base, "https:") && strings.EqualFold(r.Hostname(), hostOf(g.base)) {
				r.Scheme, r.Host = "https", strings.ToLower(strings.TrimPrefix(g.base, "https://")) // It is sent over https.
			}
			if same(r) {
				return true
			}
		}
		return false
	}
	if !named(func(r *url.URL) bool { return origin == r.Scheme+"://"+r.Host }) {
		fail("a password went to an origin that no challenge named")
	}
	// A login in a header may follow a redirect within one origin. A form may be sent only to the exact URL that was
	// named.
	if inBody && !named(func(r *url.URL) bool { return withoutQuery(r) == withoutQuery(u) }) {
		fail("a form with a password went to a URL that no challenge named")
	}
	if !g.mayHavePassword(strings.ToLower(u.Hostname())) {
		fail("a password went to a server of another owner")
	}
	if inBody && req.Method != http.MethodPost {
		fail("a body was sent by " + req.Method)
	}
}

func hostOf(base string) string {
	u, _ := url.Parse(base)
	return u.Hostname()
}

// mayHavePassword is a second implementation of the rule about sites.
func (g *graph) mayHavePassword(host string) bool {
	own, err := url.Parse(g.base)
	if err != nil {
		return false
	}
	mine, host := strings.ToLower(own.Hostname()), strings.TrimSuffix(host, ".")
	switch {
	case host == mine, slices.Contains(g.realms, host):
		return true
	case g.registry == "registry.redhat.io" && host == "sso.redhat.com", g.registry == "lscr.io" && host == "ghcr.io":
		return true
	case g.ports != nil && (host == "localhost" || host == "127.0.0.1"):
		return true // On the wire, all registries are on this machine, whatever their names are.
	case mine == "localhost":
		return host == "127.0.0.1" || host == "::1" || strings.HasSuffix(host, ".localhost")
	case net.ParseIP(mine) != nil:
		return false
	}
	for _, customers := range []string{"azurecr.io", "jfrog.io", "amazonaws.com"} {
		if strings.HasSuffix(mine, "."+customers) {
			return strings.HasSuffix(host, "."+mine)
		}
	}
	a, err := publicsuffix.EffectiveTLDPlusOne(mine)
	if err != nil {
		return false
	}
	b, err := publicsuffix.EffectiveTLDPlusOne(host)
	return err == nil && a == b
}

// Credentials never leave their origin: on thousands of random graphs of challenges, redirects and token servers, every
// request with a password or a token goes to the registry that it is for, or to a server that the rules name.
func TestCredentialsNeverLeaveTheirOrigin(t *testing.T) {
	graphs := 20_000
	if testing.Short() {
		graphs = 1000
	}
	var withPassword, withToken, withBody int
	for seed := range uint64(graphs) {
		g := newGraph(seed)
		c := &validate.Checker{RoundTripper: g, Realms: g.realms, Deep: seed%3 == 0, MaxWait: -1, Timeout: time.Minute}
		candidate := validate.Candidate{
			Source:    credentials.Static(credentials.Credential{Username: "ann", Password: credentials.NewSecret(graphPassword)}),
			Transport: registry.TransportConfig{PlainHTTP: strings.HasPrefix(g.base, "http:")},
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		name := g.registry + "/team/app:1"
		switch seed % 4 {
		case 0, 1:
			_, _ = c.Image(ctx, image(t, name), candidate)
		case 2:
			_, _ = c.Login(ctx, endpoint(t, g.registry), candidate)
			_, _ = c.Image(ctx, image(t, name), candidate)
		case 3:
			for range c.Tags(ctx, image(t, name), candidate) { //nolint:revive // Only the requests matter.
			}
			for range c.Repositories(ctx, endpoint(t, g.registry), candidate) { //nolint:revive // As above.
			}
		}
		cancel()
		require.Empty(t, g.violation, "seed %d, registry %s:\n%s", seed, g.base, strings.Join(g.log, "\n"))
		for _, line := range g.log {
			if strings.Contains(line, `auth="Basic`) {
				withPassword++
			}
			if strings.Contains(line, `auth="Bearer`) {
				withToken++
			}
			if !strings.Contains(line, "body=0") {
				withBody++
			}
		}
	}
	// Enough of the requests had a password or a token.
	require.Greater(t, withPassword, graphs/10)
	require.Greater(t, withToken, graphs/20)
	require.Greater(t, withBody, graphs/500)
	t.Logf("%d graphs: %d requests with a password, %d with a token, %d with a form", graphs, withPassword, withToken, withBody)
}

package probe

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/egress"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
	"github.com/regcred/regcred/validate"
)

// A recorder records the requests that it passes on.
type recorder struct {
	next http.RoundTripper
	mu   sync.Mutex
	all  []*http.Request
}

func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	r.mu.Lock()
	r.all = append(r.all, req.Clone(req.Context()))
	r.mu.Unlock()
	return r.next.RoundTrip(req)
}

// A probe only reads, at the registry and its token server only, and sends one wrong login.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	for _, d := range registrytest.Dialects() {
		setup := setups(d)[0]
		r, target, err := newFake(d, setup, world{rights: pullProject, many: true})
		require.NoError(t, err)
		record := &recorder{next: r.RoundTripper()}
		c, err := (&Probe{Checker: &validate.Checker{RoundTripper: record}, WrongLogin: WrongLoginAlways}).Run(t.Context(), target)
		require.NoError(t, err)
		require.Len(t, record.all, len(c.Exchanges), d.Name)
		require.LessOrEqual(t, len(record.all), 100, d.Name)
		host := (registry.Endpoint{Host: target.Image.Host}).APIHost()
		allowed := []string{host}
		realm := &url.URL{}
		posts, wrong, pulls := 0, 0, 0
		for _, req := range record.all {
			if strings.Contains(req.URL.Path, "token") || strings.Contains(req.URL.Path, "auth") {
				realm = req.URL
				allowed = append(allowed, realm.Host)
			}
			require.Contains(t, allowed, req.URL.Host, d.Name)
			require.Equal(t, "https", req.URL.Scheme)
			switch req.Method {
			case http.MethodGet, http.MethodHead:
			case http.MethodPost:
				posts++
				require.Equal(t, realm.Path, req.URL.Path, "only the token server gets a POST")
				require.Equal(t, realm.Host, req.URL.Host)
			default:
				t.Errorf("%s: %s %s", d.Name, req.Method, req.URL)
			}
			if _, password, ok := req.BasicAuth(); ok && password != fakePassword {
				wrong++
				require.Equal(t, wrongPassword, password)
			}
			if req.Method == http.MethodGet && strings.HasSuffix(req.URL.Path, "/manifests/"+fakeTag) {
				pulls++
			}
		}
		require.LessOrEqual(t, posts, 1, d.Name)
		require.LessOrEqual(t, pulls, 12, d.Name)
		if setup.Login {
			require.Equal(t, 1, wrong, "%s: a wrong login is sent once", d.Name)
		}
		for _, q := range r.Requests() {
			require.NotEqual(t, http.MethodPut, q.Method)
		}
	}
}

// A wrong login is not sent where the vendor documents that it has consequences.
func TestWrongLogin(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		dialect registrytest.Dialect
		policy  WrongLoginPolicy
		sent    bool
	}{
		{registrytest.Quay(), WrongLoginIfHarmless, false},
		{registrytest.Harbor(), WrongLoginIfHarmless, false},
		{registrytest.Artifactory(), WrongLoginIfHarmless, false},
		{registrytest.GitLab(), WrongLoginIfHarmless, false},
		{registrytest.Quay(), WrongLoginAlways, true},
		{registrytest.DistributionBasic(), WrongLoginIfHarmless, true},
		{registrytest.DistributionBasic(), WrongLoginNever, false},
	} {
		r, target, err := newFake(tc.dialect, Setup{Depth: 2, Login: true}, world{})
		require.NoError(t, err)
		c, err := (&Probe{Checker: &validate.Checker{RoundTripper: r.RoundTripper()}, WrongLogin: tc.policy}).Run(t.Context(), target)
		require.NoError(t, err)
		sent := slices.ContainsFunc(c.Exchanges, func(e Exchange) bool { return e.Login == WrongLogin })
		require.Equal(t, tc.sent, sent, tc.dialect.Name)
		skipped := slices.ContainsFunc(c.Skipped, func(s Skipped) bool { return s.Login == WrongLogin && s.Why != "" })
		require.Equal(t, !tc.sent, skipped, tc.dialect.Name)
		comparison, err := c.Compare(t.Context(), tc.dialect)
		require.NoError(t, err)
		require.Empty(t, comparison.Differences)
	}
}

// A probe stops at the first response that limits the rate, and compares that one too.
func TestRateLimit(t *testing.T) {
	t.Parallel()
	for _, d := range []registrytest.Dialect{registrytest.DockerHub(), registrytest.ECR()} {
		r, target, err := newFake(d, Setup{Depth: 2, Login: true}, world{})
		require.NoError(t, err)
		r.RateLimit = registrytest.RateLimit{Limit: 3, RetryAfter: registrytest.RetryAfterSeconds}
		c, err := probeFake(t.Context(), r, target)
		require.NoError(t, err)
		last := c.Exchanges[len(c.Exchanges)-1].Reply
		require.Equal(t, http.StatusTooManyRequests, last.Status)
		require.Equal(t, "seconds", last.Headers["Retry-After"])
		require.Len(t, r.Requests(), len(c.Exchanges), "nothing is sent after it")
		require.NoError(t, c.Verify(t.Context()), d.Name)
	}
}

// A registry may not name servers at other sites or private addresses.
func TestRulesForConnections(t *testing.T) {
	t.Parallel()
	for _, realm := range []string{
		"https://evil.example.net/token", "http://registry.example.org/token", "https://169.254.169.254/token", "https://127.0.0.1/token",
	} {
		asked := make(map[string]int)
		var mu sync.Mutex
		handler := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			mu.Lock()
			asked[req.Host]++
			mu.Unlock()
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+realm+`",service="x"`)
			w.Header().Set("Location", "https://evil.example.net/")
			w.WriteHeader(map[bool]int{true: 401, false: 307}[req.URL.Path == "/v2/" || strings.Contains(req.URL.Path, "manifests")])
		})
		c, err := (&Probe{Checker: &validate.Checker{RoundTripper: registrytest.NewRoundTripper(handler)}}).Run(t.Context(), Target{
			Credential: credentials.Credential{Username: "ann", Password: credentials.NewSecret("right")},
			Image:      registry.Image{Host: "registry.example.com", Repository: "team/app", Tag: "1"},
		})
		require.NoError(t, err)
		require.Len(t, asked, 1, realm)
		require.Positive(t, asked["registry.example.com"])
		require.True(t, slices.ContainsFunc(c.Skipped, func(s Skipped) bool { return s.Question == "token" && s.Login == TokenLogin }))
	}
	// A policy applies to the registry itself.
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the registry was contacted") }))
	defer server.Close()
	target := Target{
		Credential: credentials.Credential{Anonymous: true},
		Transport:  registry.TransportConfig{PlainHTTP: true, Egress: &egress.Policy{AllowPlainHTTP: true, Allow: []netip.Prefix{}}},
		Image:      registry.Image{Host: strings.TrimPrefix(server.URL, "http://"), Repository: "team/app", Tag: "1"},
	}
	_, err := (&Probe{}).Run(t.Context(), target)
	require.Error(t, err)
}

// Invalid targets are errors, and so is a registry that does not respond.
func TestErrors(t *testing.T) {
	t.Parallel()
	image := registry.Image{Host: "registry.example.com", Repository: "team/app", Tag: "1"}
	anonymous := credentials.Credential{Anonymous: true}
	for _, target := range []Target{
		{Credential: anonymous},
		{Credential: anonymous, Image: registry.Image{Host: "registry.example.com", Repository: "team/app", Digest: missingDigest}},
		{Credential: anonymous, Image: image, Other: registry.Image{Host: "other.example.com", Repository: "a/b", Tag: "1"}},
		{Image: image},
	} {
		_, err := (&Probe{}).Run(t.Context(), target)
		require.Error(t, err)
	}
	down := &validate.Checker{RoundTripper: roundTripper(func(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF })}
	_, err := (&Probe{Checker: down}).Run(t.Context(), Target{Credential: anonymous, Image: image})
	require.ErrorContains(t, err, "probe registry registry.example.com")
	require.NotEmpty(t, registry.CodeOf(err))
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func TestDialectOf(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]string{
		"docker.io": "dockerhub", "123456789012.dkr.ecr.eu-west-1.amazonaws.com": "ecr", "public.ecr.aws": "ecr-public", "eu.gcr.io": "gcr",
		"europe-docker.pkg.dev": "gar", "acme.azurecr.io": "acr", "acme.jfrog.io": "artifactory", "registry.gitlab.com": "gitlab",
	} {
		d, ok := DialectOf(host)
		require.True(t, ok, host)
		require.Equal(t, want, d.Name)
	}
	_, ok := DialectOf("registry.example.com")
	require.False(t, ok)
	for _, s := range hostDialects {
		_, ok := DialectNamed(s.dialect)
		require.True(t, ok, s.dialect)
	}
}

// The nearest dialect of each fake is its own, or one with the same responses.
func TestNearest(t *testing.T) {
	t.Parallel()
	for _, d := range []registrytest.Dialect{registrytest.Harbor(), registrytest.Quay(), registrytest.Gitea(), registrytest.Zot()} {
		r, target, err := newFake(d, Setup{Depth: 2, Login: true, Tags: 1}, world{rights: pullProject})
		require.NoError(t, err)
		c, err := probeFake(t.Context(), r, target)
		require.NoError(t, err)
		nearest, err := c.Nearest(t.Context())
		require.NoError(t, err)
		require.Equal(t, d.Name, nearest.Dialect)
		require.Empty(t, nearest.Relevant())
	}
}

// A registry that differs is found, and Verify fails for a difference that is accepted and no longer exists.
func TestDifferences(t *testing.T) {
	t.Parallel()
	d := registrytest.Harbor()
	r, target, err := newFake(d, Setup{Depth: 2, Login: true, Tags: 2}, world{rights: pullProject})
	require.NoError(t, err)
	r.Inject(registrytest.Fault{
		Match: func(q registrytest.Request) bool {
			return q.Reference == missingName && q.Method == http.MethodGet && q.Scheme == "bearer"
		},
		Answer: registrytest.Answer{Status: 418, Body: `{"errors":[{"code":"MANIFEST_GONE","message":"zqxname"}]}`},
	})
	c, err := probeFake(t.Context(), r, target)
	require.NoError(t, err)
	comparison, err := c.Compare(t.Context(), d)
	require.NoError(t, err)
	require.Contains(t, comparison.Relevant()[0].String(), "GET of a tag that does not exist, with a token: status: the registry sends 418, and the fake 404")
	require.Error(t, c.Verify(t.Context()))
	c.Accepted = []Accepted{{"^(tag|repository|owner)-missing/", "a test"}}
	require.NoError(t, c.Verify(t.Context()))
	c.Accepted = append(c.Accepted, Accepted{"^ping/", "nothing"})
	require.ErrorContains(t, c.Verify(t.Context()), "no longer exists")
	c.Dialect = "unknown"
	require.Error(t, c.Verify(t.Context()))
}

package validate_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
	"github.com/regcred/regcred/validate"
)

func platforms(t testing.TB, names ...string) []validate.Platform {
	var all []validate.Platform
	for _, n := range names {
		p, err := validate.ParsePlatform(n)
		require.NoError(t, err)
		all = append(all, p)
	}
	return all
}

func TestPlatforms(t *testing.T) {
	for name, tc := range map[string]struct {
		have, want []string
		format     registrytest.Format
		code       registry.Code
		says       string
	}{
		"index":         {have: []string{"linux/amd64", "linux/arm64"}, want: []string{"linux/amd64", "linux/arm64"}},
		"variant":       {have: []string{"linux/arm/v6", "linux/arm/v8"}, want: []string{"linux/arm/v7"}},
		"single":        {have: []string{"linux/arm64"}, want: []string{"linux/arm64"}},
		"manifest list": {have: []string{"linux/amd64", "linux/arm64"}, want: []string{"linux/arm64"}, format: registrytest.DockerSchema2},
		"one of two": {
			have: []string{"linux/amd64", "linux/arm64"}, want: []string{"linux/amd64", "linux/s390x"},
			code: registry.ErrPlatformNotFound, says: "not for linux/s390x; it is for linux/amd64, linux/arm64",
		},
		"later variant": {
			have: []string{"linux/arm/v7", "linux/amd64"}, want: []string{"linux/arm/v6"},
			code: registry.ErrPlatformNotFound,
		},
		"single, two nodes": {
			have: []string{"linux/arm64"}, want: []string{"linux/arm64", "linux/amd64"},
			code: registry.ErrPlatformNotFound, says: "not for linux/amd64",
		},
		"single, other": {
			want: []string{"windows/amd64"}, format: registrytest.DockerSchema2,
			code: registry.ErrPlatformNotFound,
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRegistry(registrytest.MCR())
			add(t, r, registrytest.Image{Format: tc.format, Platforms: tc.have}, "team/app:1")
			for _, deep := range []bool{false, true} {
				c := &validate.Checker{RoundTripper: r.RoundTripper(), Platforms: platforms(t, tc.want...), Deep: deep}
				got, err := c.Image(t.Context(), image(t, "a.example.com/team/app:1"))
				require.Equal(t, tc.code, registry.CodeOf(err), "%v", err)
				if err != nil {
					require.ErrorContains(t, err, tc.says)
				} else {
					require.NotEmpty(t, got.Platforms)
				}
			}
		})
	}
}

// An artifact that is no container image is reported as such.
func TestPlatformsOfArtifact(t *testing.T) {
	s := newScene()
	s.open()
	s.image(ociManifest, "application/vnd.cncf.helm.config.v1+json", `{"name":"chart"}`)
	c := &validate.Checker{RoundTripper: s, Platforms: platforms(t, "linux/amd64")}
	_, err := c.Image(t.Context(), image(t, sceneHost+"/team/app:1"))
	require.ErrorIs(t, err, registry.ErrContentType)
	require.ErrorContains(t, err, "application/vnd.cncf.helm.config.v1+json")
}

func TestPlatformRuns(t *testing.T) {
	for pair, want := range map[string]bool{
		"linux/amd64 linux/amd64":       true,
		"linux/amd64 linux/amd64/v1":    true,
		"linux/amd64/v3 linux/amd64/v2": true,
		"linux/amd64 linux/amd64/v2":    false,
		"linux/amd64 linux/arm64":       false,
		"linux/amd64 windows/amd64":     false,
		"linux/arm64 linux/arm64/v8":    true,
		"linux/arm64/v8 linux/arm64":    true,
		"linux/arm/v7 linux/arm/v5":     true,
		"linux/arm/v5 linux/arm/v7":     false,
		"linux/arm linux/arm/v7":        true,
		"linux/x86_64 linux/amd64":      true,
		"linux/aarch64 linux/arm64":     true,
		"Linux/AMD64 linux/amd64":       true,
		"linux/riscv64 linux/riscv64":   true,
	} {
		node, img, _ := strings.Cut(pair, " ")
		p := platforms(t, node, img)
		require.Equal(t, want, p[0].Runs(p[1]), pair)
	}
	for _, bad := range []string{"", "linux", "linux/", "/amd64", "linux/arm/v7/x"} {
		_, err := validate.ParsePlatform(bad)
		require.Error(t, err, bad)
	}
}

// If a layer is on another host, the login is not sent there. If that host rejects HEAD, the first byte is requested.
func TestDeep(t *testing.T) {
	for _, noHEAD := range []bool{false, true} {
		r := newRegistry(registrytest.DistributionToken(), user("ann", "right", "*"))
		r.RedirectBlobs = true
		add(t, r, registrytest.Image{Platforms: []string{"linux/amd64", "linux/arm64"}}, "team/app:1")
		if noHEAD {
			r.Inject(registrytest.Fault{Match: func(q registrytest.Request) bool {
				return q.Part == registrytest.PartBlobs && q.Method == http.MethodHead
			}, Answer: registrytest.Answer{Status: 403}})
		}
		s := start(t, r)
		c := &validate.Checker{Deep: true}
		defer c.CloseIdleConnections()
		got, err := c.Image(t.Context(), image(t, s.Host+"/team/app:1"), login(s, "ann", "right"))
		require.NoError(t, err)
		require.Len(t, got.Platforms, 2)
		require.Positive(t, got.Size)
		blobs := 0
		for _, q := range r.Requests() {
			if q.Part == registrytest.PartBlobs {
				require.Empty(t, q.Scheme)
				blobs++
			}
		}
		require.Positive(t, blobs)
	}
}

// If a registry responds to HEAD incorrectly, the image pulls on runtimes that continue with GET.
func TestHEADFails(t *testing.T) {
	for status, want := range map[int]registry.Code{404: registry.ErrHEAD, 405: "", 403: registry.ErrHEAD, 400: registry.ErrHEAD} {
		for runtime, heads := range map[validate.Runtime]int{validate.Containerd: 3, validate.CRIO: 1, validate.Docker: 3} {
			r := newRegistry(registrytest.MCR())
			add(t, r, registrytest.Image{}, "team/app:1", "team/app:2", "team/app:3")
			isHEAD := func(q registrytest.Request) bool { return q.Method == http.MethodHead }
			r.Inject(registrytest.Fault{Match: isHEAD, Answer: registrytest.Answer{Status: status}})
			c := &validate.Checker{RoundTripper: r.RoundTripper(), CacheFor: time.Hour, Runtimes: []validate.Runtime{runtime}}
			code := registry.Code("")
			if runtime == validate.Containerd {
				code = want
			}
			for tag := range 3 {
				_, err := c.Image(t.Context(), image(t, fmt.Sprintf("a.example.com/team/app:%d", tag+1)))
				require.Equal(t, code, registry.CodeOf(err), "%s %d: %v", runtime, status, err)
			}
			sent := 0
			for _, q := range r.Requests() {
				if q.Method == http.MethodHead {
					sent++
				}
			}
			require.Equal(t, heads, sent, "%s %d", runtime, status)
		}
	}
}

// Docker Hub counts a GET as a pull, and not a HEAD.
func TestRateLimit(t *testing.T) {
	r := &registrytest.Registry{Dialect: registrytest.DockerHub(), TokenHost: "auth.docker.io", Public: []string{"*"}}
	r.RateLimit = registrytest.RateLimit{Limit: 100, Window: 6 * time.Hour}
	add(t, r, registrytest.Image{}, "library/nginx:latest")
	c := &validate.Checker{RoundTripper: r.RoundTripper()}
	for range 3 {
		got, err := c.Image(t.Context(), image(t, "nginx"))
		require.NoError(t, err)
		require.True(t, got.Anonymous)
		require.Equal(t, 100, got.RateLimit.Limit)
		require.Equal(t, 100, got.RateLimit.Remaining, "the check was counted as a pull")
		require.Equal(t, 6*time.Hour, got.RateLimit.Window)
		require.Contains(t, got.RateLimit.String(), "100 of 100")
	}
}

// A token server that supports only POST.
func TestTokenByPOST(t *testing.T) {
	r := newRegistry(registrytest.DistributionToken(), user("ann", "right", "*"))
	add(t, r, registrytest.Image{}, "team/app:1")
	r.Inject(registrytest.Fault{Match: func(q registrytest.Request) bool {
		return q.Part == registrytest.PartToken && q.Method == http.MethodGet
	}, Answer: registrytest.Answer{Status: 405}})
	c := &validate.Checker{RoundTripper: r.RoundTripper()}
	got, err := c.Image(t.Context(), image(t, "a.example.com/team/app:1"), as("ann", "right"))
	require.NoError(t, err)
	for _, a := range got.Attempts {
		require.NotContains(t, strings.Join(steps(a), "\n"), "right")
	}
	_, err = c.Image(t.Context(), image(t, "a.example.com/team/app:1"), as("ann", "wrong"))
	require.ErrorIs(t, err, registry.ErrUnauthorized)
}

// A server that echoes the received credential in places that a log would show.
func TestNoSecretInEvidence(t *testing.T) {
	const password = "correct-horse-battery-staple"
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		username, p, _ := req.BasicAuth()
		w.Header().Set("WWW-Authenticate", `Basic realm="`+p+`"`)
		w.Header().Set("Ratelimit-Limit", "100;w=60")
		w.Header().Set("Ratelimit-Remaining", "9;w=60")
		w.Header().Set("Docker-Ratelimit-Source", p)
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = fmt.Fprintf(w, `{"errors":[{"code":%q,"message":"no user %s with the password %s, header %s"}]}`,
			strings.ToUpper(p), username, p, req.Header.Get("Authorization"))
	}))
	defer server.Close()
	var c validate.Checker
	defer c.CloseIdleConnections()
	candidate := as("ann", password)
	candidate.Transport = registry.TransportConfig{CABundle: pemOf(server.Certificate()), Proxy: registry.Direct}
	got, err := c.Image(t.Context(), image(t, server.Listener.Addr().String()+"/team/app:1"), candidate)
	require.ErrorIs(t, err, registry.ErrUnauthorized)
	text := strings.ToLower(fmt.Sprintf("%+v %v", got, err))
	for _, secret := range []string{password, "yw5uomnvcnjly3qt"} { // The second is from the base64 of the login.
		require.NotContains(t, text, secret)
	}
	require.Equal(t, 9, got.RateLimit.Remaining)
	require.Empty(t, got.RateLimit.Source, "its own text leaves it out")
}

// The same for a server that names other hosts by the received credential.
func TestNoSecretInHosts(t *testing.T) {
	const password = "correct-horse-battery-staple"
	for name, header := range map[string][2]string{
		"realm":    {"WWW-Authenticate", `Bearer realm="https://%s.evil.org/token"`},
		"redirect": {"Location", "http://%s.evil.org/"},
	} {
		c := &validate.Checker{RoundTripper: roundTripper(func(req *http.Request) (*http.Response, error) {
			w := httptest.NewRecorder()
			status := http.StatusUnauthorized
			if _, p, sent := req.BasicAuth(); !sent {
				w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			} else {
				w.Header().Set(header[0], fmt.Sprintf(header[1], p))
				if name == "redirect" {
					status = http.StatusTemporaryRedirect
				}
			}
			w.WriteHeader(status)
			return w.Result(), nil
		})}
		got, err := c.Image(t.Context(), image(t, "a.example.com/team/app:1"), as("ann", password))
		require.Error(t, err, name)
		require.NotContains(t, fmt.Sprintf("%+v %v", got, err), password, name)
	}
}

// Clocks that differ make good logins fail, and only the Date header shows it.
func TestClockSkew(t *testing.T) {
	for name, tc := range map[string]struct {
		body string
		ago  time.Duration
		want registry.Code
	}{
		"by the date": {`{"errors":[{"code":"UNAUTHORIZED","message":"no"}]}`, time.Hour, registry.ErrUnauthorized},
		"by its word": {`{"errors":[{"code":"UNAUTHORIZED","message":"Token used before issued"}]}`, time.Hour, registry.ErrClockSkew},
		"none":        {`{"errors":[{"code":"UNAUTHORIZED","message":"no"}]}`, time.Second, registry.ErrUnauthorized},
	} {
		c := &validate.Checker{RoundTripper: roundTripper(func(req *http.Request) (*http.Response, error) {
			w := httptest.NewRecorder()
			w.Header().Set("Date", time.Now().Add(-tc.ago).UTC().Format(http.TimeFormat))
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.WriteString(tc.body)
			return w.Result(), nil
		})}
		got, err := c.Login(t.Context(), endpoint(t, "a.example.com"), as("ann", "right"))
		require.Equal(t, tc.want, registry.CodeOf(err), name)
		require.Equal(t, tc.ago > time.Minute, len(got.Warnings) > 0, "%s: %v", name, got.Warnings)
	}
}

// The check requests the image from the same host as a node: under these names, the requests do not go to Docker Hub's
// API.
func TestOtherNamesOfDockerHub(t *testing.T) {
	for name, host := range map[string]string{
		"ann/app": "registry-1.docker.io", "docker.io/ann/app": "registry-1.docker.io", "index.docker.io/ann/app": "registry-1.docker.io",
		"registry-1.docker.io/ann/app": "registry-1.docker.io", "hub.docker.com/ann/app": "hub.docker.com",
		"registry.hub.docker.com/ann/app": "registry.hub.docker.com", "DOCKER.IO/ann/app": "docker.io", "INDEX.docker.io/ann/app": "index.docker.io",
	} {
		var asked []string
		c := &validate.Checker{RoundTripper: roundTripper(func(req *http.Request) (*http.Response, error) {
			asked = append(asked, req.URL.Host)
			w := httptest.NewRecorder()
			w.WriteHeader(http.StatusNotFound)
			return w.Result(), nil
		})}
		_, err := c.Image(t.Context(), image(t, name))
		require.Error(t, err)
		require.Equal(t, []string{host}, slices.Compact(asked), name)
		if host != "registry-1.docker.io" {
			require.Contains(t, registry.HintOf(err), "write docker.io/ann/app", name)
		}
	}
}

func TestUserAgent(t *testing.T) {
	for want, c := range map[string]*validate.Checker{"regcred": {}, "shop/1.0": {UserAgent: "shop/1.0"}} {
		var got string
		c.RoundTripper = roundTripper(func(req *http.Request) (*http.Response, error) {
			got = req.UserAgent()
			return nil, http.ErrHandlerTimeout
		})
		_, err := c.Login(t.Context(), endpoint(t, "a.example.com"), validate.Candidate{})
		require.Error(t, err)
		require.Equal(t, want, got)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

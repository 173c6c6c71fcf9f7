package validate_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/validate"
)

// A token server that redirects gets the form with the password once, and no other server gets it.
func TestPasswordInABodyFollowsNoRedirect(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		for _, to := range []string{"https://a.example.com:8443/token", "https://a.example.com/other", "https://auth.example.com/token", "https://evil.org/"} {
			var bodies []string
			candidate := as("ann", "right")
			refused := 0
			candidate.OnRejected = func(credentials.Credential) { refused++ }
			c := &validate.Checker{RoundTripper: roundTripper(func(req *http.Request) (*http.Response, error) {
				w := httptest.NewRecorder()
				if req.Body != nil {
					body, _ := io.ReadAll(req.Body)
					if strings.Contains(string(body), "right") {
						bodies = append(bodies, req.Method+" "+req.URL.String())
					}
				}
				switch {
				case req.URL.Path == "/token" && req.Method == http.MethodPost && req.URL.Host == "a.example.com":
					w.Header().Set("Location", to)
					w.WriteHeader(status)
				case req.URL.Path == "/token" && req.Method == http.MethodGet:
					w.WriteHeader(http.StatusMethodNotAllowed)
				case req.URL.Path == "/v2/" || strings.Contains(req.URL.Path, "/manifests/"):
					w.Header().Set("WWW-Authenticate", `Bearer realm="https://a.example.com/token",service="a"`)
					w.WriteHeader(http.StatusUnauthorized)
				}
				return w.Result(), nil
			})}
			_, err := c.Image(t.Context(), image(t, "a.example.com/team/app:1"), candidate)
			require.ErrorIs(t, err, registry.ErrInsecure, "%d %s", status, to)
			require.Equal(t, []string{"POST https://a.example.com/token"}, bodies)
			require.Zero(t, refused)
		}
	}
}

// A registry that requires neither Basic nor Bearer gets no login, and the verdict names the schemes that it requires.
func TestUnsupportedScheme(t *testing.T) {
	for name, tc := range map[string]struct {
		challenges []string
		names      string
	}{
		"digest":                  {[]string{`Digest realm="x", nonce="n", qop="auth"`}, "digest"},
		"negotiate":               {[]string{`Negotiate`}, "negotiate"},
		"NTLM and negotiate":      {[]string{`NTLM`, `Negotiate`}, "ntlm, negotiate"},
		"bearer without a realm":  {[]string{`Bearer service="reg"`}, "Bearer without a realm"},
		"something never seen":    {[]string{`X-Own foo="bar"`}, "x-own"},
		"AWS4 as S3 without keys": {[]string{`AWS4-HMAC-SHA256`}, "aws4-hmac-sha256"},
	} {
		for _, atPing := range []bool{true, false} {
			for _, anonymous := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s, at ping %t, anonymous %t", name, atPing, anonymous), func(t *testing.T) {
					sent, refused := 0, 0
					candidate := as("ann", "right")
					candidate.OnRejected = func(credentials.Credential) { refused++ }
					if anonymous {
						candidate = validate.Candidate{}
					}
					c := &validate.Checker{RoundTripper: roundTripper(func(req *http.Request) (*http.Response, error) {
						if req.Header.Get("Authorization") != "" || req.Body != nil {
							sent++
						}
						w := httptest.NewRecorder()
						if atPing || req.URL.Path != "/v2/" {
							w.Header()["Www-Authenticate"] = tc.challenges
							w.WriteHeader(http.StatusUnauthorized)
						}
						return w.Result(), nil
					})}
					_, err := c.Image(t.Context(), image(t, "a.example.com/team/app:1"), candidate)
					require.ErrorIs(t, err, registry.ErrUnsupported, "%v", err)
					require.ErrorContains(t, err, "by "+tc.names+",")
					if atPing {
						_, err = c.Login(t.Context(), endpoint(t, "a.example.com"), candidate)
						require.ErrorIs(t, err, registry.ErrUnsupported)
					}
					require.Zero(t, sent, "a login was sent that nobody asked for")
					require.Zero(t, refused, "a good credential is called refused")
				})
			}
		}
	}
}

// A registry that accepts every request is sent no login, and the result reports that the login was not checked.
func TestLoginIsNotSentUnasked(t *testing.T) {
	c := &validate.Checker{RoundTripper: roundTripper(func(req *http.Request) (*http.Response, error) {
		require.Empty(t, req.Header.Get("Authorization"))
		return httptest.NewRecorder().Result(), nil
	})}
	got, err := c.Login(t.Context(), endpoint(t, "a.example.com"), as("ann", "right"))
	require.NoError(t, err)
	require.NotEmpty(t, got.Warnings)
}

// A registry redirects its API to a host that requires the login. The login is not sent there, and is not reported as
// wrong.
func TestLoginLeftBehind(t *testing.T) {
	for name, tc := range map[string]struct {
		to, only string
		http     bool
		realms   bool // The hint names Checker.Realms.
	}{
		"all, to another host":       {to: "https://backend.example.net", only: "/v2/", realms: true},
		"manifests, to another host": {to: "https://backend.example.net", only: "/manifests/", realms: true},
		"all, to another port":       {to: "https://a.example.com:8443", only: "/v2/", realms: true},
		"all, from http to https":    {to: "https://a.example.com", only: "/v2/", http: true},
	} {
		t.Run(name, func(t *testing.T) {
			refused := 0
			candidate := as("ann", "right")
			candidate.Transport.PlainHTTP = tc.http
			candidate.OnRejected = func(credentials.Credential) { refused++ }
			c := &validate.Checker{RoundTripper: roundTripper(func(req *http.Request) (*http.Response, error) {
				w := httptest.NewRecorder()
				_, p, _ := req.BasicAuth()
				switch at := req.URL.Scheme + "://" + req.URL.Host; {
				case at == tc.to:
					require.Empty(t, p)
					w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
					w.WriteHeader(http.StatusUnauthorized)
				case strings.Contains(req.URL.Path, tc.only):
					w.Header().Set("Location", tc.to+req.URL.RequestURI())
					w.WriteHeader(http.StatusTemporaryRedirect)
				default:
					w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
					w.WriteHeader(http.StatusUnauthorized)
				}
				return w.Result(), nil
			})}
			_, err := c.Image(t.Context(), image(t, "a.example.com/team/app:1"), candidate)
			require.ErrorIs(t, err, registry.ErrInsecure)
			require.NotErrorIs(t, err, registry.ErrUnauthorized)
			require.Contains(t, err.Error(), tc.to)
			require.Contains(t, registry.HintOf(err), "redirect")
			require.Equal(t, tc.realms, strings.Contains(registry.HintOf(err), "Checker.Realms"), registry.HintOf(err))
			require.Zero(t, refused, "a good credential is called refused")
		})
	}
}

// A check of one image sends a bounded number of requests, and keeps as much evidence at most.
func TestBudget(t *testing.T) {
	var layers []map[string]any
	for i := range 500 {
		layers = append(layers, map[string]any{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": fmt.Sprintf("sha256:%064d", i), "size": 1})
	}
	bodies := make(map[string]string)
	var manifests []map[string]any
	for i := range 200 {
		body, err := json.Marshal(map[string]any{
			"schemaVersion": 2, "mediaType": manifestType, "layers": layers, "annotations": map[string]string{"n": fmt.Sprint(i)},
			"config": map[string]any{"mediaType": "application/vnd.oci.image.config.v1+json", "digest": fmt.Sprintf("sha256:%064d", 9999), "size": 1},
		})
		require.NoError(t, err)
		digest := digestText(string(body))
		bodies[digest] = string(body)
		manifests = append(manifests, map[string]any{
			"mediaType": manifestType, "digest": digest, "size": len(body), "platform": map[string]any{"os": "linux", "architecture": fmt.Sprintf("a%d", i)},
		})
	}
	const indexType = "application/vnd.oci.image.index.v1+json"
	index, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": indexType, "manifests": manifests})
	require.NoError(t, err)
	requests := 0
	c := &validate.Checker{Deep: true, Concurrency: 1, RoundTripper: roundTripper(func(req *http.Request) (*http.Response, error) {
		requests++
		w := httptest.NewRecorder()
		part := strings.Split(req.URL.Path, "/")
		body, ok := bodies[part[len(part)-1]]
		switch {
		case req.URL.Path == "/v2/":
		case ok:
			w.Header().Set("Content-Type", manifestType)
		case strings.Contains(req.URL.Path, "/manifests/"):
			w.Header().Set("Content-Type", indexType)
			body = string(index)
		default:
			body = "x"
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		if strings.Contains(req.URL.Path, "/manifests/") {
			w.Header().Set("Docker-Content-Digest", digestText(body))
		}
		if req.Method == http.MethodGet {
			_, _ = w.WriteString(body)
		}
		return w.Result(), nil
	})}
	got, err := c.Image(t.Context(), image(t, "a.example.com/team/app:1"))
	require.ErrorIs(t, err, registry.ErrTooLarge, "%v", err)
	require.LessOrEqual(t, requests, 4200)
	require.LessOrEqual(t, len(got.Attempts[0].Exchanges), 4200)
}

func digestText(text string) string {
	hash := sha256.Sum256([]byte(text))
	return "sha256:" + hex.EncodeToString(hash[:])
}

package validate_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/internal/scenario"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
	"github.com/regcred/regcred/validate"
)

// The target of a redirect is sent the login by the runtimes' rules, and only if Realms lists its host.
func TestLoginAtTheTargetOfARedirect(t *testing.T) {
	redirected := scenario.Redirect{Manifests: true, Blobs: true, Login: true}
	withPing := redirected
	withPing.Ping = true
	for _, c := range []struct {
		name     string
		scenario scenario.Scenario
		realms   []string
		pulls    map[validate.Runtime]bool
	}{
		{"not listed", scenario.Scenario{Auth: "open", Redirect: redirected}, nil, nil},
		{"listed", scenario.Scenario{Auth: "open", Redirect: redirected}, []string{scenario.OtherHost},
			map[validate.Runtime]bool{validate.Containerd: true}},
		{"with the ping", scenario.Scenario{Auth: "open", Redirect: withPing}, []string{scenario.OtherHost},
			map[validate.Runtime]bool{validate.Containerd: true, validate.Docker: true}},
		{"rejected", scenario.Scenario{Auth: "open", Login: "wrong", Redirect: redirected}, []string{scenario.OtherHost}, nil},
	} {
		for _, runtime := range []validate.Runtime{validate.Containerd, validate.CRIO, validate.Docker, validate.DockerContainerd} {
			t.Run(c.name+" "+string(runtime), func(t *testing.T) {
				served := scenario.NewRegistry(c.scenario, "")
				checker := &validate.Checker{
					RoundTripper: registrytest.NewRoundTripper(served), Runtimes: []validate.Runtime{runtime}, Realms: c.realms, Deep: true,
				}
				password := scenario.Password
				if c.scenario.Login == "wrong" {
					password = "wrong"
				}
				got, err := checker.Image(t.Context(), image(t, scenario.Image), as(scenario.Username, password))
				sent := 0
				for _, r := range served.Requests() {
					if strings.HasPrefix(r.Target, scenario.OtherHost) && r.Auth != "" {
						sent++
					}
				}
				if c.pulls[runtime] {
					require.NoError(t, err)
					require.Equal(t, validate.Yes, got.Pulls)
					return
				}
				require.Error(t, err)
				require.Contains(t, []registry.Code{registry.ErrInsecure, registry.ErrUnauthorized}, registry.CodeOf(err))
				if c.name == "rejected" && runtime == validate.Containerd {
					require.ErrorIs(t, err, registry.ErrUnauthorized)
					require.Equal(t, 1, sent, "a rejected login is sent once")
				} else {
					require.Zero(t, sent)
				}
			})
		}
	}
}

// An old registry redirects to a new one that requires the login, which redirects blobs to a storage service. The
// storage service is sent no login, and the evidence contains none.
func TestRedirectAfterTheLogin(t *testing.T) {
	const oldHost, newHost, storage = "old.example.com", "new.example.net", "storage.example.org"
	for _, storageStatus := range []int{http.StatusOK, http.StatusUnauthorized} {
		for _, loops := range []bool{false, true} {
			g := newIndexGraph()
			g.root = g.image("linux", "amd64")["digest"].(string)
			asked := make(map[string]int)
			c := &validate.Checker{
				Deep: true, Runtimes: []validate.Runtime{validate.Containerd}, Realms: []string{newHost},
				RoundTripper: roundTripper(func(req *http.Request) (*http.Response, error) {
					w := httptest.NewRecorder()
					auth := req.Header.Get("Authorization")
					asked[req.URL.Host]++
					redirect := func(host, query string) {
						w.Header().Set("Location", "https://"+host+req.URL.Path+query)
						w.WriteHeader(http.StatusTemporaryRedirect)
					}
					switch {
					case req.URL.Path == "/v2/":
					case req.URL.Host == oldHost:
						require.Empty(t, auth)
						redirect(newHost, "")
					case req.URL.Host == newHost && auth == "":
						w.Header().Set("WWW-Authenticate", `Basic realm="new"`)
						w.WriteHeader(http.StatusUnauthorized)
					case req.URL.Host == newHost && strings.Contains(req.URL.Path, "/blobs/") && loops:
						redirect(newHost, "")
					case req.URL.Host == newHost && strings.Contains(req.URL.Path, "/blobs/"):
						redirect(storage, "?signature=x")
					case req.URL.Host == storage && storageStatus != http.StatusOK:
						require.Empty(t, auth)
						w.Header().Set("WWW-Authenticate", `Basic realm="storage"`)
						w.WriteHeader(storageStatus)
					default:
						if req.URL.Host == storage {
							require.Empty(t, auth)
						}
						return g.RoundTrip(req)
					}
					return w.Result(), nil
				}),
			}
			_, err := c.Image(t.Context(), image(t, oldHost+"/team/app:1"), as("ann", "right"))
			switch {
			case loops:
				require.ErrorIs(t, err, registry.ErrUnavailable)
				require.ErrorContains(t, err, "redirects without end")
				require.Zero(t, asked[storage])
			case storageStatus != http.StatusOK:
				require.ErrorIs(t, err, registry.ErrInsecure)
			default:
				require.NoError(t, err)
				require.Positive(t, asked[storage])
			}
		}
	}
}

// A server that repeats the login in its response does not bring it into the evidence.
func TestLoginInTheEvidenceOfARedirect(t *testing.T) {
	const newHost = "new.example.net"
	sent := 0
	c := &validate.Checker{
		Runtimes: []validate.Runtime{validate.Containerd}, Realms: []string{newHost},
		RoundTripper: roundTripper(func(req *http.Request) (*http.Response, error) {
			w := httptest.NewRecorder()
			switch auth := req.Header.Get("Authorization"); {
			case req.URL.Path == "/v2/":
			case req.URL.Host != newHost:
				w.Header().Set("Location", "https://"+newHost+req.URL.Path)
				w.WriteHeader(http.StatusTemporaryRedirect)
			case auth == "":
				w.Header().Set("WWW-Authenticate", `Basic realm="new"`)
				w.WriteHeader(http.StatusUnauthorized)
			case strings.HasSuffix(req.URL.Path, "/1"):
				sent++
				w.Header().Set("Location", "https://storage.example.org/"+strings.TrimPrefix(auth, "Basic "))
				w.WriteHeader(http.StatusTemporaryRedirect)
			}
			if req.URL.Host == "storage.example.org" {
				w = httptest.NewRecorder()
				w.WriteHeader(http.StatusForbidden)
				_, _ = w.WriteString(`{"errors":[{"code":"DENIED","message":"not with password-of-ann"}]}`)
			}
			return w.Result(), nil
		}),
	}
	got, err := c.Image(t.Context(), image(t, "old.example.com/team/app:1"), as("ann", "password-of-ann"))
	require.Error(t, err)
	require.Positive(t, sent)
	evidence, err := json.Marshal(got)
	require.NoError(t, err)
	require.NotContains(t, string(evidence), "password-of-ann")
	require.NotContains(t, string(evidence), base64.StdEncoding.EncodeToString([]byte("ann:password-of-ann")))
}

// containerd learns in the pull of one image that the target of a redirect requires the login, and sends it at once with
// the later requests of that pull. It learns it anew for each image.
func TestLoginLearnedAtTheTargetOfARedirect(t *testing.T) {
	const oldHost, newHost = "old.example.com", "new.example.net"
	g := newIndexGraph()
	g.root = g.image("linux", "amd64")["digest"].(string)
	check := func(names ...string) (verdicts []validate.Answer) {
		c := &validate.Checker{
			Deep: true, Runtimes: []validate.Runtime{validate.Containerd}, Realms: []string{newHost}, CacheFor: time.Hour,
			RoundTripper: roundTripper(func(req *http.Request) (*http.Response, error) {
				w := httptest.NewRecorder()
				_, _, login := req.BasicAuth()
				challenge := func() {
					w.Header().Set("WWW-Authenticate", `Basic realm="new"`)
					w.WriteHeader(http.StatusUnauthorized)
				}
				switch {
				case req.URL.Path == "/v2/":
					challenge()
				case req.URL.Host == oldHost:
					w.Header().Set("Location", "https://"+newHost+req.URL.Path)
					w.WriteHeader(http.StatusTemporaryRedirect)
				case login:
					return g.RoundTrip(req)
				case strings.Contains(req.URL.Path, "/hidden/"): // As a server that hides what exists.
					w.WriteHeader(http.StatusNotFound)
				case strings.Contains(req.URL.Path, "/blobs/"):
					w.WriteHeader(http.StatusBadRequest)
				default:
					challenge()
				}
				return w.Result(), nil
			}),
		}
		for _, name := range names {
			got, _ := c.Image(t.Context(), image(t, oldHost+"/"+name+"/app:1"), as("ann", "right"))
			verdicts = append(verdicts, got.Pulls)
		}
		return verdicts
	}
	require.Equal(t, []validate.Answer{validate.No, validate.Yes}, check("hidden", "shown"))
	require.Equal(t, []validate.Answer{validate.Yes, validate.No, validate.Yes}, check("shown", "hidden", "shown"))
}

// Docker sends the login at once to the host that GET /v2/ is redirected to, and to no other host.
func TestDockerLogsInWhereThePingWasRedirected(t *testing.T) {
	const oldHost, newHost, otherHost = "old.example.com", "new.example.net", "other.example.org"
	g := newIndexGraph()
	g.root = g.image("linux", "amd64")["digest"].(string)
	for _, tc := range []struct {
		name, target, password string
		want                   validate.Answer
	}{
		{"there", newHost, "right", validate.Yes},
		{"there, with a wrong password where none is required", newHost, "wrong", validate.No},
		{"elsewhere", otherHost, "right", validate.No},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := &validate.Checker{
				Deep: true, Runtimes: []validate.Runtime{validate.Docker}, Realms: []string{newHost, otherHost},
				RoundTripper: roundTripper(func(req *http.Request) (*http.Response, error) {
					w := httptest.NewRecorder()
					_, password, login := req.BasicAuth()
					redirect := func(host string) {
						w.Header().Set("Location", "https://"+host+req.URL.Path)
						w.WriteHeader(http.StatusTemporaryRedirect)
					}
					switch {
					case req.URL.Host == oldHost && req.URL.Path == "/v2/":
						redirect(newHost)
					case req.URL.Host == oldHost:
						redirect(tc.target)
					case login && password != "right", !login && (req.URL.Path == "/v2/" || req.URL.Host == otherHost):
						w.Header().Set("WWW-Authenticate", `Basic realm="new"`)
						w.WriteHeader(http.StatusUnauthorized)
					default:
						require.False(t, login && req.URL.Host == otherHost, "Docker sends no login there")
						return g.RoundTrip(req)
					}
					return w.Result(), nil
				}),
			}
			got, _ := c.Image(t.Context(), image(t, oldHost+"/team/app:1"), as("ann", tc.password))
			require.Equal(t, tc.want, got.Pulls)
		})
	}
}

// A registry that names a realm like a target of redirects blocks no request.
func TestRealmLikeATarget(t *testing.T) {
	const newHost = "new.example.net"
	c := &validate.Checker{
		Runtimes: []validate.Runtime{validate.Containerd}, Realms: []string{newHost}, Timeout: time.Minute,
		RoundTripper: roundTripper(func(req *http.Request) (*http.Response, error) {
			w := httptest.NewRecorder()
			_, _, login := req.BasicAuth()
			switch {
			case !login:
				w.Header().Set("WWW-Authenticate", `Basic realm="redirect to `+newHost+`"`)
				w.WriteHeader(http.StatusUnauthorized)
			case req.URL.Host != newHost:
				w.Header().Set("Location", "https://"+newHost+req.URL.Path)
				w.WriteHeader(http.StatusTemporaryRedirect)
			default:
				w.WriteHeader(http.StatusNotFound)
			}
			return w.Result(), nil
		}),
	}
	_, err := c.Image(t.Context(), image(t, "old.example.com/team/app:1"), as("ann", "right"))
	require.Error(t, err)
	require.NotErrorIs(t, err, registry.ErrTimeout)
}

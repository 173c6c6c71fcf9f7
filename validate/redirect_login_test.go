package validate_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

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

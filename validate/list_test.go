package validate_test

import (
	"fmt"
	"iter"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
	"github.com/regcred/regcred/validate"
)

func collect(seq iter.Seq2[string, error]) (names []string, err error) {
	for name, e := range seq {
		if e != nil {
			return names, e
		}
		names = append(names, name)
	}
	return names, nil
}

// name adds an image with the name to a registry.
func name(t *testing.T, r *registrytest.Registry, name string) {
	_, err := r.AddManifest(name, manifestType, []byte(`{"schemaVersion":2}`))
	require.NoError(t, err)
}

func TestRepositories(t *testing.T) {
	// The codes for an administrator and for a user, if they do not get the whole list.
	want := map[string][2]registry.Code{
		"dockerhub":          {registry.ErrUnsupported, registry.ErrUnsupported},
		"ghcr":               {registry.ErrUnsupported, registry.ErrUnsupported},
		"ecr-public":         {registry.ErrUnsupported, registry.ErrUnsupported},
		"gitlab":             {"", registry.ErrDenied},
		"harbor":             {"", registry.ErrDenied},
		"distribution-token": {"", registry.ErrDenied},
	}
	for _, d := range registrytest.Dialects() {
		t.Run(d.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				admin := user("root", "right", "*")
				admin.Admin = true
				r := newRegistry(d, admin, user("ann", "right", "*"))
				r.TokenHost = homes[d.Name].tokenHost
				var all []string
				for i := range 250 {
					all = append(all, fmt.Sprintf("team/app%03d", i))
				}
				for _, n := range append(all, "other/app") {
					name(t, r, n)
				}
				c := &validate.Checker{RoundTripper: r.RoundTripper()}
				for i, name := range []string{"root", "ann"} {
					e := endpoint(t, homes[d.Name].host+"/team")
					got, err := collect(c.Repositories(t.Context(), e, validate.Candidate{Name: name, Source: source(name, "right")}))
					require.Equal(t, want[d.Name][i], registry.CodeOf(err), "%s: %v", name, err)
					if err == nil {
						require.Equal(t, all, got)
					}
				}
				if !d.Open() {
					_, err := collect(c.Repositories(t.Context(), endpoint(t, homes[d.Name].host), as("ann", "wrong")))
					require.Error(t, err)
					if want[d.Name][0] == "" {
						require.ErrorIs(t, err, registry.ErrUnauthorized)
					}
				}
			})
		})
	}
}

func TestTags(t *testing.T) {
	for _, d := range registrytest.Dialects() {
		t.Run(d.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRegistry(d, user("ann", "right", "*"))
				r.TokenHost = homes[d.Name].tokenHost
				var all []string
				for i := range 1050 {
					tag := fmt.Sprintf("v%04d", i)
					all = append(all, tag)
					name(t, r, "team/app:"+tag)
				}
				c := &validate.Checker{RoundTripper: r.RoundTripper()}
				ann := as("ann", "right")
				host := homes[d.Name].host
				got, err := collect(c.Tags(t.Context(), image(t, host+"/team/app"), ann))
				require.NoError(t, err)
				require.Equal(t, all, got)

				// A caller that stops early causes no further requests.
				r.ResetRequests()
				for range c.Tags(t.Context(), image(t, host+"/team/app"), ann) {
					break
				}
				require.LessOrEqual(t, len(r.Requests()), 3)

				_, err = collect(c.Tags(t.Context(), image(t, host+"/team/gone"), ann))
				require.True(t, registry.CodeOf(err).Is(registry.ErrNotFound) || registry.CodeOf(err) == registry.ErrHidden, "%v", err)
			})
		})
	}
}

// If a registry's pages are shorter than requested, the request is repeated without a size.
func TestListShortPages(t *testing.T) {
	r := newRegistry(registrytest.DistributionBasic(), user("ann", "right", "*"))
	r.PageSize = 2
	add(t, r, registrytest.Image{}, "team/app:1", "team/app:2", "team/app:3", "team/app:4", "team/app:5")
	c := &validate.Checker{RoundTripper: r.RoundTripper()}
	got, err := collect(c.Tags(t.Context(), image(t, "a.example.com/team/app"), as("ann", "right")))
	require.NoError(t, err)
	require.Equal(t, []string{"1", "2", "3", "4", "5"}, got)
}

// A list with links to other servers or lists, or with broken links.
func TestListHostile(t *testing.T) {
	for name, tc := range map[string]struct {
		link string
		want registry.Code
	}{
		"another host":   {`<https://evil.org/v2/team/app/tags/list?last=x>; rel="next"`, registry.ErrInsecure},
		"another list":   {`</v2/_catalog?last=x>; rel="next"`, registry.ErrInsecure},
		"metadata":       {`<http://169.254.169.254/v2/team/app/tags/list?x=y>; rel="next"`, registry.ErrInsecure},
		"itself":         {`</v2/team/app/tags/list?last=x>; rel="next"`, registry.ErrUnavailable},
		"not a URL":      {`<:>; rel="next"`, registry.ErrUnavailable},
		"not next":       {`<https://evil.org/>; rel="prev"`, ""},
		"not a link":     {`rel="next"`, ""},
		"without an end": {`<`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRegistry(registrytest.MCR())
			add(t, r, registrytest.Image{}, "team/app:1")
			r.Inject(registrytest.Fault{
				Answer: registrytest.Answer{Status: 200, Body: `{"tags":["1","-not a tag","` + string(slices.Repeat([]byte("x"), 200)) + `","2"]}`},
				Header: map[string]string{"Link": tc.link, "Content-Type": "application/json"},
			})
			c := &validate.Checker{RoundTripper: r.RoundTripper()}
			got, err := collect(c.Tags(t.Context(), image(t, "mcr.microsoft.com/team/app"), validate.Candidate{}))
			require.Equal(t, tc.want, registry.CodeOf(err), "%v", err)
			require.Equal(t, []string{"1", "2"}, got[:min(len(got), 2)])
			require.LessOrEqual(t, len(r.Requests()), 3)
			require.Empty(t, got[min(len(got), 4):])
		})
	}
}

// Pages that link to each other, new pages without a name, and endless pages with the same names.
func TestListWithoutEnd(t *testing.T) {
	for name, page := range map[string]func(n int) (link, body string){
		"a ring":          func(n int) (string, string) { return fmt.Sprint(n % 5), `{"tags":["1"]}` },
		"nothing but new": func(n int) (string, string) { return fmt.Sprint(n), `{"tags":[]}` },
	} {
		t.Run(name, func(t *testing.T) {
			requests := 0
			c := &validate.Checker{RoundTripper: roundTripper(func(req *http.Request) (*http.Response, error) {
				w := httptest.NewRecorder()
				if req.URL.Path != "/v2/" {
					requests++
					link, body := page(requests)
					w.Header().Set("Link", "</v2/team/app/tags/list?last="+link+`>; rel="next"`)
					_, _ = w.WriteString(body)
				}
				return w.Result(), nil
			})}
			_, err := collect(c.Tags(t.Context(), image(t, "a.example.com/team/app"), validate.Candidate{}))
			require.ErrorIs(t, err, registry.ErrUnavailable)
			require.LessOrEqual(t, requests, 100)
		})
	}
}

// TestTagsOfRenamedOwner lists tags as with Gitea, which redirects to the new name and links to the next page under it.
func TestTagsOfRenamedOwner(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		switch req.URL.Path {
		case "/v2/":
		case "/v2/old/app/tags/list":
			http.Redirect(w, req, "/v2/new/app/tags/list?"+req.URL.RawQuery, http.StatusTemporaryRedirect)
		case "/v2/new/app/tags/list":
			if req.URL.Query().Get("last") != "" {
				_, _ = w.Write([]byte(`{"name":"new/app","tags":[]}`))
				return
			}
			w.Header().Set("Link", `</v2/new/app/tags/list?last=1&n=1000>; rel="next"`)
			_, _ = w.Write([]byte(`{"name":"new/app","tags":["1"]}`))
		default:
			http.NotFound(w, req)
		}
	}))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	image, err := registry.ParseImage(host + "/old/app")
	require.NoError(t, err)
	var tags []string
	for tag, err := range (&validate.Checker{}).Tags(t.Context(), image, validate.Candidate{Transport: registry.TransportConfig{PlainHTTP: true, Proxy: registry.Direct}}) {
		require.NoError(t, err)
		tags = append(tags, tag)
	}
	require.Equal(t, []string{"1"}, tags)
}

// Concurrent calls share the response of a token server that denies a list.
func TestListDeniedConcurrently(t *testing.T) {
	c := &validate.Checker{CacheFor: time.Minute, RoundTripper: roundTripper(func(req *http.Request) (*http.Response, error) {
		w := httptest.NewRecorder()
		if req.URL.Path == "/token" {
			w.WriteHeader(http.StatusForbidden)
			return w.Result(), nil
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="https://a.example.com/token",service="x"`)
		w.WriteHeader(http.StatusUnauthorized)
		return w.Result(), nil
	})}
	var calls sync.WaitGroup
	for range 8 {
		calls.Go(func() {
			_, err := collect(c.Repositories(t.Context(), endpoint(t, "a.example.com"), as("ann", "right")))
			assert.ErrorIs(t, err, registry.ErrDenied)
		})
	}
	calls.Wait()
}

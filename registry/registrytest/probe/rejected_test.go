package probe

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
	"github.com/regcred/regcred/validate"
)

// passwordsIn counts the requests that have a password, in a header or in a form.
func passwordsIn(t *testing.T, requests []*http.Request) (n int) {
	t.Helper()
	for _, req := range requests {
		if _, _, ok := req.BasicAuth(); ok {
			n++
		}
		if req.GetBody == nil {
			continue
		}
		body, err := req.GetBody()
		require.NoError(t, err)
		text, err := io.ReadAll(body)
		require.NoError(t, err)
		values, err := url.ParseQuery(string(text))
		require.NoError(t, err)
		if values.Has("password") {
			n++
		}
	}
	return n
}

// A login that the registry rejects is sent once, because vendors lock users after some rejected logins.
func TestRejectedLoginIsSentOnce(t *testing.T) {
	t.Parallel()
	for _, d := range registrytest.Dialects() {
		if d.Open() {
			continue
		}
		for _, w := range []world{{}, {public: repositoryPublic}} {
			setup := setups(d)[0]
			r, target, err := newFake(d, setup, w)
			require.NoError(t, err)
			target.Credential.Password = credentials.NewSecret("expired")
			record := &recorder{next: r.RoundTripper()}
			c, err := (&Probe{Checker: &validate.Checker{RoundTripper: record}, WrongLogin: WrongLoginAlways}).Run(t.Context(), target)
			require.NoError(t, err)
			want := 1
			if d.Name == "harbor" && w.public != nothingPublic {
				want = 2 // Its token server ignores the login if the image is public, and rejects it without a scope.
			}
			require.Equal(t, want, passwordsIn(t, record.all), "%s, %+v", d.Name, w)
			require.True(t, c.Setup.Rejected, d.Name)
			require.False(t, slices.ContainsFunc(c.Exchanges, func(e Exchange) bool { return e.Login == WrongLogin }), d.Name)
			for _, login := range []Login{WrongLogin, BasicLogin} {
				require.True(t, slices.ContainsFunc(c.Skipped, func(s Skipped) bool {
					return (s.Login == login || login == BasicLogin && s.Login == TokenLogin) && strings.Contains(s.Why, "rejects the profile's login")
				}), "%s: %v", d.Name, c.Skipped)
			}
			// The questions without a login are still sent, and the capture still tests the fake.
			require.True(t, slices.ContainsFunc(c.Exchanges, func(e Exchange) bool { return e.key() == "catalog/none" }), d.Name)
			c.Dialect = d.Name
			require.NoError(t, c.Verify(t.Context()), d.Name)
			text, err := c.Encode()
			require.NoError(t, err)
			_, err = Decode(text)
			require.NoError(t, err)
		}
	}
}

// A login that the registry accepts is used for all questions, whether the image is public or not.
func TestAcceptedLogin(t *testing.T) {
	t.Parallel()
	for _, d := range registrytest.Dialects() {
		for _, w := range []world{{}, {public: repositoryPublic}} {
			r, target, err := newFake(d, setups(d)[0], w)
			require.NoError(t, err)
			c, err := probeFake(t.Context(), r, target)
			require.NoError(t, err)
			require.False(t, c.Setup.Rejected, "%s, %+v: %v", d.Name, w, c.Skipped)
			require.Equal(t, !d.Open(), slices.ContainsFunc(c.Exchanges, func(e Exchange) bool { return e.Login == WrongLogin }), d.Name)
		}
	}
}

// A login that may be wrong arrives once, even if the server closes the connection, after which net/http repeats
// requests on connections that were used before.
func TestLoginArrivesOnce(t *testing.T) {
	t.Parallel()
	for _, cut := range []string{"right", wrongPassword} {
		var mu sync.Mutex
		arrived := make(map[string]int)
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			_, password, ok := req.BasicAuth()
			if ok {
				mu.Lock()
				arrived[password]++
				mu.Unlock()
			}
			switch {
			case ok && password == cut:
				conn, _, err := w.(http.Hijacker).Hijack()
				if err == nil {
					_ = conn.Close()
				}
			case ok && password == "right":
				w.WriteHeader(http.StatusOK)
			default:
				w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
				w.WriteHeader(http.StatusUnauthorized)
			}
		}))
		defer server.Close()
		var transports registry.Transports // Which the Checker does not close.
		defer transports.CloseIdleConnections()
		checker := &validate.Checker{Transports: &transports}
		_, err := (&Probe{Checker: checker, WrongLogin: WrongLoginAlways}).Run(t.Context(), Target{
			Transport:  registry.TransportConfig{PlainHTTP: true, Proxy: registry.Direct},
			Credential: credentials.Credential{Username: "ann", Password: credentials.NewSecret("right")},
			Image:      registry.Image{Host: strings.TrimPrefix(server.URL, "http://"), Repository: "team/app", Tag: "1"},
		})
		require.NoError(t, err)
		mu.Lock()
		require.Equal(t, 1, arrived[cut], cut)
		mu.Unlock()
	}
}

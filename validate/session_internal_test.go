package validate

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
)

type fakeTransport func(*http.Request) *http.Response

func (f fakeTransport) RoundTrip(req *http.Request) (*http.Response, error) { return f(req), nil }

// A session of CacheFor is replaced before its tokens, logins or scopes fill the memory.
func TestSessionIsBounded(t *testing.T) {
	size := 200 << 10
	c := &Checker{CacheFor: time.Hour, RoundTripper: fakeTransport(func(req *http.Request) *http.Response {
		w := httptest.NewRecorder()
		switch {
		case req.URL.Path == "/token":
			_, _ = fmt.Fprintf(w, `{"token":"%s"}`, strings.Repeat("x", size))
		case req.Header.Get("Authorization") == "":
			w.Header().Set("WWW-Authenticate", `Bearer realm="https://a.example.com/token",service="x"`)
			w.WriteHeader(http.StatusUnauthorized)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
		return w.Result()
	})}
	check := func(i int) error {
		name, err := registry.ParseImage(fmt.Sprintf("a.example.com/team/app%d:1", i))
		require.NoError(t, err)
		_, err = c.Image(t.Context(), name)
		return err
	}
	sessions := make(map[*session]bool)
	for i := range 120 {
		require.ErrorIs(t, check(i), registry.ErrNotFound)
		sessions[c.current] = true
	}
	require.Len(t, sessions, 2, "120 tokens of 200 KiB are 23 MiB")

	size = maxToken + 1
	require.ErrorIs(t, check(1000), registry.ErrTokenResponse)
	size = 1

	s := c.session()
	o, err := s.origin(originKey{host: "a.example.com"}, registry.TransportConfig{})
	require.NoError(t, err)
	for i := range maxKnown {
		if i%2 == 0 {
			o.authorizer(credentials.Credential{Username: fmt.Sprint(i)}, ownRules)
			continue
		}
		o.authorizer(credentials.Credential{Anonymous: true}, ownRules).groupOf(pullScope(fmt.Sprint(i)))
	}
	require.NotSame(t, s, c.session())
}

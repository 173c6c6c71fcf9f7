package probe

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
)

// The capture of a registry that does not respond to some requests can be written and read.
func TestFailedExchange(t *testing.T) {
	t.Parallel()
	closed := httptest.NewTLSServer(http.NotFoundHandler())
	closed.Close()
	untrusted := httptest.NewUnstartedServer(http.NotFoundHandler())
	untrusted.Config.ErrorLog = log.New(io.Discard, "", 0)
	untrusted.StartTLS()
	defer untrusted.Close()
	for realm, want := range map[string]registry.Code{
		closed.URL: registry.ErrUnreachable, untrusted.URL: registry.ErrTLSUnknownIssuer,
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+realm+`/token",service="registry"`)
			w.WriteHeader(http.StatusUnauthorized)
		}))
		defer server.Close()
		host := strings.TrimPrefix(server.URL, "http://")
		c, err := (&Probe{}).Run(t.Context(), Target{
			Transport:  registry.TransportConfig{PlainHTTP: true, Proxy: registry.Direct},
			Credential: credentials.Credential{Username: "ann", Password: credentials.NewSecret("right")},
			Image:      registry.Image{Host: host, Repository: "team/app", Tag: "1"},
		})
		require.NoError(t, err)
		failed := 0
		for _, e := range c.Exchanges {
			if e.Failed != "" {
				require.Equal(t, string(want), e.Failed)
				require.Nil(t, e.Reply)
				failed++
			}
		}
		require.Positive(t, failed)
		text, err := c.Encode()
		require.NoError(t, err)
		decoded, err := Decode(text)
		require.NoError(t, err)
		require.Equal(t, c, decoded)
		for _, e := range c.Exchanges { // A login without a response is not sent again.
			require.False(t, e.Login == BasicLogin && e.Question != "token", e.key())
		}
		_, err = c.Compare(t.Context(), registrytest.DistributionToken())
		require.NoError(t, err)
	}
}

// A capture has only codes of requests without a response, and no other text in their place.
func TestFailures(t *testing.T) {
	t.Parallel()
	for _, code := range append([]registry.Code{"acme", "acme_denied", "unreachable acme", registry.ErrContested}, failures...) {
		kept := failureOf(code)
		require.Contains(t, []registry.Code{code, registry.ErrUnknown}, kept)
		c := Capture{Version: Version, Exchanges: []Exchange{{Question: "ping", Login: NoLogin, Failed: string(kept)}}}
		require.NoError(t, c.checkRedacted(), code)
		if kept != code {
			c.Exchanges[0].Failed = string(code)
			require.Error(t, c.checkRedacted(), code)
		}
	}
}

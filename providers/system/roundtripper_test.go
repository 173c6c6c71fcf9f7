package system_test

import (
	"encoding/json"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers/system"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
)

// In a bubble, a socket would be noticed: what waits for the network keeps it from ending.
func TestRoundTripperCarriesAllCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked []string
		p := system.Provider{RoundTripper: registrytest.Transport(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked = append(asked, r.Host)
			w.WriteHeader(http.StatusCreated)
			_ = json.NewEncoder(w).Encode(map[string]any{
				"username": "u", "password": "p", "issuedAt": time.Now(), "expiresAt": time.Now().Add(time.Hour),
			})
		}))}
		c, err := p.Credential(t.Context(), registry.Profile{
			Name: "p", Kind: registry.System, Endpoint: "registry.test",
			Login:     credentials.Login{Username: "u", Password: credentials.NewSecret("p")},
			Transport: registry.Transport{Proxy: "http://proxy.test"}, // Does not count.
		})
		require.NoError(t, err)
		require.Equal(t, time.Now().Add(time.Hour).UTC(), c.ExpiresAt.UTC())
		require.Equal(t, []string{"registry.test"}, asked)
	})
}

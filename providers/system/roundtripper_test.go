package system_test

import (
	"context"
	"encoding/json"
	"errors"
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

// A bubble detects a socket: a goroutine that waits for the network prevents its end.
func TestRoundTripperCarriesAllCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked []string
		p := system.Provider{RoundTripper: registrytest.NewRoundTripper(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked = append(asked, r.Host)
			w.WriteHeader(http.StatusCreated)
			_ = json.NewEncoder(w).Encode(map[string]any{
				"username": "u", "password": "p", "issuedAt": time.Now(), "expiresAt": time.Now().Add(time.Hour),
			})
		}))}
		c, err := p.Credential(t.Context(), registry.Profile{
			Name: "p", Kind: registry.System, Endpoint: "registry.test",
			Login:     credentials.Login{Username: "u", Password: credentials.NewSecret("p")},
			Transport: registry.TransportConfig{Proxy: "http://proxy.test"}, // Does not count.
		})
		require.NoError(t, err)
		require.Equal(t, time.Now().Add(time.Hour).UTC(), c.ExpiresAt.UTC())
		require.Equal(t, []string{"registry.test"}, asked)
	})
}

// net/http returns a response that arrives while it closes the connection of a caller who left, and a server whose
// client left may send any response.
func TestAnswerToACallerWhoLeft(t *testing.T) {
	left := errors.New("the caller left")
	for _, status := range []int{http.StatusOK, http.StatusUnauthorized, http.StatusInternalServerError} {
		ctx, cancel := context.WithCancelCause(t.Context())
		p := system.Provider{RoundTripper: roundTripper(func(r *http.Request) (*http.Response, error) {
			cancel(left)
			return &http.Response{StatusCode: status, Body: http.NoBody, Request: r}, nil
		})}
		_, err := p.Credential(ctx, registry.Profile{
			Name: "p", Kind: registry.System, Endpoint: "registry.test",
			Login: credentials.Login{Username: "u", Password: credentials.NewSecret("p")},
		})
		require.ErrorIs(t, err, left)
		require.ErrorIs(t, err, registry.ErrCanceled)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

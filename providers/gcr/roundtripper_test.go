package gcr_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers/gcr"
	"github.com/regcred/regcred/providers/gcr/gcrtest"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
)

// If ctx ends while the provider waits to try again, the error has the cause, and the text of the last failure.
func TestContextEndsBetweenAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := gcr.Provider{RoundTripper: registrytest.NewRoundTripper(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadGateway)
		}))}
		left := errors.New("the user left")
		ctx, cancel := context.WithTimeoutCause(t.Context(), 100*time.Millisecond, left)
		defer cancel()
		_, err := p.Credential(ctx, registry.Profile{
			Name: "team-a", Kind: registry.GCR, Endpoint: home,
			Login: googleLogin(credentials.GoogleLogin{Credentials: newGoogle().NewKey(puller), AccessToken: true}),
		})
		require.ErrorIs(t, err, left)
		require.ErrorIs(t, err, registry.ErrCanceled)
		require.ErrorContains(t, err, "502")
	})
}

// A bubble detects a socket: a goroutine that waits for the network prevents its end.
func TestRoundTripperCarriesAllCalls(t *testing.T) {
	noAmbient(t)
	t.Setenv("GCE_METADATA_HOST", "metadata.test")
	const url = "http://issuer.test/token"
	for name, test := range map[string]struct {
		login func(*gcrtest.Google) credentials.Login
		want  []string
	}{
		"key": {func(cloud *gcrtest.Google) credentials.Login {
			return googleLogin(credentials.GoogleLogin{Credentials: cloud.NewKey(puller), AccessToken: true})
		}, []string{"oauth2.googleapis.com"}},
		"impersonation": {func(cloud *gcrtest.Google) credentials.Login {
			return googleLogin(credentials.GoogleLogin{Credentials: cloud.NewKey(middle), Impersonate: puller})
		}, []string{"oauth2.googleapis.com", "iamcredentials.googleapis.com"}},
		"federation": {func(*gcrtest.Google) credentials.Login {
			return external(map[string]any{"url": url}, nil)
		}, []string{"issuer.test", "sts.googleapis.com"}},
		"metadata server": {func(*gcrtest.Google) credentials.Login {
			return credentials.Login{Ambient: true}
		}, []string{"metadata.test"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cloud := newGoogle()
				var asked []string
				p := gcr.Provider{SubjectTokens: []string{url}, RoundTripper: registrytest.NewRoundTripper(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					asked = append(asked, r.Host)
					switch r.Host {
					case "metadata.test":
						(&gcrtest.Metadata{Google: cloud, Email: puller}).ServeHTTP(w, r)
					case "issuer.test":
						_, _ = w.Write([]byte(cloud.SubjectToken(provider, "repo:team/app", 0).Reveal()))
					default:
						cloud.ServeHTTP(w, r)
					}
				}))}
				profile := registry.Profile{Name: "team-a", Kind: registry.GCR, Endpoint: home, Login: test.login(cloud)}
				if name == "key" || name == "impersonation" {
					profile.Transport.Proxy = "http://proxy.test" // Does not count.
				}
				c, err := p.Credential(t.Context(), profile)
				require.NoError(t, err)
				require.WithinDuration(t, time.Now().Add(time.Hour), c.ExpiresAt, time.Minute)
				require.Equal(t, test.want, asked)
			})
		})
	}
}

package ecr_test

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred"
	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers/ecr"
	"github.com/regcred/regcred/providers/ecr/ecrtest"
	"github.com/regcred/regcred/pullsecret"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
	"github.com/regcred/regcred/validate"
)

// For a week, with AWS's APIs down for an hour each day, every hour's pull secret works until the end of the hour, or
// until its own expiry if that is earlier, as is possible after an outage; and AWS gets no more calls than renewals
// need.
func TestDays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const days = 7
		start := time.Now()
		cloud := newAWS()
		asked := 0 // Successful calls. A renewal makes two: for the role and for the token.
		var mu sync.Mutex
		cloud.Intercept = func(w http.ResponseWriter, _ *http.Request, _ ecrtest.Call) bool {
			if down := time.Since(start)%(24*time.Hour) > 23*time.Hour; down {
				w.WriteHeader(http.StatusServiceUnavailable)
				return true
			}
			mu.Lock()
			defer mu.Unlock()
			asked++
			return false
		}
		_, err := cloud.Registry(home).Add("team/app:1", registrytest.Image{})
		require.NoError(t, err)

		network := registrytest.NewRoundTripper(cloud)
		pipeline := &regcred.Pipeline{Provider: ecr.Provider{RoundTripper: network}, Checker: validate.Checker{RoundTripper: network}}
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = pipeline.Cache.Run(ctx) })
		defer running.Wait()
		defer stop()

		request := regcred.Request{
			Profiles: []registry.Profile{{Name: "team-a", Kind: registry.ECR, Endpoint: home, Login: ciLogin(credentials.AWSRole{ARN: hubARN})}},
			Images:   []string{home + "/team/app:1"},
		}
		image, err := registry.ParseImage(request.Images[0])
		require.NoError(t, err)
		for time.Since(start) < days*24*time.Hour {
			outcome, err := pipeline.Run(ctx, request)
			require.NoError(t, err, "after %s", time.Since(start))
			left := time.Until(outcome.ExpiresAt)
			require.Greater(t, left, time.Minute)
			time.Sleep(min(time.Hour, left-time.Second))
			config, err := pullsecret.Parse(outcome.Secret.Config.Reveal()) // Like a node.
			require.NoError(t, err)
			matches := config.Match(image)
			require.Len(t, matches, 1)
			require.Equal(t, http.StatusOK, pull(t, network, matches[0].Credential), "after %s", time.Since(start))
		}
		// A token is valid for 12 hours, and its renewal starts when at most a fifth of that is left.
		require.GreaterOrEqual(t, asked, 2*days*24/12)
		require.LessOrEqual(t, asked, 2*days*24/9)
	})
}

// pull requests the manifest like a node, and returns the status.
func pull(t *testing.T, network http.RoundTripper, c credentials.Credential) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+home+"/v2/team/app/manifests/1", nil)
	require.NoError(t, err)
	req.SetBasicAuth(c.Username, c.Password.Reveal())
	res, err := network.RoundTrip(req)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	return res.StatusCode
}

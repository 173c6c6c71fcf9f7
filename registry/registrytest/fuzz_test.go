package registrytest

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
)

// Every request gets a response, and no response exposes content to a client without the right to it.
func FuzzRegistry(f *testing.F) {
	for _, path := range []string{"/v2/", "/v2/team/app/manifests/1", "/v2/team/app/blobs/" + zeroDigest, "/v2/team/app/tags/list", "/v2/_catalog"} {
		f.Add(uint8(0), "GET", path, "n=1&last=x", "", "")
	}
	f.Add(uint8(1), "HEAD", "/v2/team/app/manifests/1", "", "Basic YW5uOndyb25n", "")
	f.Add(uint8(2), "GET", "/token/", "service=public.ecr.aws&scope=aws", "Bearer YW5uOndyb25n", "")
	f.Add(uint8(5), "GET", "/v2/auth", "scope=repository(x):host:5000/team/app:pull,push", "basic Og==", "")
	f.Add(uint8(10), "POST", "/oauth2/exchange", "", "", "grant_type=access_token&access_token=x")
	f.Add(uint8(14), "POST", "/v2/team/app/blobs/uploads/", "mount="+zeroDigest+"&from=team/app", "Digest x", "")
	f.Add(uint8(15), "POST", "/auth/token", "", "", "grant_type=password&username=ann&password=&scope=repository:team/app:*")
	f.Add(uint8(16), "PUT", "/v2/team/app/manifests/1", "", "", `{"layers":[]}`)
	f.Fuzz(func(t *testing.T, dialect uint8, method, path, query, authorization, body string) {
		all := Dialects()
		d := all[int(dialect)%len(all)]
		if !strings.HasPrefix(path, "/") || method == "" {
			return
		}
		r := &Registry{
			Dialect:  d,
			Accounts: []Account{{Username: "ann", Password: credentials.NewSecret("not to be guessed: 6aTq0gE2"), Push: []string{"*"}}},
		}
		_, err := r.Add("team/app:1", Image{})
		require.NoError(t, err)
		req := (&http.Request{
			Method: method, URL: &url.URL{Scheme: "https", Host: "registry.test", Path: path, RawQuery: query},
			Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)),
		}).WithContext(t.Context())
		if authorization != "" {
			req.Header.Set("Authorization", authorization)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		res, err := r.RoundTripper().RoundTrip(req)
		require.NoError(t, err)
		got, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.GreaterOrEqual(t, res.StatusCode, 200)
		require.Less(t, res.StatusCode, 500)
		if method == http.MethodHead {
			require.Empty(t, got)
		}
		seen := r.Requests()[0]
		require.Equal(t, res.StatusCode, seen.Status)
		require.Empty(t, seen.Account)
		if seen.Repository != "" && !d.open {
			require.GreaterOrEqual(t, res.StatusCode, 400)
		}
	})
}

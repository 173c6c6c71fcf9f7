package registrytest

import (
	"io"
	"net/http"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
)

// newRegistry returns a registry with accounts for all situations, and an image at team/app:1.
func newRegistry(t *testing.T, d Dialect) *Registry {
	t.Helper()
	r := &Registry{
		Dialect: d,
		Accounts: []Account{
			{Username: "ann", Password: credentials.NewSecret("right"), Pull: []string{"team/*"}, Push: []string{"new/*"}, Admin: true},
			{Username: "bob", Password: credentials.NewSecret("right"), Pull: []string{"other/*"}},
			{Username: "nobody", Password: credentials.NewSecret("right")},
		},
		Repositories: []string{"other/app", "new/app"},
	}
	_, err := r.Add("team/app:1", Image{})
	require.NoError(t, err)
	return r
}

func startServer(t *testing.T, r *Registry) *Server {
	t.Helper()
	s, err := Start(r)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s
}

func TestClientPullsFromEveryDialect(t *testing.T) {
	for _, d := range Dialects() {
		t.Run(d.Name, func(t *testing.T) {
			s := startServer(t, newRegistry(t, d))
			ref, err := name.ParseReference(s.Host + "/team/app:1")
			require.NoError(t, err)
			opts := []remote.Option{
				remote.WithTransport(s.Client().Transport),
				remote.WithAuth(&authn.Basic{Username: "ann", Password: "right"}),
			}
			image, err := remote.Image(ref, opts...)
			require.NoError(t, err)
			layers, err := image.Layers()
			require.NoError(t, err)
			require.Len(t, layers, 1)
			content, err := layers[0].Uncompressed()
			require.NoError(t, err)
			_, err = io.Copy(io.Discard, content)
			require.NoError(t, err)
			require.NoError(t, content.Close())
			if d.tags.trailing == trailingNever { // At a loopback address, this client follows no https link.
				tags, err := remote.List(ref.Context(), opts...)
				require.NoError(t, err)
				require.Equal(t, []string{"1"}, tags)
			}

			if d.open {
				return // No account can push.
			}
			to, err := name.ParseReference(s.Host + "/new/app:2")
			require.NoError(t, err)
			pushed, err := random.Image(512, 2)
			require.NoError(t, err)
			require.NoError(t, remote.Write(to, pushed, opts...))
			got, err := remote.Get(to, opts...)
			require.NoError(t, err)
			want, err := pushed.Digest()
			require.NoError(t, err)
			require.Equal(t, want, got.Digest)
			require.Error(t, remote.Write(ref, pushed, opts...), "a pull right is no push right")
		})
	}
}

func get(t *testing.T, c *http.Client, method, url string, edit ...func(*http.Request)) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	require.NoError(t, err)
	for _, e := range edit {
		e(req)
	}
	res, err := c.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res, string(body)
}

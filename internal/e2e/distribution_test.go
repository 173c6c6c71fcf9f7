// Package e2e has tests against embedded third-party registries.
package e2e

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	_ "github.com/distribution/distribution/v3/registry/auth/htpasswd"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/validate"
)

// serve starts the registry of the CNCF's distribution project, version 3, with one account and one image.
func serve(t *testing.T) (host string) {
	hash, err := bcrypt.GenerateFromPassword([]byte("right"), bcrypt.MinCost)
	require.NoError(t, err)
	passwords := filepath.Join(t.TempDir(), "htpasswd")
	require.NoError(t, os.WriteFile(passwords, []byte("ann:"+string(hash)+"\n"), 0o600))
	config := &configuration.Configuration{
		Storage: configuration.Storage{"inmemory": {}, "maintenance": {"uploadpurging": map[any]any{"enabled": false}}},
		Auth:    configuration.Auth{"htpasswd": {"realm": "test", "path": passwords}},
	}
	config.Catalog.MaxEntries = 50 // Less than a client would request.
	config.Log.Level = "panic"
	config.Log.AccessLog.Disabled = true
	logrus.SetLevel(logrus.PanicLevel)
	server := httptest.NewServer(handlers.NewApp(t.Context(), config))
	t.Cleanup(server.Close)
	host = strings.TrimPrefix(server.URL, "http://")

	image, err := random.Image(64, 2)
	require.NoError(t, err)
	ref, err := name.ParseReference(host+"/team/app:1", name.Insecure)
	require.NoError(t, err)
	require.NoError(t, remote.Write(ref, image, remote.WithAuth(&authn.Basic{Username: "ann", Password: "right"})))
	return host
}

func TestDistribution(t *testing.T) {
	host := serve(t)
	way := registry.TransportConfig{PlainHTTP: true, Proxy: registry.Direct}
	as := func(password string) validate.Candidate {
		ann := credentials.Credential{Username: "ann", Password: credentials.NewSecret(password)}
		return validate.Candidate{Name: "ann", Transport: way, Source: credentials.Static(ann)}
	}
	c := &validate.Checker{Deep: true}
	defer c.CloseIdleConnections()

	endpoint, err := registry.ParseEndpoint("http://" + host)
	require.NoError(t, err)
	_, err = c.Login(t.Context(), endpoint, as("right"))
	require.NoError(t, err)
	_, err = c.Login(t.Context(), endpoint, as("wrong"))
	require.ErrorIs(t, err, registry.ErrUnauthorized)

	// As in docs/verdicts.md.
	for _, tc := range []struct {
		image     string
		candidate validate.Candidate
		want      registry.Code
	}{
		{"team/app:1", as("right"), ""},
		{"team/app:2", as("right"), registry.ErrImageNotFound},
		{"team/app@sha256:" + strings.Repeat("0", 64), as("right"), registry.ErrImageNotFound},
		{"team/gone:1", as("right"), registry.ErrRepositoryNotFound},
		{"team/app:1", as("wrong"), registry.ErrUnauthorized},
		{"team/app:1", validate.Candidate{Transport: way}, registry.ErrUnauthorized},
	} {
		image, err := registry.ParseImage(host + "/" + tc.image)
		require.NoError(t, err)
		got, err := c.Image(t.Context(), image, tc.candidate)
		require.Equal(t, tc.want, registry.CodeOf(err), "%s: %v", tc.image, err)
		if err == nil {
			require.Positive(t, got.Size)
		}
	}
	image, err := registry.ParseImage(host + "/team/app")
	require.NoError(t, err)
	var tags []string
	for tag, err := range c.Tags(t.Context(), image, as("right")) {
		require.NoError(t, err)
		tags = append(tags, tag)
	}
	require.Equal(t, []string{"1"}, tags)
	var names []string
	for name, err := range c.Repositories(t.Context(), endpoint, as("right")) {
		require.NoError(t, err)
		names = append(names, name)
	}
	require.Equal(t, []string{"team/app"}, names)
}

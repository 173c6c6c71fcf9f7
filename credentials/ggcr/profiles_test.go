package ggcr_test

import (
	"context"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/credentials/ggcr"
	"github.com/regcred/regcred/registry"
)

func TestProfiles(t *testing.T) {
	profiles := []registry.Profile{
		{Name: "team-a", Kind: registry.Custom, Endpoint: "harbor.example.com/a"},
		{Name: "harbor", Kind: registry.Custom, Endpoint: "harbor.example.com"},
		{Name: "hub", Kind: registry.DockerHub},
		{Name: "path", Kind: registry.Custom, Endpoint: "ghcr.io/acme"},
	}
	keychain := ggcr.Profiles(profiles, func(p registry.Profile) credentials.Source {
		return credentials.Static(credentials.Credential{Username: p.Name, Password: credentials.NewSecret("x")})
	})
	resolve := func(target authn.Resource) string {
		found, err := keychain.ResolveContext(t.Context(), target)
		require.NoError(t, err)
		config, err := authn.Authorization(context.Background(), found)
		require.NoError(t, err)
		return config.Username
	}
	for repository, want := range map[string]string{
		"harbor.example.com/a/app":  "team-a",
		"harbor.example.com/ab/app": "harbor",
		"library/nginx":             "hub",
		"index.docker.io/acme/app":  "hub",
		"ghcr.io/acme/app":          "path",
		"ghcr.io/other/app":         "",
		"quay.io/acme/app":          "",
	} {
		r, err := name.NewRepository(repository)
		require.NoError(t, err)
		require.Equal(t, want, resolve(r), repository)
	}
	for host, want := range map[string]string{
		"harbor.example.com": "harbor", "index.docker.io": "hub", "ghcr.io": "path", "quay.io": "",
	} {
		r, err := name.NewRegistry(host)
		require.NoError(t, err)
		require.Equal(t, want, resolve(r), host)
	}
}

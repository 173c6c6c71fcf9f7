package orascredentials_test

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/regcred/regcred"
	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/credentials/orascredentials"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
)

func profile(name, endpoint, password string) registry.Profile {
	return registry.Profile{
		Name: name, Kind: registry.Custom, Endpoint: endpoint,
		Login: credentials.Login{Username: "ann", Password: credentials.NewSecret(password)},
	}
}

// A client of oras-go lists the tags of a private repository with the login of a profile.
func TestClient(t *testing.T) {
	r := &registrytest.Registry{
		Dialect:  registrytest.Harbor(),
		Accounts: []registrytest.Account{{Username: "ann", Password: credentials.NewSecret("right"), Pull: []string{"team/*"}}},
	}
	_, err := r.Add("team/app:1", registrytest.Image{})
	require.NoError(t, err)
	list := func(password string) (tags []string, err error) {
		pipeline := new(regcred.Pipeline)
		store := orascredentials.Store{Profiles: []registry.Profile{profile("harbor", "harbor.example.com/team", password)}, Source: pipeline.Source}
		repository, err := remote.NewRepository("harbor.example.com/team/app")
		require.NoError(t, err)
		repository.Client = &auth.Client{Client: &http.Client{Transport: r.RoundTripper()}, Credential: store.Credential}
		err = repository.Tags(t.Context(), "", func(page []string) error { tags = append(tags, page...); return nil })
		return tags, err
	}
	tags, err := list("right")
	require.NoError(t, err)
	require.Equal(t, []string{"1"}, tags)
	_, err = list("wrong")
	require.Error(t, err)
}

func TestStore(t *testing.T) {
	errIssuer := errors.New("issuer is down")
	store := orascredentials.Store{
		Profiles: []registry.Profile{
			profile("part", "ghcr.io/acme", "part"), profile("all", "ghcr.io", "all"), profile("down", "quay.io", ""),
			{Name: "hub", Kind: registry.DockerHub, Login: credentials.Login{Username: "ann"}},
			{Name: "mcr", Kind: registry.Custom, Endpoint: "mcr.microsoft.com"},
		},
		Source: func(p registry.Profile) credentials.Source {
			return credentials.Func(func(context.Context) (credentials.Credential, error) {
				switch p.Name {
				case "down":
					return credentials.Credential{}, errIssuer
				case "mcr":
					return credentials.Credential{Anonymous: true}, nil
				}
				return credentials.Credential{Username: "ann", Password: credentials.NewSecret(p.Name)}, nil
			})
		},
	}
	for address, want := range map[string]string{
		"ghcr.io": "all", "registry-1.docker.io": "hub", "docker.io": "hub", "https://index.docker.io/v1/": "hub", "mcr.microsoft.com": "", "gcr.io": "", "": "",
	} {
		c, err := store.Get(t.Context(), address)
		require.NoError(t, err)
		require.Equal(t, want, c.Password, address)
	}
	_, err := store.Get(t.Context(), "quay.io")
	require.ErrorIs(t, err, errIssuer)
	require.ErrorIs(t, store.Put(t.Context(), "ghcr.io", auth.Credential{}), orascredentials.ErrReadOnly)
	require.ErrorIs(t, store.Delete(t.Context(), "ghcr.io"), orascredentials.ErrReadOnly)
}

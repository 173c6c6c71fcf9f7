package dockerhub_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/providers/dockerhub"
	"github.com/regcred/regcred/providers/providerstest"
	"github.com/regcred/regcred/registry"
)

func Example() {
	set := providers.Set{registry.DockerHub: dockerhub.Provider{}}
	profile := registry.Profile{
		Name: "team-a",
		Kind: registry.DockerHub,
		Login: credentials.Login{
			Username: "acme", // The name of the organization, for an organization access token.
			Password: credentials.NewSecret("..."),
		},
	}
	credential, err := set.Credential(context.Background(), profile)
	fmt.Println(credential.Username, credential.Password, err)
	// Output: acme [redacted] <nil>
}

func TestEMailAddressIsNoUserName(t *testing.T) {
	profile := registry.Profile{Name: "a", Kind: registry.DockerHub, Login: credentials.Login{
		Username: "jo@example.com", Password: credentials.NewSecret("p"),
	}}
	_, err := dockerhub.Provider{}.Credential(t.Context(), profile)
	require.ErrorIs(t, err, registry.ErrInvalid)
	require.ErrorContains(t, err, "login.username is an e-mail address: expected the Docker ID")

	profile.Login.Username = "jo"
	require.NoError(t, providers.Validate(dockerhub.Provider{}, profile))
}

func TestPublicImagesNeedNoLogin(t *testing.T) {
	profile := registry.Profile{Name: "a", Kind: registry.DockerHub, Login: credentials.Login{Anonymous: true}}
	credential, err := dockerhub.Provider{}.Credential(t.Context(), profile)
	require.NoError(t, err)
	require.True(t, credential.Anonymous)
}

func TestContract(t *testing.T) {
	profile := func(name string, login credentials.Login) registry.Profile {
		return registry.Profile{Name: name, Kind: registry.DockerHub, Login: login}
	}
	login := func(name string) credentials.Login {
		return credentials.Login{Username: name, Password: credentials.NewSecret("dckr_pat_" + name)}
	}
	providerstest.TestProvider(t, providerstest.Fixture{
		Provider: dockerhub.Provider{},
		Profiles: []registry.Profile{
			profile("jo", login("jo")), profile("acme", login("acme")), profile("public", credentials.Login{Anonymous: true}),
		},
		Invalid: []registry.Profile{
			profile("mail", login("jo@example.com")),
			profile("cloud", credentials.Login{AWS: &credentials.AWSLogin{}}),
			profile("process", credentials.Login{Ambient: true}),
		},
		Check: func(p registry.Profile, c credentials.Credential) error {
			if c.Username != p.Login.Username || !c.Password.Equal(p.Login.Password) || !c.ExpiresAt.Equal(p.Login.ExpiresAt) {
				return fmt.Errorf("it is not the login of the profile: %v", c)
			}
			return nil
		},
	})
}

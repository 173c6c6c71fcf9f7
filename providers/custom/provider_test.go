package custom_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/providers/custom"
	"github.com/regcred/regcred/providers/providerstest"
	"github.com/regcred/regcred/registry"
)

func Example() {
	set := providers.Set{registry.Custom: custom.Provider{}}
	profile := registry.Profile{
		Name:     "team-a",
		Kind:     registry.Custom,
		Endpoint: "https://harbor.example.com:8443/team-a",
		Login: credentials.Login{
			Username: "robot$team-a+pull",
			Password: credentials.NewSecret("..."),
		},
	}
	credential, err := set.Credential(context.Background(), profile)
	fmt.Println(credential.Username, credential.Password, err)
	// Output: robot$team-a+pull [redacted] <nil>
}

func TestKnownTokens(t *testing.T) {
	const missing = "login.expiresAt is missing, though the user name belongs to "
	const azure = "00000000-0000-0000-0000-000000000000"
	tests := map[string]struct {
		endpoint, username, password string
		expires                      bool
		want                         string // Empty if the login is valid.
	}{
		"fine-grained token of GitHub":        {endpoint: "ghcr.io", username: "jo", password: "github_pat_11AA", want: "login.password is a fine-grained token"},
		"and in any spelling of the endpoint": {endpoint: "https://GHCR.io/v2/", username: "jo", password: "github_pat_11AA", want: "login.password is a fine-grained token"},
		"classic token of GitHub":             {endpoint: "ghcr.io", username: "jo", password: "ghp_AA"},
		"such a password elsewhere":           {endpoint: "registry.example.com", username: "jo", password: "github_pat_11AA"},

		"token of Azure":              {endpoint: "a.azurecr.io", username: azure, want: missing + "a token of Azure"},
		"token of Azure with its end": {endpoint: "a.azurecr.io", username: azure, expires: true},
		"job of GitLab":               {endpoint: "registry.gitlab.com", username: "gitlab-ci-token", want: missing + "a job of GitLab"},
		"token of Google":             {endpoint: "europe-docker.pkg.dev", username: "oauth2accesstoken", want: missing + "a token of Google"},
		"key of Google":               {endpoint: "europe-docker.pkg.dev", username: "_json_key", password: "{}"},
		"token of AWS":                {endpoint: "123456789012.dkr.ecr.eu-west-1.amazonaws.com", username: "AWS", want: missing + "a token of AWS"},
		"a user who is called AWS":    {endpoint: "registry.example.com", username: "AWS"},

		"robot of Quay":                   {endpoint: "quay.io", username: "acme+pull"},
		"application token of Quay":       {endpoint: "quay.io", username: "$app"},
		"system robot of Harbor":          {endpoint: "harbor.example.com", username: "robot$pull"},
		"deploy token of GitLab":          {endpoint: "registry.gitlab.com", username: "gitlab+deploy-token-1"},
		"e-mail address, for Artifactory": {endpoint: "acme.jfrog.io/docker", username: "jo@example.com"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if test.password == "" {
				test.password = "p"
			}
			profile := registry.Profile{Name: "a", Kind: registry.Custom, Endpoint: test.endpoint, Login: credentials.Login{
				Username: test.username, Password: credentials.NewSecret(test.password),
			}}
			if test.expires {
				profile.Login.ExpiresAt = time.Now().Add(time.Hour)
			}
			err := providers.Validate(custom.Provider{}, profile)
			if test.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, test.want)
		})
	}
}

func TestFurtherHostsAreKnownToo(t *testing.T) {
	profile := registry.Profile{
		Name: "a", Kind: registry.Custom, Endpoint: "mirror.example.com", Hosts: []string{"ghcr.io/acme"},
		Login: credentials.Login{Username: "jo", Password: credentials.NewSecret("github_pat_11AA")},
	}
	_, err := custom.Provider{}.Credential(t.Context(), profile)
	require.ErrorIs(t, err, registry.ErrInvalid)
	require.ErrorContains(t, err, "login.password is a fine-grained token")
}

func TestContract(t *testing.T) {
	profile := func(name string, login credentials.Login) registry.Profile {
		return registry.Profile{Name: name, Kind: registry.Custom, Endpoint: "ghcr.io/acme", Hosts: []string{"[::1]:5000"}, Login: login}
	}
	login := func(name, password string) credentials.Login {
		return credentials.Login{Username: name, Password: credentials.NewSecret(password)}
	}
	expiring := login("gitlab-ci-token", "glcbt-64_AAAA")
	expiring.ExpiresAt = time.Now().Add(time.Hour)
	providerstest.TestProvider(t, providerstest.Fixture{
		Provider: custom.Provider{},
		Profiles: []registry.Profile{
			profile("robot", login("acme+robot", "AAAABBBB")), profile("jo", login("jo", "ghp_AAAABBBB")),
			profile("job", expiring), profile("public", credentials.Login{Anonymous: true}),
		},
		Invalid: []registry.Profile{
			profile("fine-grained", login("jo", "github_pat_AAAABBBB")),
			profile("no-end", login("gitlab-ci-token", "glcbt-64_AAAA")),
			profile("cloud", credentials.Login{Google: &credentials.GoogleLogin{Credentials: credentials.NewSecret(`{"a":"b"}`)}}),
			profile("fields", credentials.Login{Fields: map[string]credentials.Secret{"key": credentials.NewSecret("AAAABBBB")}}),
		},
		Check: func(p registry.Profile, c credentials.Credential) error {
			if c.Username != p.Login.Username || !c.Password.Equal(p.Login.Password) || !c.ExpiresAt.Equal(p.Login.ExpiresAt) {
				return fmt.Errorf("it is not the login of the profile: %v", c)
			}
			return nil
		},
	})
}

func TestTokenOfAWSAtAVPCEndpoint(t *testing.T) {
	p := registry.Profile{
		Name: "a", Kind: registry.Custom, Endpoint: "vpce-0a1b-2c.dkr.ecr.eu-west-1.vpce.amazonaws.com",
		Login: credentials.Login{Username: "AWS", Password: credentials.NewSecret("token")},
	}
	require.ErrorContains(t, providers.Validate(custom.Provider{}, p), "valid for twelve hours")
}

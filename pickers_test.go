package regcred_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred"
	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/field"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/providers/ecr"
	"github.com/regcred/regcred/providers/ecr/ecrtest"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
	"github.com/regcred/regcred/registry/registrytest/fakenet"
	"github.com/regcred/regcred/validate"
)

// listing returns a registry that lists to a login the repositories that it may pull.
func listing(t testing.TB) *registrytest.Registry {
	t.Helper()
	r := &registrytest.Registry{
		Dialect:  registrytest.DistributionToken(),
		Accounts: []registrytest.Account{{Username: "ann", Password: credentials.NewSecret("pw"), Pull: []string{"*"}, Admin: true}},
	}
	for i := range 30 {
		_, err := r.Add(fmt.Sprintf("team/app-%02d:1", i), registrytest.Image{})
		require.NoError(t, err)
	}
	for _, name := range []string{"team/Web:1", "team/shop:1.0", "team/shop:1.1", "team/shop:2.0", "other/app:1"} {
		_, _ = r.Add(name, registrytest.Image{}) // Names in upper case are rejected.
	}
	return r
}

func TestRepositories(t *testing.T) {
	p := newPipeline(hosts{"registry.test": listing(t), "mirror.test": listing(t)})
	team := profile("team", "registry.test/team", "ann", "pw")

	found, err := p.Repositories(t.Context(), team, regcred.Search{Contains: "SHOP"})
	require.NoError(t, err)
	require.Equal(t, regcred.Names{Names: []string{"registry.test/team/shop"}}, found)

	found, err = p.Repositories(t.Context(), team, regcred.Search{MaxNames: 5})
	require.NoError(t, err)
	require.Len(t, found.Names, 5)
	require.True(t, found.Truncated)

	found, err = p.Repositories(t.Context(), team, regcred.Search{Contains: "shop", MaxRead: 10})
	require.NoError(t, err)
	require.Equal(t, regcred.Names{Names: []string{}, Truncated: true}, found)

	found, err = p.Repositories(t.Context(), team, regcred.Search{})
	require.NoError(t, err)
	require.Len(t, found.Names, 31, "what is not at the endpoint is left out")
	require.False(t, found.Truncated)

	both := team
	both.Hosts = []string{"mirror.test/other"}
	found, err = p.Repositories(t.Context(), both, regcred.Search{Contains: "o"})
	require.NoError(t, err)
	require.Equal(t, []string{"registry.test/team/shop", "mirror.test/other/app"}, found.Names)
}

func TestTags(t *testing.T) {
	p := newPipeline(hosts{"registry.test": listing(t)})
	team := profile("team", "registry.test/team", "ann", "pw")
	for _, name := range []string{"registry.test/team/shop", "registry.test/team/shop:2.0"} {
		found, err := p.Tags(t.Context(), team, name, regcred.Search{Contains: "1."})
		require.NoError(t, err)
		require.Equal(t, regcred.Names{Names: []string{"1.0", "1.1"}}, found)
	}
	for _, name := range []string{"registry.test/other/app", "ghcr.io/team/app", "registry.test/Team", ""} {
		_, err := p.Tags(t.Context(), team, name, regcred.Search{})
		require.ErrorIs(t, err, registry.ErrInvalid, name)
		require.ErrorContains(t, err, "repository ")
	}
	_, err := p.Tags(t.Context(), team, "registry.test/team/none", regcred.Search{})
	require.ErrorIs(t, err, registry.ErrNotFound)
}

// If a list fails, the error has a code, and a hint for the user of the form.
func TestPickersFail(t *testing.T) {
	r := listing(t)
	p := newPipeline(hosts{"registry.test": r, "harbor.test": harbor(t)})
	for _, test := range []struct {
		profile registry.Profile
		want    registry.Code
	}{
		{profile("a", "registry.test", "ann", "wrong"), registry.ErrUnauthorized},
		{profile("a", "harbor.test", "robot-a", "pw-a"), registry.ErrDenied},
		{profile("a", "gone.test", "ann", "pw"), registry.ErrUnavailable},
		{registry.Profile{Name: "a", Kind: registry.ECR, Endpoint: "123456789012.dkr.ecr.us-east-1.amazonaws.com", Login: credentials.Login{Ambient: true}}, registry.ErrNoProvider},
	} {
		_, err := p.Repositories(t.Context(), test.profile, regcred.Search{})
		require.ErrorIs(t, err, test.want)
	}
	_, err := p.Repositories(t.Context(), profile("", "registry.test", "ann", ""), regcred.Search{})
	require.ErrorIs(t, err, registry.ErrInvalid)
	require.ErrorAs(t, err, new(*field.Errors))
	_, err = p.Source(profile("", "registry.test", "ann", "")).Credential(t.Context())
	require.ErrorIs(t, err, registry.ErrInvalid)
	_, err = p.Repositories(t.Context(), registry.Profile{Name: "hub", Kind: registry.DockerHub, Login: credentials.Login{Anonymous: true}}, regcred.Search{})
	require.Error(t, err)
}

// A credential that the registry rejects is dropped from the cache and issued again, as in a run.
func TestPickerRenews(t *testing.T) {
	calls := 0
	p := newPipeline(hosts{"registry.test": listing(t)})
	p.Provider = providers.Set{registry.Custom: providers.Func(func(context.Context, registry.Profile) (credentials.Credential, error) {
		calls++
		password := "pw"
		if calls == 1 {
			password = "old"
		}
		return credentials.Credential{Username: "ann", Password: credentials.NewSecret(password)}, nil
	})}
	team := profile("team", "registry.test/team", "x", "y")
	for range 2 {
		found, err := p.Repositories(t.Context(), team, regcred.Search{Contains: "shop"})
		require.NoError(t, err)
		require.Len(t, found.Names, 1)
		require.Equal(t, 2, calls)
	}
	c, err := p.Source(team).Credential(t.Context())
	require.NoError(t, err)
	require.Equal(t, "pw", c.Password.Reveal())
	require.Equal(t, 2, calls)
}

// ECR requires permissions for lists that a pull does not need. The hint names the missing one.
func TestPickersOfECR(t *testing.T) {
	const host = "123456789012.dkr.ecr.us-east-1.amazonaws.com"
	for name, test := range map[string]struct {
		allow        []string
		repositories string // The hint.
		tags         string
	}{
		"list policy": {ecrtest.ListActions(), "", ""},
		"pull policy": {
			ecrtest.PullActions(), "allow ecr:DescribeRepositories in the IAM policy of this identity", "allow ecr:ListImages in the IAM policy of this identity",
		},
		"tags only": {append(ecrtest.PullActions(), "ecr:ListImages"), "allow ecr:DescribeRepositories in the IAM policy of this identity", ""},
	} {
		t.Run(name, func(t *testing.T) {
			cloud := &ecrtest.AWS{Users: []ecrtest.User{{
				ARN: "arn:aws:iam::123456789012:user/ci", AccessKeyID: "AKIAEXAMPLECI0000000", SecretAccessKey: credentials.NewSecret("s3cret"), Allow: test.allow,
			}}}
			_, err := cloud.Registry(host).Add("team/app:1", registrytest.Image{})
			require.NoError(t, err)
			network, err := fakenet.New()
			require.NoError(t, err)
			t.Cleanup(network.Close)
			cloud.Attach(network)

			p := &regcred.Pipeline{Provider: providers.Set{registry.ECR: ecr.Provider{}}, Checker: validate.Checker{}}
			aws := registry.Profile{
				Name: "aws", Kind: registry.ECR, Endpoint: host, Transport: network.TransportConfig(), // The profile's authority and proxy are used.
				Login: credentials.Login{AWS: &credentials.AWSLogin{AccessKeyID: "AKIAEXAMPLECI0000000", SecretAccessKey: credentials.NewSecret("s3cret")}},
			}
			check := func(found regcred.Names, err error, want, hint string) {
				t.Helper()
				if hint == "" {
					require.NoError(t, err)
					require.Equal(t, []string{want}, found.Names)
					return
				}
				require.ErrorIs(t, err, registry.ErrDenied)
				require.Equal(t, hint, registry.HintOf(err))
			}
			found, err := p.Repositories(t.Context(), aws, regcred.Search{})
			check(found, err, host+"/team/app", test.repositories)
			found, err = p.Tags(t.Context(), aws, host+"/team/app", regcred.Search{})
			check(found, err, "1", test.tags)
		})
	}
}

func TestPoliciesOfECR(t *testing.T) {
	for _, action := range ecrtest.PullActions() {
		require.Contains(t, ecr.PullPolicy, `"`+action+`"`)
	}
	for _, action := range ecrtest.ListActions() {
		require.Contains(t, ecr.ListPolicy, `"`+action+`"`)
	}
}

func ExamplePipeline_Repositories() {
	r := &registrytest.Registry{
		Dialect:  registrytest.Quay(),
		Accounts: []registrytest.Account{{Username: "acme+pull", Password: credentials.NewSecret("s3cret"), Pull: []string{"acme/*"}}},
	}
	for _, name := range []string{"acme/shop:1.0", "acme/shop:1.1", "acme/blog:1.0"} {
		if _, err := r.Add(name, registrytest.Image{}); err != nil {
			panic(err)
		}
	}
	ctx := context.Background()
	pipeline := &regcred.Pipeline{Checker: validate.Checker{RoundTripper: r.RoundTripper()}}
	profile := registry.Profile{
		Name: "quay", Kind: registry.Custom, Endpoint: "quay.io/acme",
		Login: credentials.Login{Username: "acme+pull", Password: credentials.NewSecret("s3cret")},
	}
	repositories, err := pipeline.Repositories(ctx, profile, regcred.Search{Contains: "shop"})
	fmt.Println(repositories.Names, err)
	tags, err := pipeline.Tags(ctx, profile, repositories.Names[0], regcred.Search{})
	fmt.Println(tags.Names, err)
	// Output:
	// [quay.io/acme/shop] <nil>
	// [1.0 1.1] <nil>
}

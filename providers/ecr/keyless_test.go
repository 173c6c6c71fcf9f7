package ecr_test

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/providers/ecr"
	"github.com/regcred/regcred/providers/ecr/ecrtest"
	"github.com/regcred/regcred/providers/issuertest"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
)

const subjectName = "system:serviceaccount:team:puller"

// A cluster issues tokens of the account team/puller.
type cluster struct {
	issuer   *issuertest.Issuer
	mu       sync.Mutex
	audience string // Of the last request.
}

func (c *cluster) SubjectToken(_ context.Context, r providers.SubjectRequest) (credentials.Secret, error) {
	c.mu.Lock()
	c.audience = r.Audience
	c.mu.Unlock()
	return credentials.NewSecret(c.issuer.Token(subjectName, r.Audience, r.Lifetime)), nil
}

func keyless(audience string) registry.Profile {
	return registry.Profile{Name: "team-a", Kind: registry.ECR, Endpoint: home, Login: credentials.Login{AWS: &credentials.AWSLogin{
		WebIdentity: &credentials.AWSWebIdentity{RoleARN: podARN, Subject: &credentials.Subject{
			Kubernetes: &credentials.ServiceAccount{Namespace: "team", Name: "puller"}, Audience: audience,
		}},
	}}}
}

// A service account's token is exchanged for a role, and AWS verifies the token.
func TestKeyless(t *testing.T) {
	for _, algorithm := range []issuertest.Algorithm{issuertest.RS256, issuertest.ES256} {
		c := &cluster{issuer: issuertest.New("https://kubernetes.example.com", algorithm)}
		cloud := newAWS()
		cloud.Roles[2].Subjects = []string{subjectName}
		cloud.Issuers = []issuertest.Trust{{Issuer: c.issuer.URL, Keys: c.issuer.JWKS}}
		got, err := ecr.Provider{Subjects: c, RoundTripper: registrytest.NewRoundTripper(cloud)}.Credential(t.Context(), keyless(""))
		require.NoError(t, err)
		require.Equal(t, "AWS", got.Username)
		require.Equal(t, "sts.amazonaws.com", c.audience)
	}
}

func TestKeylessErrors(t *testing.T) {
	c := &cluster{issuer: issuertest.New("https://kubernetes.example.com", issuertest.RS256)}
	tests := map[string]struct {
		change func(*ecrtest.AWS)
		code   registry.Code
	}{
		"no provider of the issuer": {func(a *ecrtest.AWS) { a.Issuers[0].Issuer = "https://other.example.com" }, registry.ErrUnauthorized},
		"another audience":          {func(a *ecrtest.AWS) { a.Issuers[0].Audiences = []string{"other"} }, registry.ErrUnauthorized},
		"other keys": {func(a *ecrtest.AWS) {
			a.Issuers[0].Keys = issuertest.New("https://kubernetes.example.com", issuertest.RS256).JWKS
		}, registry.ErrUnauthorized},
		"a role for another": {func(a *ecrtest.AWS) { a.Roles[2].Subjects = []string{"system:serviceaccount:other:puller"} }, registry.ErrDenied},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			cloud := newAWS()
			cloud.Roles[2].Subjects = []string{subjectName}
			cloud.Issuers = []issuertest.Trust{{Issuer: c.issuer.URL, Keys: c.issuer.JWKS}}
			test.change(cloud)
			_, err := ecr.Provider{Subjects: c, RoundTripper: registrytest.NewRoundTripper(cloud)}.Credential(t.Context(), keyless(""))
			require.ErrorIs(t, err, test.code)
			require.Contains(t, registry.HintOf(err), subjectName, "the hint shows what was presented")
			require.NotContains(t, err.Error(), "eyJ")
		})
	}
}

// Subjects that a profile may not use; no token is requested.
func TestKeylessRejections(t *testing.T) {
	c := &cluster{issuer: issuertest.New("https://kubernetes.example.com", issuertest.RS256)}
	cloud := newAWS()
	provider := ecr.Provider{Subjects: c, RoundTripper: registrytest.NewRoundTripper(cloud)}
	file := keyless("")
	file.Login.AWS.WebIdentity.Subject = &credentials.Subject{File: "/token"}
	file.Transport.Proxy = "http://evil.example:3128"
	for name, p := range map[string]registry.Profile{
		"another audience": keyless("https://evil.example"), "Azure's audience": keyless("api://AzureADTokenExchange"),
		"China's, elsewhere": keyless("sts.amazonaws.com.cn"), "own proxy, a file": file,
	} {
		_, err := provider.Credential(t.Context(), p)
		require.ErrorIs(t, err, registry.ErrInvalid, name)
	}
	_, err := ecr.Provider{}.Credential(t.Context(), keyless(""))
	require.ErrorIs(t, err, registry.ErrInvalid)
	require.Empty(t, c.audience)
	require.Empty(t, cloud.Calls())
}

// A session policy narrows a role that many tenants share: each pulls from its own repositories only.
func TestSessionPolicyNarrowsTheRole(t *testing.T) {
	const statement = `{"Effect":"Allow","Action":["ecr:BatchGetImage","ecr:GetDownloadUrlForLayer"],"Resource":"arn:aws:ecr:*:123456789012:repository/team/*"}`
	for name, test := range map[string]struct {
		policy string
		pull   []string
		code   registry.Code
	}{
		"none":            {"", []string{"*"}, ""},
		"own":             {`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ecr:GetAuthorizationToken","Resource":"*"},` + statement + `]}`, []string{"team/*"}, ""},
		"another region":  {`{"Statement":[{"Effect":"Allow","Action":"ecr:*","Resource":"arn:aws:ecr:us-west-2:123456789012:repository/team/*"}]}`, nil, ""},
		"without a token": {`{"Statement":[` + statement + `]}`, nil, registry.ErrDenied},
	} {
		t.Run(name, func(t *testing.T) {
			c := &cluster{issuer: issuertest.New("https://kubernetes.example.com", issuertest.RS256)}
			cloud := newAWS()
			cloud.Roles[2].Subjects = []string{subjectName}
			cloud.Issuers = []issuertest.Trust{{Issuer: c.issuer.URL, Keys: c.issuer.JWKS}}
			p := keyless("")
			p.Login.AWS.WebIdentity.SessionPolicy = test.policy
			got, err := ecr.Provider{Subjects: c, RoundTripper: registrytest.NewRoundTripper(cloud)}.Credential(t.Context(), p)
			if test.code != "" {
				require.ErrorIs(t, err, test.code)
				return
			}
			require.NoError(t, err)
			account, ok := cloud.Registry(home).Authenticate(got.Username, got.Password)
			require.True(t, ok)
			require.Equal(t, test.pull, account.Pull)
		})
	}
}

package gcr_test

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/providers/gcr"
	"github.com/regcred/regcred/providers/gcr/gcrtest"
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

func keyless(f credentials.GoogleFederation, impersonate string) registry.Profile {
	f.Subject.Kubernetes = &credentials.ServiceAccount{Namespace: "team", Name: "puller"}
	return registry.Profile{
		Name: "team-a", Kind: registry.GCR, Endpoint: home,
		Login: credentials.Login{Google: &credentials.GoogleLogin{Federation: &f, Impersonate: impersonate}},
	}
}

const (
	providerName = "projects/123/locations/global/workloadIdentityPools/pool/providers/cluster"
	clusterName  = "projects/acme/locations/europe-west1/clusters/prod"
)

// newKeyless returns a cloud that trusts the cluster by a provider and as a GKE cluster.
func newKeyless(c *cluster) *gcrtest.Google {
	cloud := newGoogle()
	trust := issuertest.Trust{Issuer: c.issuer.URL, Keys: c.issuer.JWKS, Subject: subjectName}
	cloud.Trusts = map[string]issuertest.Trust{
		"//iam.googleapis.com/" + providerName:                                                  trust,
		"identitynamespace:acme.svc.id.goog:https://container.googleapis.com/v1/" + clusterName: trust,
	}
	cloud.Accounts[0].ImpersonatedBy = append(cloud.Accounts[0].ImpersonatedBy,
		"principal://iam.googleapis.com/projects/123/locations/global/workloadIdentityPools/pool/subject/"+subjectName)
	return cloud
}

// A service account's token is exchanged for an access token, directly or by impersonation.
func TestKeyless(t *testing.T) {
	noAmbient(t)
	c := &cluster{issuer: issuertest.New("https://kubernetes.example.com", issuertest.RS256)}
	cloud := newKeyless(c)
	provider := gcr.Provider{Subjects: c, NoAmbient: true, RoundTripper: registrytest.NewRoundTripper(cloud)}
	const all = home + "/project/*"
	for name, test := range map[string]struct {
		federation  credentials.GoogleFederation
		impersonate string
		audience    string
		principal   string
	}{
		"provider": {
			credentials.GoogleFederation{Provider: providerName}, "", "https://iam.googleapis.com/" + providerName,
			"principal://iam.googleapis.com/projects/123/locations/global/workloadIdentityPools/pool/subject/" + subjectName,
		},
		"GKE": {
			credentials.GoogleFederation{GKE: clusterName}, "", "acme.svc.id.goog",
			"principal://iam.googleapis.com/projects/acme/locations/global/workloadIdentityPools/acme.svc.id.goog/subject/ns/team/sa/puller",
		},
		"impersonation": {credentials.GoogleFederation{Provider: providerName}, puller, "https://iam.googleapis.com/" + providerName, puller},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := provider.Credential(t.Context(), keyless(test.federation, test.impersonate))
			require.NoError(t, err)
			require.Equal(t, gcr.TokenUsername, got.Username)
			require.Equal(t, test.audience, c.audience)

			// The registry knows the identity, and lets it pull as soon as it has a role.
			cloud := newKeyless(c)
			provider.RoundTripper = registrytest.NewRoundTripper(cloud)
			pulls := func() []string {
				got, err := provider.Credential(t.Context(), keyless(test.federation, test.impersonate))
				require.NoError(t, err)
				account, ok := cloud.Registry(home).Authenticate(got.Username, got.Password)
				require.True(t, ok)
				require.Equal(t, test.principal, account.Username)
				return account.Pull
			}
			if test.impersonate == "" {
				require.Empty(t, pulls())
				cloud.Accounts = append(cloud.Accounts, gcrtest.Account{Email: test.principal, Pull: []string{all}})
			}
			require.Contains(t, pulls(), "project/*")
		})
	}
}

func TestKeylessErrors(t *testing.T) {
	noAmbient(t)
	const audience = "//iam.googleapis.com/" + providerName
	for name, test := range map[string]struct {
		change func(*issuertest.Trust)
		code   registry.Code
	}{
		"another issuer":   {func(trust *issuertest.Trust) { trust.Issuer = "https://other.example.com" }, registry.ErrUnauthorized},
		"another subject":  {func(trust *issuertest.Trust) { trust.Subject = "other" }, registry.ErrDenied},
		"another audience": {func(trust *issuertest.Trust) { trust.Audiences = []string{"other"} }, registry.ErrUnauthorized},
	} {
		t.Run(name, func(t *testing.T) {
			c := &cluster{issuer: issuertest.New("https://kubernetes.example.com", issuertest.RS256)}
			cloud := newKeyless(c)
			trust := cloud.Trusts[audience]
			test.change(&trust)
			cloud.Trusts[audience] = trust
			_, err := gcr.Provider{Subjects: c, RoundTripper: registrytest.NewRoundTripper(cloud)}.
				Credential(t.Context(), keyless(credentials.GoogleFederation{Provider: providerName}, ""))
			require.ErrorIs(t, err, test.code)
			require.Contains(t, registry.HintOf(err), subjectName, "the hint shows what was presented")
			require.NotContains(t, err.Error(), "eyJ")
		})
	}
}

// Subjects that a profile may not use; no token is requested.
func TestKeylessRejections(t *testing.T) {
	noAmbient(t)
	c := &cluster{issuer: issuertest.New("https://kubernetes.example.com", issuertest.RS256)}
	cloud := newKeyless(c)
	provider := gcr.Provider{Subjects: c, RoundTripper: registrytest.NewRoundTripper(cloud)}
	audience := keyless(credentials.GoogleFederation{Provider: providerName}, "")
	audience.Login.Google.Federation.Subject.Audience = "sts.amazonaws.com"
	for name, p := range map[string]registry.Profile{
		"project ID":       keyless(credentials.GoogleFederation{Provider: "projects/acme/locations/global/workloadIdentityPools/p/providers/q"}, ""),
		"a longer name":    keyless(credentials.GoogleFederation{Provider: providerName + "/more"}, ""),
		"no cluster":       keyless(credentials.GoogleFederation{GKE: "acme"}, ""),
		"another audience": audience,
	} {
		_, err := provider.Credential(t.Context(), p)
		require.ErrorIs(t, err, registry.ErrInvalid, name)
	}
	_, err := gcr.Provider{}.Credential(t.Context(), keyless(credentials.GoogleFederation{Provider: providerName}, ""))
	require.ErrorIs(t, err, registry.ErrInvalid)
	require.Empty(t, c.audience)
}

package keyless_test

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"

	"github.com/regcred/regcred/providers/gcr/gcrtest"
	"github.com/regcred/regcred/providers/issuertest"
	"github.com/regcred/regcred/registry/registrytest"
)

const (
	googlePool     = "//iam.googleapis.com/projects/123/locations/global/workloadIdentityPools/pool"
	googleProvider = googlePool + "/providers/cluster"
	googleAccount  = "puller@acme.iam.gserviceaccount.com"
	googleHost     = "europe-docker.pkg.dev"
)

// newGoogle returns a cloud with a provider that trusts the subject, which may use the service account.
func newGoogle(trust issuertest.Trust) *gcrtest.Google {
	principal := "principal:" + googlePool + "/subject/" + trust.Subject
	return &gcrtest.Google{
		Trusts: map[string]issuertest.Trust{googleProvider: trust},
		Accounts: []gcrtest.Account{
			{Email: googleAccount, Pull: []string{googleHost + "/acme/*"}, ImpersonatedBy: []string{principal}},
			{Email: principal, Pull: []string{googleHost + "/acme/*"}},
		},
	}
}

// googleToken logs in with the configuration that gcloud iam workload-identity-pools create-cred-config writes.
func googleToken(t *testing.T, network http.RoundTripper, token, account string) (*oauth2.Token, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(file, []byte(token), 0o600))
	config := map[string]any{
		"universe_domain": "googleapis.com", "type": "external_account", "audience": googleProvider,
		"subject_token_type": "urn:ietf:params:oauth:token-type:jwt", "token_url": "https://sts.googleapis.com/v1/token",
		"credential_source": map[string]any{"file": file, "format": map[string]string{"type": "text"}},
	}
	if account != "" {
		config["service_account_impersonation_url"] = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/" + account + ":generateAccessToken"
		config["service_account_impersonation"] = map[string]int{"token_lifetime_seconds": 1800}
	}
	text, err := json.Marshal(config)
	require.NoError(t, err)
	ctx := context.WithValue(t.Context(), oauth2.HTTPClient, &http.Client{Transport: network})
	found, err := google.CredentialsFromJSONWithType(ctx, text, google.ExternalAccount, "https://www.googleapis.com/auth/cloud-platform")
	require.NoError(t, err)
	return found.TokenSource.Token()
}

// Google's own library logs in at the fake of Google with a configuration of workload identity federation, directly and
// by impersonation, and the registry accepts the resulting token.
func TestFakeGoogleWithItsSDK(t *testing.T) {
	const subject = "system:serviceaccount:shop:puller"
	issuer := issuertest.New("https://kubernetes.example.com", issuertest.RS256)
	audience := "https:" + googleProvider
	good := issuer.Token(subject, audience, time.Hour)
	for name, test := range map[string]struct {
		token, account string
		change         func(*gcrtest.Google)
		lifetime       time.Duration
		error          string
	}{
		"directly":                  {good, "", nil, time.Hour, ""},
		"by impersonation":          {good, googleAccount, nil, 30 * time.Minute, ""},
		"the provider's plain name": {issuer.Token(subject, googleProvider, time.Hour), "", nil, time.Hour, ""},
		"another audience":          {issuer.Token(subject, "sts.amazonaws.com", time.Hour), "", nil, 0, "invalid_grant"},
		"another subject":           {issuer.Token("system:serviceaccount:shop:other", audience, time.Hour), "", nil, 0, "unauthorized_client"},
		"an expired token":          {issuer.Token(subject, audience, -time.Minute), "", nil, 0, "is stale to sign-in"},
		"no token":                  {"not-a-token", "", nil, 0, "invalid_grant"},
		"an account of another": {good, googleAccount, func(g *gcrtest.Google) { g.Accounts[0].ImpersonatedBy = nil }, 0,
			"iam.serviceAccounts.getAccessToken"},
		"an API that is off": {good, googleAccount, func(g *gcrtest.Google) { g.DisabledAPIs = []string{"iamcredentials.googleapis.com"} }, 0,
			"SERVICE_DISABLED"},
		"no such provider": {good, "", func(g *gcrtest.Google) { clear(g.Trusts) }, 0, "invalid_target"},
		"unreachable keys": {good, "", func(g *gcrtest.Google) {
			g.Trusts[googleProvider] = issuertest.Trust{Issuer: issuer.URL, Keys: func() ([]byte, error) { return nil, os.ErrDeadlineExceeded }}
		}, 0, "Error connecting to the given credential's issuer"},
	} {
		t.Run(name, func(t *testing.T) {
			cloud := newGoogle(issuertest.Trust{Issuer: issuer.URL, Keys: issuer.JWKS, Subject: subject})
			if test.change != nil {
				test.change(cloud)
			}
			network := registrytest.NewRoundTripper(cloud)
			got, err := googleToken(t, network, test.token, test.account)
			if test.error != "" {
				require.ErrorContains(t, err, test.error)
				return
			}
			require.NoError(t, err)
			require.WithinDuration(t, time.Now().Add(test.lifetime), got.Expiry, time.Minute)
			require.Equal(t, http.StatusOK, status(t, network, "https://"+googleHost+"/v2/token?service="+googleHost, "oauth2accesstoken", got.AccessToken))
			require.Equal(t, http.StatusUnauthorized, status(t, network, "https://"+googleHost+"/v2/token?service="+googleHost, "oauth2accesstoken", got.AccessToken+"x"))
		})
	}
}

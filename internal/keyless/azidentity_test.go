package keyless_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/providers/acr/acrtest"
	"github.com/regcred/regcred/providers/issuertest"
)

// Microsoft's own library logs in at the fake of Azure as at Entra ID, with each proof of an identity, and a registry's
// exchange accepts the resulting token. This shows that the fake requires what Entra requires, and not merely what
// package acr sends.
func TestFakeAzureWithItsSDK(t *testing.T) {
	const tenant, client = "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"
	issuer := issuertest.New("https://kubernetes.example.com", issuertest.RS256)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "puller"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	certificate, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	cloud := &acrtest.Azure{Apps: []acrtest.App{{
		TenantID: tenant, ClientID: client, Secret: "client-secret", Certificate: certificate, Managed: true, Pull: []string{"acme.azurecr.io/*"},
		Federated: []issuertest.Trust{{Issuer: issuer.URL, Keys: issuer.JWKS, Subject: "system:serviceaccount:shop:puller"}},
	}}}
	network := &http.Client{Transport: cloud.RoundTripper()}
	options := azcore.ClientOptions{Transport: network, Retry: policy.RetryOptions{MaxRetries: -1}}
	assertion := func(subject string) func(context.Context) (string, error) {
		return func(context.Context) (string, error) {
			return issuer.Token("system:serviceaccount:shop:"+subject, "api://AzureADTokenExchange", time.Hour), nil
		}
	}
	secret := func(text string) (azcore.TokenCredential, error) {
		return azidentity.NewClientSecretCredential(tenant, client, text, &azidentity.ClientSecretCredentialOptions{ClientOptions: options, DisableInstanceDiscovery: true})
	}
	federated := func(subject string) (azcore.TokenCredential, error) {
		return azidentity.NewClientAssertionCredential(tenant, client, assertion(subject), &azidentity.ClientAssertionCredentialOptions{ClientOptions: options, DisableInstanceDiscovery: true})
	}
	for name, test := range map[string]struct {
		make  func() (azcore.TokenCredential, error)
		error string
	}{
		"client secret": {func() (azcore.TokenCredential, error) { return secret("client-secret") }, ""},
		"wrong secret":  {func() (azcore.TokenCredential, error) { return secret("its-id") }, "AADSTS7000215"},
		"certificate": {func() (azcore.TokenCredential, error) {
			return azidentity.NewClientCertificateCredential(tenant, client, []*x509.Certificate{certificate}, key,
				&azidentity.ClientCertificateCredentialOptions{ClientOptions: options, DisableInstanceDiscovery: true})
		}, ""},
		"federated":       {func() (azcore.TokenCredential, error) { return federated("puller") }, ""},
		"another subject": {func() (azcore.TokenCredential, error) { return federated("other") }, "AADSTS700213"},
		"managed identity": {func() (azcore.TokenCredential, error) {
			return azidentity.NewManagedIdentityCredential(&azidentity.ManagedIdentityCredentialOptions{ClientOptions: options, ID: azidentity.ClientID(client)})
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			credential, err := test.make()
			require.NoError(t, err)
			token, err := credential.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{"https://containerregistry.azure.net/.default"}})
			if test.error != "" {
				require.ErrorContains(t, err, test.error)
				return
			}
			require.NoError(t, err)
			form := url.Values{"grant_type": {"access_token"}, "service": {"acme.azurecr.io"}, "access_token": {token.Token}}
			response, err := network.PostForm("https://acme.azurecr.io/oauth2/exchange", form)
			require.NoError(t, err)
			require.NoError(t, response.Body.Close())
			require.Equal(t, http.StatusOK, response.StatusCode)
		})
	}
}

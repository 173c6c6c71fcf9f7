package acr_test

import (
	"context"
	"fmt"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/providers/acr"
	"github.com/regcred/regcred/providers/acr/acrtest"
	"github.com/regcred/regcred/providers/issuertest"
	"github.com/regcred/regcred/registry"
)

// An apiServer is a source of tokens, in place of inject/kube.Subjects.
type apiServer struct{ *issuertest.Issuer }

func (s apiServer) SubjectToken(_ context.Context, r providers.SubjectRequest) (credentials.Secret, error) {
	account := r.Subject.Kubernetes
	return credentials.NewSecret(s.Token("system:serviceaccount:"+account.Namespace+":"+account.Name, r.Audience, r.Lifetime)), nil
}

// A service account of Kubernetes pulls from a registry of Azure, and no password is stored.
func Example() {
	cluster := apiServer{issuertest.New("https://oidc.example.com/cluster", issuertest.RS256)}
	azure := &acrtest.Azure{Apps: []acrtest.App{{
		TenantID: "11111111-1111-1111-1111-111111111111", ClientID: "22222222-2222-2222-2222-222222222222",
		Federated: []issuertest.Trust{{Issuer: cluster.URL, Keys: cluster.JWKS, Subject: "system:serviceaccount:shop:puller"}},
		Pull:      []string{"acme.azurecr.io/*"},
	}}}
	provider := acr.Provider{Subjects: cluster, RoundTripper: azure.RoundTripper()} // Without RoundTripper: the real Azure.
	profile := registry.Profile{
		Name: "shop", Kind: registry.ACR, Endpoint: "acme.azurecr.io",
		Login: credentials.Login{Azure: &credentials.AzureLogin{
			TenantID: "11111111-1111-1111-1111-111111111111", ClientID: "22222222-2222-2222-2222-222222222222",
			Subject: &credentials.Subject{Kubernetes: &credentials.ServiceAccount{Namespace: "shop", Name: "puller"}},
		}},
	}
	credential, err := provider.Credential(context.Background(), profile)
	if err != nil {
		panic(err)
	}
	fmt.Println(credential.Username, credential.Password, time.Until(credential.ExpiresAt).Round(time.Minute))

	// Entra does not trust this account. The hint shows what to compare.
	profile.Login.Azure.Subject.Kubernetes.Name = "other"
	_, err = provider.Credential(context.Background(), profile)
	fmt.Println(registry.CodeOf(err))
	fmt.Println(registry.HintOf(err))
	// Output:
	// 00000000-0000-0000-0000-000000000000 [redacted] 3h0m0s
	// denied
	// Microsoft Entra admin center: the app registration or managed identity, Federated credentials: issuer, subject and audience are compared letter by letter; a new one takes some minutes to work; presented: issuer "https://oidc.example.com/cluster", subject "system:serviceaccount:shop:other", audience "api://AzureADTokenExchange"
}

package federated_test

import (
	"context"
	"fmt"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/providers/custom"
	"github.com/regcred/regcred/providers/federated"
	"github.com/regcred/regcred/providers/federated/federatedtest"
	"github.com/regcred/regcred/providers/issuertest"
	"github.com/regcred/regcred/registry"
)

// A service account of Kubernetes pulls from Quay as a robot, and no password is stored.
func Example() {
	cluster := newCluster(issuertest.RS256) // In place of inject/kube.Subjects. It issues tokens of the account shop/puller.
	quay := &federatedtest.Server{Trust: cluster.trust(), Name: "acme+shop"}
	provider := federated.Provider{Subjects: cluster, RoundTripper: quay.RoundTripper()} // Without RoundTripper: the real Quay.
	profile := registry.Profile{
		Name: "quay", Kind: registry.Custom, Endpoint: "quay.io/acme",
		Login: credentials.Login{Federated: &credentials.FederatedLogin{
			Subject:  credentials.Subject{Kubernetes: &credentials.ServiceAccount{Namespace: "shop", Name: "puller"}},
			Exchange: credentials.Exchange{Quay: &credentials.QuayExchange{Robot: "acme+shop"}},
		}},
	}
	credential, err := provider.Credential(context.Background(), profile)
	if err != nil {
		panic(err)
	}
	fmt.Println(credential.Username, credential.Password, time.Until(credential.ExpiresAt).Round(time.Minute))

	// The robot trusts another account: the hint shows what to enter at Quay.
	quay.Trust.Subject = "system:serviceaccount:shop:other"
	_, err = provider.Credential(context.Background(), profile)
	fmt.Println(registry.CodeOf(err))
	fmt.Println(registry.HintOf(err))
	// Output:
	// acme+shop [redacted] 1h0m0s
	// denied
	// compare what was presented with Quay: organization, Robot Accounts, the robot's menu, Set robot federation; presented: issuer "https://kubernetes.example.com", subject "system:serviceaccount:shop:puller", audience "https://quay.io"
}

// One provider serves profiles with a subject and profiles with a password.
func ExampleProvider_otherwise() {
	set := providers.Set{registry.Custom: federated.Provider{Fallback: custom.Provider{}}}
	credential, err := set.Credential(context.Background(), registry.Profile{
		Name: "harbor", Kind: registry.Custom, Endpoint: "harbor.example.com",
		Login: credentials.Login{Username: "robot$ci", Password: credentials.NewSecret("Harbor12345")},
	})
	fmt.Println(credential.Username, err)
	// Output: robot$ci <nil>
}

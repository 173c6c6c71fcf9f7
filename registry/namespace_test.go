package registry_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
)

func TestProfileIn(t *testing.T) {
	subject := func() credentials.Subject {
		return credentials.Subject{Kubernetes: &credentials.ServiceAccount{Name: "puller"}}
	}
	web, entra := subject(), subject()
	for name, login := range map[string]credentials.Login{
		"AWS":       {AWS: &credentials.AWSLogin{WebIdentity: &credentials.AWSWebIdentity{RoleARN: "arn", Subject: &web}}},
		"Google":    {Google: &credentials.GoogleLogin{Federation: &credentials.GoogleFederation{Provider: "p", Subject: subject()}}},
		"Azure":     {Azure: &credentials.AzureLogin{TenantID: "t", ClientID: "c", Subject: &entra}},
		"federated": {Federated: &credentials.FederatedLogin{Subject: subject(), Exchange: credentials.Exchange{Password: &credentials.PasswordExchange{}}}},
	} {
		t.Run(name, func(t *testing.T) {
			p := registry.Profile{Name: "a", Login: login}
			before := p.Login.Fingerprint()
			a, b := p.ForNamespace("team-a"), p.ForNamespace("team-b")
			require.Equal(t, before, p.Login.Fingerprint(), "the profile itself stays")
			require.NotEqual(t, a.Login.Fingerprint(), b.Login.Fingerprint(), "a namespace has a credential of its own")
			require.NotEqual(t, before, a.Login.Fingerprint())
			require.Equal(t, a.Login.Fingerprint(), a.ForNamespace("team-b").Login.Fingerprint(), "a namespace that is written stays")
		})
	}
	for _, p := range []registry.Profile{
		{Login: credentials.Login{Username: "jo", Password: credentials.NewSecret("a")}},
		{Login: credentials.Login{Federated: &credentials.FederatedLogin{Subject: credentials.Subject{File: "/token"}}}},
		{Login: credentials.Login{AWS: &credentials.AWSLogin{}, Google: &credentials.GoogleLogin{}, Azure: &credentials.AzureLogin{}}},
	} {
		require.Equal(t, p.Login.Fingerprint(), p.ForNamespace("team-a").Login.Fingerprint())
	}
}

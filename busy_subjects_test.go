package regcred_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/providers/acr"
	"github.com/regcred/regcred/providers/ecr"
	"github.com/regcred/regcred/providers/federated"
	"github.com/regcred/regcred/providers/gcr"
	"github.com/regcred/regcred/registry"
)

// A busy is an API server that issues no tokens for a while.
type busy struct{ err error }

func (b busy) SubjectToken(context.Context, providers.SubjectRequest) (credentials.Secret, error) {
	return credentials.Secret{}, b.err
}

// An API server that is busy requests a wait, and a cache does not call the provider before.
func TestSubjectsRequestAWait(t *testing.T) {
	const wait = 10 * time.Minute
	limited := &registry.Error{Op: "request token", Ref: "of team/puller", Code: registry.ErrRateLimited, Wait: wait, Err: errors.New("429")}
	subjects := busy{limited}
	subject := credentials.Subject{Kubernetes: &credentials.ServiceAccount{Namespace: "team", Name: "puller"}}
	for name, test := range map[string]struct {
		provider providers.Provider
		profile  registry.Profile
	}{
		"federated": {federated.Provider{Subjects: subjects}, registry.Profile{Kind: registry.Custom, Endpoint: "quay.io", Login: credentials.Login{
			Federated: &credentials.FederatedLogin{Subject: subject, Exchange: credentials.Exchange{Quay: &credentials.QuayExchange{Robot: "acme+ci"}}},
		}}},
		"acr": {acr.Provider{Subjects: subjects}, registry.Profile{Kind: registry.ACR, Endpoint: "acme.azurecr.io", Login: credentials.Login{
			Azure: &credentials.AzureLogin{
				TenantID: "11111111-1111-1111-1111-111111111111", ClientID: "22222222-2222-2222-2222-222222222222", Subject: &subject,
			},
		}}},
		"ecr": {ecr.Provider{Subjects: subjects}, registry.Profile{Kind: registry.ECR, Endpoint: "123456789012.dkr.ecr.eu-central-1.amazonaws.com", Login: credentials.Login{
			AWS: &credentials.AWSLogin{WebIdentity: &credentials.AWSWebIdentity{RoleARN: "arn:aws:iam::123456789012:role/puller", Subject: &subject}},
		}}},
		"gcr": {gcr.Provider{Subjects: subjects}, registry.Profile{Kind: registry.GCR, Endpoint: "europe-docker.pkg.dev", Login: credentials.Login{
			Google: &credentials.GoogleLogin{Federation: &credentials.GoogleFederation{
				Subject: subject, Provider: "projects/123/locations/global/workloadIdentityPools/pool/providers/cluster",
			}},
		}}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				test.profile.Name = "team"
				cache, key := &credentials.Cache{}, providers.Key(test.provider, test.profile)
				_, err := cache.Credential(t.Context(), key, providers.Source(test.provider, test.profile))
				require.ErrorIs(t, err, registry.ErrRateLimited)
				require.ErrorIs(t, err, limited)
				entry, ok := cache.Lookup(key)
				require.True(t, ok)
				require.WithinRange(t, entry.NextCall, time.Now().Add(wait), time.Now().Add(wait+wait/4))

				_, err = test.provider.Credential(t.Context(), test.profile)
				e, ok := errors.AsType[*registry.Error](err)
				require.True(t, ok)
				require.Equal(t, "get credential", e.Op)
				require.Equal(t, wait, e.Wait)
			})
		})
	}
}

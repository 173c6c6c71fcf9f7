package kube_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/record"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/inject/injecttest"
	"github.com/regcred/regcred/inject/kube"
	"github.com/regcred/regcred/registry"
)

// Of what a controller writes, only the data of the pull secret has a secret in it: no event, no condition, no label,
// no annotation and no service account, and no login that a user wrote into the wrong field of a profile.
func TestOnlyThePullSecretHasSecrets(t *testing.T) {
	const canary = "c4n4ry-l0gin"
	const url = "https://ann:" + canary + "@example.com/?key=" + canary
	profile := func(name string, change func(*registry.Profile)) registry.Profile {
		p := registry.Profile{
			Name: name, Kind: registry.Custom, Endpoint: "registry.example.com",
			Login: credentials.Login{Username: "robot", Password: credentials.NewSecret(canary)},
		}
		change(&p)
		return p
	}
	profiles := []registry.Profile{
		profile("good", func(*registry.Profile) {}),
		profile("refused", func(*registry.Profile) {}),
		profile("endpoint", func(p *registry.Profile) { p.Endpoint = url }),
		profile("hosts", func(p *registry.Profile) { p.Hosts = []string{url} }),
		profile("proxy", func(p *registry.Profile) { p.Transport.Proxy = url }),
		profile("subject", func(p *registry.Profile) {
			p.Login = credentials.Login{Federated: &credentials.FederatedLogin{
				Subject: credentials.Subject{File: url}, Exchange: credentials.Exchange{Quay: &credentials.QuayExchange{Robot: url}},
			}}
		}),
		profile("azure", func(p *registry.Profile) {
			p.Kind, p.Endpoint = registry.ACR, "ann.azurecr.io"
			p.Login = credentials.Login{Azure: &credentials.AzureLogin{TenantID: url, ClientID: url, ClientSecret: credentials.NewSecret(canary)}}
		}),
	}
	client := fake.NewClientset()
	world := world{client}
	require.NoError(t, world.CreateNamespace(t.Context(), "shop", nil))
	require.NoError(t, world.WriteAccount(t.Context(), "shop", injecttest.AccountObject{Name: "default"}))
	cluster := &kube.Cluster{Client: client, Owner: "leaks"}
	background(t, cluster.Run)
	recorder := record.NewFakeRecorder(100)
	events := &kube.Events{Record: recorder.Event, Object: func(string) runtime.Object { return &corev1.ConfigMap{} }}
	syncer := &inject.Syncer{Cluster: cluster, Owner: "leaks", Credential: func(_ context.Context, p registry.Profile) (credentials.Credential, error) {
		if p.Name == "refused" {
			return credentials.Credential{}, &registry.Error{Op: "get credential", Ref: "for " + p.Login.Username, Code: registry.ErrUnauthorized}
		}
		return credentials.Credential{Username: "robot", Password: p.Login.Password}, nil
	}}
	var targets []inject.Target
	for _, p := range profiles {
		targets = append(targets, inject.Target{
			Name: p.Name, Profiles: []registry.Profile{p}, Namespaces: inject.Selection{Names: []string{"shop"}}, Accounts: inject.Selection{Names: []string{"default"}},
		})
	}
	result, err := syncer.Sync(t.Context(), targets)
	require.NoError(t, err)
	pass := kube.Pass{Result: result, Targets: targets}
	events.Report(pass)
	require.GreaterOrEqual(t, len(recorder.Events), len(profiles)-1, "each but the good one has an event")
	for len(recorder.Events) > 0 {
		require.NotContains(t, <-recorder.Events, canary)
	}
	for _, target := range targets {
		for _, condition := range []metav1.Condition{pass.Ready(target.Name), pass.LoginExpiring(target.Name)} {
			text, err := json.Marshal(condition)
			require.NoError(t, err)
			require.NotContains(t, string(text), canary)
		}
	}
	require.Equal(t, metav1.ConditionTrue, pass.Ready("good").Status)
	secrets, err := client.CoreV1().Secrets("shop").List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	require.Len(t, secrets.Items, 1)
	auth := base64.StdEncoding.EncodeToString([]byte("robot:" + canary))
	require.Contains(t, string(secrets.Items[0].Data[corev1.DockerConfigJsonKey]), auth)
	for i := range secrets.Items {
		secrets.Items[i].Data = nil
	}
	accounts, err := client.CoreV1().ServiceAccounts("shop").List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	for _, object := range []any{secrets, accounts} {
		text, err := json.Marshal(object)
		require.NoError(t, err)
		require.NotContains(t, string(text), canary)
		require.NotContains(t, string(text), auth)
	}
}

package kube_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/inject/kube"
	"github.com/regcred/regcred/registry"
)

func TestControllerNeedsItsFields(t *testing.T) {
	cluster := &kube.Cluster{Client: fake.NewClientset()}
	syncer := func() *inject.Syncer {
		return &inject.Syncer{Credential: func(context.Context, registry.Profile) (credentials.Credential, error) {
			return credentials.Credential{}, registry.ErrUnauthorized
		}}
	}
	targets := func(context.Context) ([]inject.Target, error) { return nil, nil }
	for want, c := range map[string]*kube.Controller{
		"Controller.Cluster is not set": {Syncer: syncer(), Targets: targets},
		"Cluster.Client is not set":     {Cluster: &kube.Cluster{}, Syncer: syncer(), Targets: targets},
		"Controller.Syncer is not set":  {Cluster: cluster, Targets: targets},
		"Controller.Targets is not set": {Cluster: cluster, Syncer: syncer()},
		"Syncer.Credential is not set":  {Cluster: cluster, Syncer: &inject.Syncer{}, Targets: targets},
		`Cluster.Owner is "regcred" and Syncer.Owner is "platform": set both to the same name`: {
			Cluster: cluster, Syncer: &inject.Syncer{Owner: "platform"}, Targets: targets,
		},
	} {
		require.EqualError(t, c.Start(t.Context()), want)
		require.EqualError(t, c.EnsureReady(t.Context(), "shop", "default"), want)
	}
}

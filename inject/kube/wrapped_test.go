package kube_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/inject/kube"
	"github.com/regcred/regcred/registry"
)

// A wrapper has the methods of an inject.Cluster and no other methods of a kube.Cluster.
type wrapper struct {
	inject.Cluster
	applied *atomic.Int64
}

func (w wrapper) Apply(ctx context.Context, change inject.Change) error {
	w.applied.Add(1)
	return w.Cluster.Apply(ctx, change)
}

// Tracing a Syncer wraps its Cluster. The Controller still runs the wrapped kube.Cluster.
func TestControllerWorksWithAWrappedCluster(t *testing.T) {
	meta := func(name, namespace string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Name: name, Namespace: namespace}
	}
	cluster := &kube.Cluster{Client: fake.NewClientset(
		&corev1.Namespace{ObjectMeta: meta("shop", "")}, &corev1.ServiceAccount{ObjectMeta: meta("default", "shop")},
	)}
	var applied atomic.Int64
	passes := make(chan kube.Pass)
	background(t, (&kube.Controller{
		Cluster: cluster,
		Syncer: &inject.Syncer{
			Cluster: wrapper{cluster, &applied},
			Credential: func(context.Context, registry.Profile) (credentials.Credential, error) {
				return credentials.Credential{Username: "robot", Password: credentials.NewSecret("hunter2")}, nil
			},
		},
		Targets: func(context.Context) ([]inject.Target, error) {
			return []inject.Target{{
				Name: "regcred", Namespaces: inject.Selection{Names: []string{"shop"}},
				Profiles: []registry.Profile{{Name: "quay", Kind: registry.Custom, Endpoint: "quay.io", Login: credentials.Login{Anonymous: true}}},
			}}, nil
		},
		OnPass: func(p kube.Pass) {
			select {
			case passes <- p:
			case <-t.Context().Done():
			}
		},
	}).Start)
	for changed := 0; changed == 0; {
		p := <-passes
		require.NoError(t, p.Err)
		require.NoError(t, p.Result.Err())
		changed += len(p.Result.Changed)
	}
	secret, err := cluster.Client.CoreV1().Secrets("shop").Get(t.Context(), "regcred", metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, corev1.SecretTypeDockerConfigJson, secret.Type)
	require.Positive(t, applied.Load())
}

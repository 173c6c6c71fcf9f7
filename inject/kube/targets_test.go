package kube_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/inject/kube"
	"github.com/regcred/regcred/registry"
)

// Metrics and traces of a Syncer include a pass for which Targets fails.
func TestTargetsThatFailAreToldOf(t *testing.T) {
	errNone := errors.New("no targets")
	told := make(chan error, 100)
	passed := make(chan kube.Pass, 100)
	controller := &kube.Controller{
		Cluster: &kube.Cluster{Client: fake.NewClientset()},
		Syncer: &inject.Syncer{
			Credential: func(context.Context, registry.Profile) (credentials.Credential, error) {
				return credentials.Credential{}, registry.ErrUnauthorized
			},
			OnSync: func(ctx context.Context, namespaces []string) (context.Context, func(inject.Result, error)) {
				return ctx, func(_ inject.Result, err error) {
					if len(namespaces) == 0 {
						told <- err
					}
				}
			},
		},
		Targets: func(context.Context) ([]inject.Target, error) { return nil, errNone },
		OnPass:  func(p kube.Pass) { passed <- p },
	}
	background(t, controller.Start)
	p := <-passed
	require.ErrorIs(t, p.Err, errNone)
	require.Empty(t, p.Namespaces)
	select {
	case err := <-told:
		require.ErrorIs(t, err, errNone)
	default:
		t.Error("OnSync was not called")
	}
}

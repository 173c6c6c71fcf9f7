package kube_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/inject/kube"
	"github.com/regcred/regcred/registry"
)

// The Controllers of several clusters feed one rollout.
func TestRolloutOfControllers(t *testing.T) {
	passwords := map[string]*atomic.Pointer[string]{"eu": {}, "us": {}}
	first, second := "first", "second"
	target := inject.Target{
		Name: "regcred", Namespaces: inject.Selection{Names: []string{"team-*"}},
		Profiles: []registry.Profile{{Name: "quay", Kind: registry.Custom, Endpoint: "quay.io", Login: credentials.Login{Username: "u", Password: credentials.NewSecret("p")}}},
	}
	controllers, syncers := make(map[string]*kube.Controller), make(map[string]*inject.Syncer)
	for name, password := range passwords {
		password.Store(&first)
		namespace := func(name string) *corev1.Namespace {
			return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
		}
		controllers[name] = &kube.Controller{
			Cluster: &kube.Cluster{Client: fake.NewClientset(namespace("team-a"), namespace("team-b"))},
			Syncer: &inject.Syncer{Credential: func(context.Context, registry.Profile) (credentials.Credential, error) {
				return credentials.Credential{Username: "u", Password: credentials.NewSecret(*password.Load())}, nil
			}},
			Targets: func(context.Context) ([]inject.Target, error) { return []inject.Target{target}, nil },
		}
		syncers[name] = controllers[name].Syncer
		background(t, controllers[name].Start)
	}
	becomes := func(eu, us int) {
		t.Helper()
		require.Eventually(t, func() bool {
			rollout := inject.RolloutOf(syncers, nil)
			return rollout.Complete && rollout.NewestIn["eu"] == eu && rollout.NewestIn["us"] == us && rollout.Newest+len(rollout.Older) == 4
		}, time.Minute, 10*time.Millisecond)
	}
	becomes(2, 2)
	passwords["eu"].Store(&second)
	controllers["eu"].Wake()
	becomes(2, 0)
	passwords["us"].Store(&second)
	controllers["us"].Wake()
	becomes(2, 2)
}

package newest

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/inject/kube"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/providers/providerstest"
	"github.com/regcred/regcred/pullsecret"
	"github.com/regcred/regcred/registry"
)

// A program can test days of a Controller in no time, as docs/testing.md says, since client-go v0.35: older ones have a
// channel that is made outside of the bubble.
func TestDaysInASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		defer running.Wait()
		defer stop()
		client := fake.NewClientset(
			&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}},
			&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default", Namespace: "shop"}},
		)
		issuer := &providerstest.Fake{Lifetime: 12 * time.Hour}
		var cache credentials.Cache
		controller := &kube.Controller{
			Cluster: &kube.Cluster{Client: client},
			Syncer: &inject.Syncer{Credential: func(ctx context.Context, p registry.Profile) (credentials.Credential, error) {
				return cache.Credential(ctx, providers.Key(issuer, p), providers.Source(issuer, p))
			}},
			Targets: func(context.Context) ([]inject.Target, error) {
				return []inject.Target{{
					Name: "regcred",
					Profiles: []registry.Profile{{
						Name: "quay", Kind: registry.Custom, Endpoint: "quay.io",
						Login: credentials.Login{Username: "robot", Password: credentials.NewSecret("right")},
					}},
					Namespaces: inject.Selection{Names: []string{"*"}},
					Accounts:   inject.Selection{Names: []string{"default"}},
				}}, nil
			},
		}
		for _, run := range []func(context.Context) error{cache.Run, controller.Start} {
			running.Go(func() { assert.NoError(t, run(ctx)) })
		}
		contents := make(map[string]bool)
		for range 24 {
			time.Sleep(time.Hour)
			s, err := client.CoreV1().Secrets("shop").Get(t.Context(), "regcred", metav1.GetOptions{})
			require.NoError(t, err)
			expires, err := time.Parse(time.RFC3339, s.Annotations[inject.AnnotationExpiresAt])
			require.NoError(t, err)
			require.True(t, time.Now().Before(expires))
			contents[string(s.Data[pullsecret.SecretKey])] = true
		}
		require.GreaterOrEqual(t, len(contents), 3)
	})
}

package kube_test

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/inject/kube"
	"github.com/regcred/regcred/registry"
)

// If several replicas start at once, they all get the same key.
func TestAdoptionKey(t *testing.T) {
	admin, err := kube.NewClient(needAPI(t))
	require.NoError(t, err)
	client, err := kube.NewClient(withRights(t, "regcred"))
	require.NoError(t, err)
	const ns = "adoption-key"
	_, err = kube.AdoptionKey(t.Context(), client, "no-such-namespace", "key")
	require.ErrorContains(t, err, "adoption key in secret no-such-namespace/key")
	require.NoError(t, world{admin}.CreateNamespace(t.Context(), ns, nil))
	var mu sync.Mutex
	var keys []credentials.Secret
	var replicas sync.WaitGroup
	for range 5 {
		replicas.Go(func() {
			key, err := kube.AdoptionKey(t.Context(), client, ns, "key")
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			keys = append(keys, key)
		})
	}
	replicas.Wait()
	for _, key := range keys {
		require.Equal(t, 32, key.Len())
		require.True(t, key.Equal(keys[0]))
	}
	_, err = admin.CoreV1().Secrets(ns).Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "other"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = kube.AdoptionKey(t.Context(), client, ns, "other")
	require.ErrorIs(t, err, registry.ErrInvalid)
	_, err = admin.CoreV1().Secrets(ns).Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "short"}, Data: map[string][]byte{"adoption-key": []byte("fifteen-bytes!!")},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = kube.AdoptionKey(t.Context(), client, ns, "short")
	require.ErrorIs(t, err, registry.ErrInvalid)
	require.ErrorContains(t, err, "has 15 bytes")
	require.NotContains(t, err.Error(), "fifteen")
}

package kube_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/inject/kube"
	"github.com/regcred/regcred/registry"
)

// A controller keeps targets that are set one by one, publishes new credentials of a cache, and reports the state of a
// target in all namespaces after a pass over one.
func TestControllerKeepsParts(t *testing.T) {
	admin, err := kube.NewClient(needAPI(t))
	require.NoError(t, err)
	client, err := kube.NewClient(withRights(t, "regcred"))
	require.NoError(t, err)
	w := world{admin}
	for _, name := range []string{"parts-a", "parts-b"} {
		require.NoError(t, w.CreateNamespace(t.Context(), name, nil))
	}
	cache, issued := &credentials.Cache{}, 0
	key := func(p registry.Profile) credentials.Key { return credentials.Key{Issuer: p.Name} }
	target := func(name, namespace string) inject.Target {
		return inject.Target{
			Name: name, Namespaces: inject.Selection{Names: []string{namespace}},
			Profiles: []registry.Profile{{Name: name, Kind: registry.Custom, Endpoint: "h.example.com", Login: credentials.Login{Username: "u", Password: credentials.NewSecret("p")}}},
		}
	}
	passes := make(chan kube.Pass, 100)
	controller := &kube.Controller{
		Cluster: &kube.Cluster{Client: client, Owner: "parts"},
		Syncer: &inject.Syncer{
			Owner: "parts",
			Credential: func(ctx context.Context, p registry.Profile) (credentials.Credential, error) {
				return cache.Credential(ctx, key(p), credentials.Func(func(context.Context) (credentials.Credential, error) {
					now := time.Now()
					issued++
					return credentials.Credential{Username: "u", Password: credentials.NewSecret(fmt.Sprint("token-", issued)), IssuedAt: now, ExpiresAt: now.Add(time.Hour)}, nil
				}))
			},
			Lookup: func(p registry.Profile) credentials.Entry {
				entry, _ := cache.Lookup(key(p))
				entry.Key = key(p)
				return entry
			},
		},
		Targets: func(context.Context) ([]inject.Target, error) { return []inject.Target{target("one", "parts-a")}, nil },
		OnPass:  func(p kube.Pass) { passes <- p },
	}
	cache.Hooks.Issued = controller.Renewed
	background(t, controller.Start)
	appears := func(namespace, name string) {
		t.Helper()
		require.Eventually(t, func() bool {
			s, err := w.Secret(t.Context(), namespace, name)
			return err == nil && s != nil
		}, time.Minute, 20*time.Millisecond)
	}
	appears("parts-a", "one")
	controller.SetTarget(target("two", "parts-b"))
	appears("parts-b", "two")

	// A renewal with another cause is published at once.
	before, err := w.Secret(t.Context(), "parts-b", "two")
	require.NoError(t, err)
	c, err := cache.Credential(t.Context(), credentials.Key{Issuer: "two"}, nil)
	require.NoError(t, err)
	cache.Invalidate(credentials.Key{Issuer: "two"}, c)
	_, err = controller.Syncer.Credential(t.Context(), target("two", "").Profiles[0])
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		now, err := w.Secret(t.Context(), "parts-b", "two")
		return err == nil && now.UID == before.UID && string(now.Data[".dockerconfigjson"]) != string(before.Data[".dockerconfigjson"])
	}, time.Minute, 20*time.Millisecond)

	// The target has a problem in one namespace, and a pass over another one does not hide that.
	secrets := admin.CoreV1().Secrets("parts-b")
	s, err := secrets.Get(t.Context(), "two", metav1.GetOptions{})
	require.NoError(t, err)
	s.Immutable = new(true)
	_, err = secrets.Update(t.Context(), s, metav1.UpdateOptions{})
	require.NoError(t, err)
	c, err = cache.Credential(t.Context(), credentials.Key{Issuer: "two"}, nil)
	require.NoError(t, err)
	cache.Invalidate(credentials.Key{Issuer: "two"}, c)
	require.Eventually(t, func() bool { // The cache delays the call because the credential before was rejected at once, too.
		_, err := controller.Syncer.Credential(t.Context(), target("two", "").Profiles[0])
		return err == nil
	}, time.Minute, 100*time.Millisecond)
	reason := func(p kube.Pass) string { return p.Ready("two").Reason }
	require.Eventually(t, func() bool { return reason(<-passes) == "SecretImmutable" }, time.Minute, time.Millisecond)
	_, err = admin.CoreV1().ServiceAccounts("parts-a").Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		p := <-passes
		require.Equal(t, "SecretImmutable", reason(p))
		require.Equal(t, "Published", p.Ready("one").Reason)
		return slices.Contains(p.Namespaces, "parts-a")
	}, time.Minute, time.Millisecond)

	controller.RemoveTarget("two")
	require.Eventually(t, func() bool {
		s, err := w.Secret(t.Context(), "parts-b", "two")
		return err == nil && s == nil
	}, time.Minute, 20*time.Millisecond)
}

func TestInUse(t *testing.T) {
	admin, err := kube.NewClient(needAPI(t))
	require.NoError(t, err)
	client, err := kube.NewClient(withRights(t, "regcred"))
	require.NoError(t, err)
	const ns = "in-use"
	w, cluster := world{admin}, &kube.Cluster{Client: client}
	require.NoError(t, w.CreateNamespace(t.Context(), ns, nil))
	_, err = admin.CoreV1().ServiceAccounts(ns).Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	pod, err := admin.CoreV1().Pods(ns).Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p"},
		Spec: corev1.PodSpec{
			ImagePullSecrets: []corev1.LocalObjectReference{{Name: "old"}}, AutomountServiceAccountToken: new(false),
			Containers: []corev1.Container{{Name: "c", Image: "h.example.com/app"}},
		},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	// The list of pods comes from the API server's cache, which may be behind a write.
	becomes := func(want bool, name, why string) {
		require.Eventually(t, func() bool {
			used, err := cluster.InUse(t.Context(), ns, name)
			return err == nil && used == want
		}, time.Minute, 20*time.Millisecond, why)
	}
	becomes(true, "old", "a pod names it")
	becomes(false, "new", "no pod names it")
	pod.Status.Phase = corev1.PodSucceeded
	_, err = admin.CoreV1().Pods(ns).UpdateStatus(t.Context(), pod, metav1.UpdateOptions{})
	require.NoError(t, err)
	becomes(false, "old", "a pod that has ended pulls nothing")
}

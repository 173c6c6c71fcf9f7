package kube

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/regcred/regcred/inject"
)

// Three pods are stuck when a pass begins. While the first is evicted, the second pulls its image after all, and the
// third is replaced by a pod of the same name that is not stuck.
func TestEvictorSkipsWhatRecoversDuringAPass(t *testing.T) {
	pod := func(name string, uid types.UID) *corev1.Pod {
		return &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: "shop", Name: name, UID: uid,
				OwnerReferences: []metav1.OwnerReference{{Kind: "ReplicaSet", UID: "owner-of-" + uid, Controller: new(true)}},
			},
			Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{
				State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff"}},
			}}},
		}
	}
	meta := metav1.ObjectMeta{Namespace: "shop", Name: "regcred", Labels: map[string]string{inject.LabelOwner: "regcred"}}
	client := fake.NewClientset(
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}, &corev1.Secret{ObjectMeta: meta},
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "default"}, ImagePullSecrets: []corev1.LocalObjectReference{{Name: "regcred"}}},
		pod("1", "1"), pod("2", "2"), pod("3", "3"),
	)
	cluster := &Cluster{Client: client}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go func() { _ = cluster.Run(ctx) }()
	_, err := cluster.State(ctx, inject.Scope{Owner: "regcred"}) // Its watches have begun.
	require.NoError(t, err)

	stuck := func(e *Evictor) (n int) {
		for _, object := range e.pods.GetStore().List() {
			if object.(*stuckPod).stuck {
				n++
			}
		}
		return n
	}
	var evicted []string
	e := &Evictor{Cluster: cluster, Interval: time.Millisecond}
	e.OnEvict = func(_, name string, err error) {
		require.NoError(t, err)
		evicted = append(evicted, name)
		recovered, replaced := pod("2", "2"), pod("3", "other")
		recovered.Status, replaced.Status = corev1.PodStatus{Phase: corev1.PodRunning}, corev1.PodStatus{}
		for _, p := range []*corev1.Pod{recovered, replaced} {
			_, err := client.CoreV1().Pods("shop").Update(ctx, p, metav1.UpdateOptions{})
			require.NoError(t, err)
		}
		require.Eventually(t, func() bool { return stuck(e) <= 1 }, time.Minute, time.Millisecond)
	}
	e.prepare()
	go run(ctx, e.pods)
	require.Eventually(t, func() bool { return stuck(e) == 3 }, time.Minute, time.Millisecond)
	e.pass(ctx)
	require.Equal(t, []string{"1"}, evicted)
}

package kube_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/inject/injecttest"
	"github.com/regcred/regcred/inject/kube"
)

var _ manager.LeaderElectionRunnable = (*kube.Evictor)(nil)

// A stuck is a pod for which a kubelet could not pull an image.
type stuck struct {
	name, reason, owner string
	pullSecrets         []string
}

func (s stuck) pod(namespace string) *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: s.name, UID: types.UID(s.name)},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "registry.example.com/app"}}},
		Status: corev1.PodStatus{Phase: corev1.PodPending, ContainerStatuses: []corev1.ContainerStatus{{
			Name: "app", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: s.reason}},
		}}},
	}
	kube.AddPullSecrets(&pod.Spec, s.pullSecrets...)
	if s.owner != "" {
		yes := true
		pod.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: s.owner, Name: "owner", UID: types.UID("owner-of-" + s.name), Controller: &yes}}
	}
	return pod
}

func publish(t *testing.T, client kubernetes.Interface, pod *corev1.Pod) {
	t.Helper()
	made, err := client.CoreV1().Pods(pod.Namespace).Create(t.Context(), pod, metav1.CreateOptions{})
	require.NoError(t, err)
	made.Status = pod.Status
	_, err = client.CoreV1().Pods(pod.Namespace).UpdateStatus(t.Context(), made, metav1.UpdateOptions{})
	require.NoError(t, err)
}

// Evictions records the evictions of an Evictor.
type evictions struct {
	mu   sync.Mutex
	errs map[string][]error // By pod.
}

func (r *evictions) add(_, pod string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.errs == nil {
		r.errs = make(map[string][]error)
	}
	r.errs[pod] = append(r.errs[pod], err)
}

func (r *evictions) of(pod string) []error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.errs[pod])
}

func TestEvictor(t *testing.T) {
	r := start(t, "evict", "regcred-evict")
	require.NoError(t, r.CreateNamespace(t.Context(), "evict-1", nil))
	stay := []stuck{
		{name: "runs", owner: "ReplicaSet", reason: "ContainerCreating"},
		{name: "is-named-secret", owner: "ReplicaSet", reason: "ImagePullBackOff", pullSecrets: []string{"regcred"}},
		{name: "names-its-own", owner: "ReplicaSet", reason: "ImagePullBackOff", pullSecrets: []string{"own"}},
		{name: "nobody-makes-it-again", reason: "ImagePullBackOff"},
		{name: "of-a-job", owner: "Job", reason: "ImagePullBackOff"},
	}
	leave := []stuck{
		{name: "has-none", owner: "ReplicaSet", reason: "ImagePullBackOff"},
		{name: "has-one-of-the-account", owner: "StatefulSet", reason: "ErrImagePull", pullSecrets: []string{"theirs"}},
	}
	for _, s := range slices.Concat(stay, leave) {
		publish(t, r, s.pod("evict-1"))
	}
	var seen evictions
	background(t, (&kube.Evictor{Cluster: r.Controller.Cluster, Interval: time.Millisecond, OnEvict: seen.add}).Start)
	require.NoError(t, r.WriteAccount(t.Context(), "evict-1", injecttest.AccountObject{Name: "default", PullSecrets: []string{"theirs"}}))

	for _, s := range leave {
		require.Eventually(t, func() bool {
			_, err := r.CoreV1().Pods("evict-1").Get(t.Context(), s.name, metav1.GetOptions{})
			return apierrors.IsNotFound(err) && seen.of(s.name) != nil // OnEvict is called after the pod is gone.
		}, time.Minute, 20*time.Millisecond, s.name)
		require.Equal(t, []error{nil}, seen.of(s.name), s.name)
	}
	for _, s := range stay {
		_, err := r.CoreV1().Pods("evict-1").Get(t.Context(), s.name, metav1.GetOptions{})
		require.NoError(t, err)
		require.Empty(t, seen.of(s.name), s.name)
	}
}

func TestEvictorDoesNotEvictSuccessors(t *testing.T) {
	client := linked(t)
	first := stuck{name: "first", owner: "ReplicaSet", reason: "ImagePullBackOff"}.pod("shop")
	first.CreationTimestamp = metav1.NewTime(time.Now().Add(-time.Minute))
	publish(t, client, first)
	successor := stuck{name: "successor", owner: "ReplicaSet", reason: "ImagePullBackOff"}.pod("shop")
	successor.OwnerReferences = first.OwnerReferences
	successor.CreationTimestamp = metav1.NewTime(time.Now().Add(time.Minute))
	publish(t, client, successor)
	other := stuck{name: "other", owner: "ReplicaSet", reason: "ImagePullBackOff"}.pod("shop")
	other.CreationTimestamp = metav1.NewTime(time.Now().Add(2 * time.Minute)) // The oldest goes first, this one last.
	publish(t, client, other)

	var seen evictions
	evictor(t, client, &seen)
	require.Eventually(t, func() bool { return seen.of("other") != nil }, time.Minute, 10*time.Millisecond)
	require.Equal(t, []error{nil}, seen.of("first"))
	require.Empty(t, seen.of("successor"), "what it lacks, its controller's template does not give it")
}

func TestEvictorReportsWhatMayNotGo(t *testing.T) {
	client := linked(t)
	client.PrependReactor("create", "pods", func(action clienttesting.Action) (bool, runtime.Object, error) {
		if action.GetSubresource() != "eviction" {
			return false, nil, nil
		}
		eviction := action.(clienttesting.CreateAction).GetObject().(*policyv1.Eviction)
		require.Equal(t, types.UID("guarded"), *eviction.DeleteOptions.Preconditions.UID)
		return true, nil, apierrors.NewTooManyRequests("it would violate the pod's disruption budget", 10)
	})
	publish(t, client, stuck{name: "guarded", owner: "ReplicaSet", reason: "ImagePullBackOff"}.pod("shop"))
	var seen evictions
	evictor(t, client, &seen)
	require.Eventually(t, func() bool { return seen.of("guarded") != nil }, time.Minute, 10*time.Millisecond)
	err := seen.of("guarded")[0]
	require.True(t, apierrors.IsTooManyRequests(err))
	require.True(t, strings.HasPrefix(err.Error(), "evict pod shop/guarded: "), err)
}

func TestEvictorSaysThatItSeesNoPods(t *testing.T) {
	client := linked(t)
	var may atomic.Bool
	client.PrependReactor("list", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
		return !may.Load(), nil, apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "", errors.New("no right"))
	})
	cluster := &kube.Cluster{Client: client}
	background(t, cluster.Run)
	watched := make(chan error, 10)
	background(t, (&kube.Evictor{Cluster: cluster, OnWatch: func(err error) { watched <- err }}).Start)
	require.EqualError(t, <-watched, "list pods: pods is forbidden: no right")
	may.Store(true)
	require.NoError(t, <-watched)
}

// linked returns a fake API with a namespace whose account names the existing pull secret.
func linked(t *testing.T) *fake.Clientset {
	t.Helper()
	return fake.NewClientset(
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "regcred", Labels: map[string]string{inject.LabelOwner: "regcred"}}},
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "default"}, ImagePullSecrets: []corev1.LocalObjectReference{{Name: "regcred"}}},
	)
}

func evictor(t *testing.T, client kubernetes.Interface, seen *evictions) {
	t.Helper()
	cluster := &kube.Cluster{Client: client}
	background(t, cluster.Run)
	_, err := cluster.State(t.Context(), inject.Scope{Owner: "regcred"})
	require.NoError(t, err)
	background(t, func(ctx context.Context) error {
		return (&kube.Evictor{Cluster: cluster, Interval: time.Millisecond, OnEvict: seen.add}).Start(ctx)
	})
}

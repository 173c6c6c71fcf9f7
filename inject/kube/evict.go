package kube

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"

	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/internal/option"
)

// An Evictor evicts pods that are stuck because they were created too early: they cannot pull an image, and do not name
// a pull secret of the owner that their service account names by now. A pod gets those of its account only when it is
// created, so such a pod waits forever; the one that its controller makes instead does not. A pod that names the secret
// is left alone: its kubelet tries again by itself, within five minutes.
//
// Pods that nobody would make again are left alone, and so are those of Jobs, which count an evicted pod as a failure.
// So are those that their controller made after it lost one: where a pod template names pull secrets of its own, new
// pods are no better off.
//
// Set the fields before Start. Like a [Controller] it is a Runnable of controller-runtime. It must not be copied.
type Evictor struct {
	// Cluster is where the pods are. It is run by a Controller. It is required.
	Cluster *Cluster
	// Interval is the least time between two evictions. Zero means a second.
	Interval time.Duration
	// OnEvict is called after each try, with its error, if any. A pod that may not go now, as a PodDisruptionBudget says,
	// is tried again. Nil means that nobody wants to know.
	OnEvict func(namespace, pod string, err error)
	// OnWatch is called when pods cannot be watched, and with nil when they can again. That they cannot is said at once
	// where the API refuses it for want of rights, and after 30 seconds otherwise. Nil means that nobody wants to know.
	OnWatch func(err error)

	pods    *feed
	broken  bool // As OnWatch was told.
	changed signal
	again   map[types.UID]time.Time // When a pod that was tried may be tried again.
	evicted map[types.UID]time.Time // When a controller lost its first pod.
}

const (
	// evictionRetry is when a pod that is still there is tried again.
	evictionRetry = 30 * time.Second
	// evictionMemory is how long it is remembered that a controller lost a pod.
	evictionMemory = time.Hour
	// gathering is how long events are gathered.
	gathering = 200 * time.Millisecond
)

// A stuckPod is what is kept of a pod that cannot pull. Of others, only the metadata is.
type stuckPod struct {
	metav1.ObjectMeta
	account     string
	pullSecrets []string
	stuck       bool
	controller  types.UID // Who would make it again; empty if nobody would.
}

// NeedLeaderElection is true: two replicas would evict twice as fast.
func (e *Evictor) NeedLeaderElection() bool { return true }

// Start runs until ctx ends, and then returns nil. It must be called once.
func (e *Evictor) Start(ctx context.Context) error {
	e.again, e.evicted = make(map[types.UID]time.Time), make(map[types.UID]time.Time)
	pending := func(o *metav1.ListOptions) {
		o.FieldSelector = fields.OneTermEqualSelector("status.phase", string(corev1.PodPending)).String()
	}
	e.pods = newFeed(e.Cluster, "pods", e.Cluster.Client.CoreV1().Pods(metav1.NamespaceAll), &corev1.Pod{}, pending)
	e.pods.onChange = e.changed.notify
	follow(e.pods, keepPod, func(*metav1.ObjectMeta, bool) { e.changed.notify() })
	e.Cluster.OnEvent(func(string) { e.changed.notify() })
	var running sync.WaitGroup
	running.Go(func() { run(ctx, e.pods) })
	running.Go(func() { e.loop(ctx) })
	running.Wait()
	return nil
}

func (e *Evictor) loop(ctx context.Context) {
	for {
		select {
		case <-e.changed.notified():
		case <-time.After(evictionRetry):
		case <-ctx.Done():
			return
		}
		if wait(ctx, gathering); ctx.Err() != nil {
			return
		}
		e.pass(ctx)
	}
}

// pass evicts those that are stuck now, the oldest first.
func (e *Evictor) pass(ctx context.Context) {
	e.forget(time.Now())
	if _, err := e.pods.broken(); (err != nil) != e.broken {
		e.broken = err != nil
		if e.OnWatch != nil {
			e.OnWatch(err)
		}
	}
	var stuck []*stuckPod
	for _, object := range e.pods.GetStore().List() {
		if p := object.(*stuckPod); p.stuck && p.controller != "" && p.DeletionTimestamp == nil {
			stuck = append(stuck, p)
		}
	}
	slices.SortFunc(stuck, func(a, b *stuckPod) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	for _, p := range stuck {
		if now := time.Now(); now.Before(e.again[p.UID]) || !e.helps(ctx, p) {
			continue
		}
		err := e.evict(ctx, p)
		if e.OnEvict != nil && ctx.Err() == nil {
			e.OnEvict(p.Namespace, p.Name, err)
		}
		if wait(ctx, option.OrDefault(e.Interval, time.Second)); ctx.Err() != nil {
			return
		}
	}
}

// helps reports whether a new pod would name a secret that this one does not.
func (e *Evictor) helps(ctx context.Context, p *stuckPod) bool {
	// Times of objects are of whole seconds. What was made in the same one is taken for a successor.
	if lost, ok := e.evicted[p.controller]; ok && !p.CreationTimestamp.Time.Before(lost.Truncate(time.Second)) {
		return false
	}
	state, err := e.Cluster.State(ctx, inject.Scope{Owner: e.Cluster.owner(), Namespaces: []string{p.Namespace}})
	if err != nil || len(state) == 0 || state[0].Terminating {
		return false // An error means that ctx ended, or that nobody knows how things are.
	}
	ns := state[0]
	i := slices.IndexFunc(ns.Accounts, func(a inject.Account) bool { return a.Name == p.account })
	if i < 0 {
		return false
	}
	account := ns.Accounts[i]
	for _, name := range p.pullSecrets {
		if !slices.Contains(account.PullSecrets, name) {
			return false // It names some of its own, and so will the next.
		}
	}
	return slices.ContainsFunc(ns.Secrets, func(s inject.PublishedSecret) bool {
		return !s.Deleting && slices.Contains(account.PullSecrets, s.Name) && !slices.Contains(p.pullSecrets, s.Name)
	})
}

func (e *Evictor) evict(ctx context.Context, p *stuckPod) error {
	e.again[p.UID] = time.Now().Add(evictionRetry)
	err := e.Cluster.Client.PolicyV1().Evictions(p.Namespace).Evict(ctx, &policyv1.Eviction{
		ObjectMeta:    metav1.ObjectMeta{Namespace: p.Namespace, Name: p.Name},
		DeleteOptions: &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &p.UID}},
	})
	if err != nil && !apierrors.IsNotFound(err) { // If it is gone, that is as well.
		return fmt.Errorf("evict pod %s/%s: %w", p.Namespace, p.Name, err)
	}
	if _, ok := e.evicted[p.controller]; !ok {
		e.evicted[p.controller] = time.Now()
	}
	return nil
}

// forget drops what is of no use anymore.
func (e *Evictor) forget(now time.Time) {
	for uid, at := range e.again {
		if now.After(at) {
			delete(e.again, uid)
		}
	}
	for uid, at := range e.evicted {
		if now.Sub(at) > evictionMemory {
			delete(e.evicted, uid)
		}
	}
}

func keepPod(object any) any {
	p, ok := object.(*corev1.Pod)
	if !ok {
		return object
	}
	kept := &stuckPod{ObjectMeta: trim(&p.ObjectMeta), account: cmp.Or(p.Spec.ServiceAccountName, "default")}
	kept.Labels, kept.Annotations, kept.CreationTimestamp = nil, nil, p.CreationTimestamp
	for _, ref := range p.Spec.ImagePullSecrets {
		kept.pullSecrets = append(kept.pullSecrets, ref.Name)
	}
	kept.stuck = slices.ContainsFunc(slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses), cannotPull)
	// A Node stands for a file on it, which the kubelet runs.
	if owner := metav1.GetControllerOf(p); owner != nil && owner.Kind != "Job" && owner.Kind != "Node" {
		kept.controller = owner.UID
	}
	return kept
}

func cannotPull(s corev1.ContainerStatus) bool {
	return s.State.Waiting != nil && (s.State.Waiting.Reason == "ErrImagePull" || s.State.Waiting.Reason == "ImagePullBackOff")
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

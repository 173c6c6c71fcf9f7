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

// An Evictor evicts pods that are stuck because they were created too early: they cannot pull an image, and do not
// name a pull secret of the owner that their service account now names. A pod gets the pull secrets of its account
// only when it is created, so such a pod waits forever, but a new pod of its controller does not. A pod that names the
// secret is not evicted: its kubelet tries again by itself, within five minutes.
//
// An Evictor does not evict pods without a controller, which would not be recreated, or pods of Jobs, which count an
// evicted pod as a failure. If a pod template names pull secrets of its own, new pods are stuck as well: so for an
// hour after an eviction, an Evictor does not evict the pods that the same controller created since.
//
// Set the fields before Start. Like a [Controller], an Evictor is a Runnable of controller-runtime. It must not be
// copied.
type Evictor struct {
	// Cluster is the cluster of the pods. A Controller runs it. It is required.
	Cluster *Cluster
	// Interval is the minimum time between two evictions. Zero means a second.
	Interval time.Duration
	// OnEvict is called after each attempt, with its error, if any. An eviction that a PodDisruptionBudget does not
	// permit now is tried again. If nil, it is not called.
	OnEvict func(namespace, pod string, err error)
	// OnWatch is called with an error when pods cannot be watched, and with nil when they can be watched again. The
	// error comes at once if the API denies the watch for lack of rights, and after 30 seconds otherwise. If nil, it
	// is not called.
	OnWatch func(err error)

	pods    *feed
	broken  bool // The state that OnWatch last reported.
	changed signal
	again   map[types.UID]time.Time // The earliest next attempt, by pod.
	evicted map[types.UID]time.Time // The time of the first eviction, by controller.
}

const (
	// evictionRetry is the wait before another attempt to evict a pod that still exists.
	evictionRetry = 30 * time.Second
	// evictionMemory is the time for which a controller is remembered after an eviction.
	evictionMemory = time.Hour
	// gathering is the time during which events are collected before a pass.
	gathering = 200 * time.Millisecond
)

// A stuckPod holds the fields that are kept of a pod that cannot pull. Of other pods, only the metadata is kept.
type stuckPod struct {
	metav1.ObjectMeta
	account     string
	pullSecrets []string
	stuck       bool
	controller  types.UID // The UID of the controller that would recreate it; empty if none would.
}

// candidate reports whether the pod is stuck and would be recreated.
func (p *stuckPod) candidate() bool {
	return p.stuck && p.controller != "" && p.DeletionTimestamp == nil
}

// NeedLeaderElection returns true, because two replicas would evict twice as fast.
func (e *Evictor) NeedLeaderElection() bool { return true }

// Start runs until ctx ends, and then returns nil. It must be called once.
func (e *Evictor) Start(ctx context.Context) error {
	e.prepare()
	var running sync.WaitGroup
	running.Go(func() { run(ctx, e.pods) })
	running.Go(func() { e.loop(ctx) })
	running.Wait()
	return nil
}

func (e *Evictor) prepare() {
	e.again, e.evicted = make(map[types.UID]time.Time), make(map[types.UID]time.Time)
	pending := func(o *metav1.ListOptions) {
		o.FieldSelector = fields.OneTermEqualSelector("status.phase", string(corev1.PodPending)).String()
	}
	e.pods = newFeed(e.Cluster, "pods", e.Cluster.Client.CoreV1().Pods(metav1.NamespaceAll), &corev1.Pod{}, pending)
	e.pods.onChange = e.changed.notify
	follow(e.pods, keepPod, func(*metav1.ObjectMeta, bool) { e.changed.notify() })
	e.Cluster.OnEvent(func(string) { e.changed.notify() })
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

// pass evicts the pods that are stuck now, the oldest first.
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
		if p := object.(*stuckPod); p.candidate() {
			stuck = append(stuck, p)
		}
	}
	slices.SortFunc(stuck, func(a, b *stuckPod) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	for _, p := range stuck {
		if now := time.Now(); now.Before(e.again[p.UID]) || !e.stillStuck(p) || !e.helps(ctx, p) {
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

// stillStuck reports whether the pod is a candidate now: a pass evicts one pod at a time, and this one may have pulled its
// image since the pass began.
func (e *Evictor) stillStuck(p *stuckPod) bool {
	object, there, _ := e.pods.GetStore().GetByKey(p.Namespace + "/" + p.Name)
	return there && object.(*stuckPod).UID == p.UID && object.(*stuckPod).candidate()
}

// helps reports whether a new pod would name a secret that this one does not.
func (e *Evictor) helps(ctx context.Context, p *stuckPod) bool {
	// Timestamps of objects have a resolution of a second. A pod created in the same second counts as a successor.
	if lost, ok := e.evicted[p.controller]; ok && !p.CreationTimestamp.Time.Before(lost.Truncate(time.Second)) {
		return false
	}
	state, err := e.Cluster.State(ctx, inject.Scope{Owner: e.Cluster.owner(), Namespaces: []string{p.Namespace}})
	if err != nil || len(state) == 0 || state[0].Terminating {
		return false // An error means that ctx ended, or that the state is unknown.
	}
	ns := state[0]
	i := slices.IndexFunc(ns.Accounts, func(a inject.Account) bool { return a.Name == p.account })
	if i < 0 {
		return false
	}
	account := ns.Accounts[i]
	for _, name := range p.pullSecrets {
		if !slices.Contains(account.PullSecrets, name) {
			return false // Its template names secrets, and the next pod will name the same.
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
	if err != nil && !apierrors.IsNotFound(err) { // A pod that is gone counts as evicted.
		return fmt.Errorf("evict pod %s/%s: %w", p.Namespace, p.Name, err)
	}
	if _, ok := e.evicted[p.controller]; !ok {
		e.evicted[p.controller] = time.Now()
	}
	return nil
}

// forget drops expired entries.
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
	// A pod of a Node is a static pod: the kubelet runs it from a file.
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

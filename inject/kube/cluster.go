package kube

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/pullsecret"
	"github.com/regcred/regcred/registry"
)

// NewClient returns a client for a [Cluster]. It uses protobuf. It has no rate limit of its own, which would extend a
// rotation over thousands of namespaces to many minutes. The API server protects itself from overload by priority and
// fairness, and the client waits when the server responds that it should.
func NewClient(config *rest.Config) (kubernetes.Interface, error) {
	config = rest.CopyConfig(config)
	config.QPS, config.RateLimiter = -1, nil
	config.ContentType = "application/vnd.kubernetes.protobuf"
	config.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	return kubernetes.NewForConfig(config)
}

// A Cluster is an [inject.Cluster] on the Kubernetes API. Set the fields before the first use. A Cluster must not be
// copied. It works while [Cluster.Run] runs. [Cluster.State] reports when objects cannot be watched.
//
// Each change carries the version on which it was planned, so that a concurrent change by another client causes a
// conflict and is never overwritten. Secrets are updated as whole objects, including what others have added, because
// that is the cheapest write for an API server. Service accounts are patched.
type Cluster struct {
	// Client is the client for the API; see [NewClient]. It is required.
	Client kubernetes.Interface
	// Owner is the owner of the watched secrets, the same as in the Syncer. Empty means "regcred". Secrets of others
	// are never listed.
	Owner string

	once     sync.Once
	watches  watches
	secrets  overlay[*secret]
	accounts overlay[*account]
	health   signal // A watch is broken for good, or has recovered.

	mu        sync.Mutex
	listeners []func(namespace string, own bool)
}

var _ inject.Cluster = (*Cluster)(nil)

func (c *Cluster) owner() string {
	if c.Owner != "" {
		return c.Owner
	}
	return "regcred"
}

// Run watches the cluster until ctx ends, and then returns nil within a second. If client-go is sleeping between two
// attempts at that time, its goroutine ends later by itself. Broken watches are resumed. Run must be called once.
func (c *Cluster) Run(ctx context.Context) error {
	c.start()
	run(ctx, c.watches.all()...)
	return nil
}

// OnEvent registers f, which is called with the name of a namespace after the namespace or anything in it changed. The
// function f must return soon. Call OnEvent before Run.
func (c *Cluster) OnEvent(f func(namespace string)) {
	c.listen(func(namespace string, _ bool) { f(namespace) })
}

// listen is OnEvent with a function that also receives whether the change is a write of this Cluster.
func (c *Cluster) listen(f func(namespace string, own bool)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.listeners = append(c.listeners, f)
}

func (c *Cluster) event(namespace string, own bool) {
	c.mu.Lock()
	listeners := c.listeners
	c.mu.Unlock()
	for _, f := range listeners {
		f(namespace, own)
	}
}

// State returns the objects that the watches have delivered, with later writes of this Cluster applied. It sends no
// request.
//
// The first call blocks until the watches are complete. After 30 seconds, or as soon as the API denies a list for lack
// of rights, the error wraps [registry.ErrClusterUnavailable] and holds the last response for each resource. If a
// watch is denied later, or cannot be resumed for 30 seconds, the error also wraps [registry.ErrStale], and State
// returns the last known objects with it.
func (c *Cluster) State(ctx context.Context, scope inject.Scope) ([]inject.Namespace, error) {
	if scope.Owner != c.owner() {
		return nil, fmt.Errorf("the cluster watches the secrets of owner %q, and cannot list the secrets of %q", c.owner(), scope.Owner)
	}
	c.start()
	stale := c.watches.wait(ctx)
	if stale != nil && !errors.Is(stale, registry.ErrStale) {
		return nil, stale
	}
	names := scope.Namespaces
	if len(names) == 0 {
		names = slices.Sorted(slices.Values(c.watches.namespaces.GetStore().ListKeys()))
	}
	var state []inject.Namespace
	for _, name := range names {
		object, there, _ := c.watches.namespaces.GetStore().GetByKey(name) // An in-memory store returns no error.
		if !there {
			continue
		}
		ns := object.(*namespace)
		state = append(state, inject.Namespace{
			Name: name, UID: string(ns.UID), Labels: ns.Labels, Terminating: ns.DeletionTimestamp != nil,
			Secrets: showSecrets(c.secrets.in(name)), Accounts: showAccounts(c.accounts.in(name), scope.Owner),
		})
	}
	return state, stale
}

func showSecrets(all map[string]*secret) []inject.PublishedSecret {
	var shown []inject.PublishedSecret
	for _, name := range slices.Sorted(maps.Keys(all)) {
		shown = append(shown, all[name].published)
	}
	return shown
}

func showAccounts(all map[string]*account, owner string) []inject.Account {
	var shown []inject.Account
	for _, name := range slices.Sorted(maps.Keys(all)) {
		a := all[name]
		shown = append(shown, inject.Account{Name: name, Version: a.ResourceVersion, Labels: a.Labels, PullSecrets: a.pullSecrets, Linked: a.linked(owner)})
	}
	return shown
}

func (a *account) linked(owner string) []string {
	list := a.Annotations[inject.LinkedAnnotation(owner)]
	if list == "" {
		return nil
	}
	return strings.Split(list, ",")
}

// Read returns the content of a secret; see [inject.Cluster]. It sends one request.
func (c *Cluster) Read(ctx context.Context, namespace, name string) ([]byte, error) {
	s, err := c.Client.CoreV1().Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read secret %s/%s: %w", namespace, name, classify(ctx, inject.Change{}, err))
	}
	return s.Data[pullsecret.SecretKey], nil
}

// InUse reports whether a pod in the namespace names the secret in imagePullSecrets; see [inject.Syncer.InUse]. It
// lists the pods of the namespace, from the cache of the API server.
func (c *Cluster) InUse(ctx context.Context, namespace, secret string) (bool, error) {
	options := metav1.ListOptions{ResourceVersion: "0"}
	pods, err := c.Client.CoreV1().Pods(namespace).List(ctx, options)
	if err != nil {
		return false, fmt.Errorf("list pods in namespace %s: %w", namespace, err)
	}
	return slices.ContainsFunc(pods.Items, func(p corev1.Pod) bool {
		over := p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
		return !over && slices.Contains(p.Spec.ImagePullSecrets, corev1.LocalObjectReference{Name: secret})
	}), nil
}

// AddPullSecrets appends pull secrets to a pod template, after the existing ones, and reports whether any was missing.
// If a pod names pull secrets itself, it does not get the pull secrets of its service account.
func AddPullSecrets(pod *corev1.PodSpec, names ...string) bool {
	changed := false
	for _, name := range names {
		if !slices.Contains(pod.ImagePullSecrets, corev1.LocalObjectReference{Name: name}) {
			pod.ImagePullSecrets = append(pod.ImagePullSecrets, corev1.LocalObjectReference{Name: name})
			changed = true
		}
	}
	return changed
}

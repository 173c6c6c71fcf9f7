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

// NewClient returns a client for a [Cluster]: it speaks protobuf, and has no rate limit of its own, which would stretch
// a rotation over thousands of namespaces to many minutes. What keeps an API server from being overrun is its priority
// and fairness: when it says to wait, the client waits.
func NewClient(config *rest.Config) (kubernetes.Interface, error) {
	config = rest.CopyConfig(config)
	config.QPS, config.RateLimiter = -1, nil
	config.ContentType = "application/vnd.kubernetes.protobuf"
	config.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	return kubernetes.NewForConfig(config)
}

// A Cluster is a [inject.Cluster] on the API of a real one. Set the fields before the first use; it must not be
// copied. It works while [Cluster.Run] does, and what it cannot watch, it says: see [Cluster.State].
//
// Each change carries the version that it was planned on, so that what somebody else changed meanwhile is a conflict and
// never overwritten. Secrets are written whole, which costs an API server least, with all that others have put there.
// Service accounts are patched.
type Cluster struct {
	// Client is the way to the API; see [NewClient]. It is required.
	Client kubernetes.Interface
	// Owner is the owner of the secrets that are watched: the Syncer's. Empty means "regcred". No other secret of the
	// cluster is ever listed.
	Owner string

	once     sync.Once
	watches  watches
	secrets  overlay[*secret]
	accounts overlay[*account]
	health   signal // A watch has broken for good, or is well again.

	mu        sync.Mutex
	listeners []func(namespace string)
}

var _ inject.Cluster = (*Cluster)(nil)

func (c *Cluster) owner() string {
	if c.Owner != "" {
		return c.Owner
	}
	return "regcred"
}

// Run watches the cluster until ctx ends, and then returns nil within a second: if client-go is asleep then between two
// tries, it ends by itself later. Watches that break are resumed. It must be called once.
func (c *Cluster) Run(ctx context.Context) error {
	c.start()
	run(ctx, c.watches.all()...)
	return nil
}

// OnEvent has f called with the name of a namespace after anything in it changed, or the namespace itself did. It must
// return soon. Call OnEvent before Run.
func (c *Cluster) OnEvent(f func(namespace string)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.listeners = append(c.listeners, f)
}

func (c *Cluster) event(namespace string) {
	c.mu.Lock()
	listeners := c.listeners
	c.mu.Unlock()
	for _, f := range listeners {
		f(namespace)
	}
}

// State returns what the watches have delivered, and what this Cluster wrote since. It sends no request.
//
// At first it waits until the watches are complete. After 30 seconds, or as soon as the API refuses a list for want of
// rights, the error wraps [registry.ErrClusterUnavailable], and says what was last answered for each resource. If later a
// watch is refused, or cannot be resumed for 30 seconds, it wraps [registry.ErrStale] too, and comes with what was
// known before.
func (c *Cluster) State(ctx context.Context, scope inject.Scope) ([]inject.Namespace, error) {
	if scope.Owner != c.owner() {
		return nil, fmt.Errorf("the cluster watches the secrets of owner %q, and is asked for those of %q", c.owner(), scope.Owner)
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
		object, there, _ := c.watches.namespaces.GetStore().GetByKey(name) // A store in memory has no error.
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

// InUse reports whether a pod in the namespace names the secret in imagePullSecrets; see [inject.Syncer.InUse]. It lists
// the pods of the namespace, from the cache of the API server.
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

// AddPullSecrets adds pull secrets to a pod template, behind those that it has, and reports whether any was missing. A
// pod that names pull secrets of its own does not get those of its service account.
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

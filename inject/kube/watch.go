package kube

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/pullsecret"
	"github.com/regcred/regcred/registry"
)

// The watches of a Cluster. Their stores hold what is needed of each object and no more.
type watches struct {
	namespaces, secrets, accounts *feed
}

// A namespace, a secret and an account are what is kept of each.
type (
	namespace struct{ metav1.ObjectMeta }
	secret    struct {
		metav1.ObjectMeta
		published inject.PublishedSecret
		more      bool // It has something that is not kept, beside its content.
	}
	account struct {
		metav1.ObjectMeta
		pullSecrets []string
	}
)

func (w *watches) all() []*feed { return []*feed{w.namespaces, w.secrets, w.accounts} }

// wait waits for the first lists, and for the watches that follow. What it returns wraps registry.ErrStale if the lists
// were complete, but do not stay so.
func (w *watches) wait(ctx context.Context) error {
	var late <-chan time.Time
	for {
		hopeless, err := w.incomplete()
		switch {
		case ctx.Err() != nil && err != nil:
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == nil:
			return w.stale()
		case hopeless:
			return err
		}
		if late == nil {
			late = time.After(brokenAfter)
		}
		select {
		case <-ctx.Done():
		case <-late:
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// incomplete says what has not begun and why, and whether some of it is refused; nil if all has.
func (w *watches) incomplete() (hopeless bool, err error) {
	var why []error
	for _, f := range w.all() {
		lacks := f.missing()
		if lacks == "" {
			continue
		}
		_, err := f.failure()
		if err == nil {
			err = errors.New(lacks)
		}
		why, hopeless = append(why, err), hopeless || refused(err)
	}
	if why == nil {
		return false, nil
	}
	return hopeless, &watchError{"cluster cannot be watched", append(why, registry.ErrClusterUnavailable)}
}

// stale says what is not delivered anymore; nil if all is, or may soon be again.
func (w *watches) stale() error {
	var why []error
	first := time.Now()
	for _, f := range w.all() {
		since, err := f.broken()
		if err == nil {
			continue
		}
		why = append(why, err)
		if since.Before(first) {
			first = since
		}
	}
	if why == nil {
		return nil
	}
	what := "cluster has not been watched since " + first.UTC().Format(time.RFC3339)
	return &watchError{what, append(why, registry.ErrClusterUnavailable, registry.ErrStale)}
}

// A watchError says in one line what is wrong with the watches. It wraps the errors of these, and what they mean to a
// Syncer.
type watchError struct {
	what  string
	wraps []error
}

func (e *watchError) Unwrap() []error { return e.wraps }

func (e *watchError) Error() string {
	var why []string
	for _, err := range e.wraps {
		if err != registry.ErrClusterUnavailable && err != registry.ErrStale {
			why = append(why, err.Error())
		}
	}
	return e.what + ": " + strings.Join(why, "; ")
}

func (c *Cluster) start() {
	c.once.Do(func() {
		core := c.Client.CoreV1()
		ours := func(o *metav1.ListOptions) { o.LabelSelector = inject.LabelOwner + "=" + c.owner() }
		c.watches.namespaces = newFeed(c, "namespaces", core.Namespaces(), &corev1.Namespace{}, nil)
		c.watches.secrets = newFeed(c, "secrets", core.Secrets(metav1.NamespaceAll), &corev1.Secret{}, ours)
		c.watches.accounts = newFeed(c, "serviceaccounts", core.ServiceAccounts(metav1.NamespaceAll), &corev1.ServiceAccount{}, nil)

		c.secrets.delivered, c.secrets.lost = c.watches.secrets.GetIndexer(), c.event
		c.accounts.delivered, c.accounts.lost = c.watches.accounts.GetIndexer(), c.event

		follow(c.watches.namespaces, keepNamespace, func(o *metav1.ObjectMeta, _ bool) { c.event(o.Name) })
		follow(c.watches.secrets, keepSecret, func(o *metav1.ObjectMeta, gone bool) {
			c.secrets.observe(o.Namespace, o.Name, o.ResourceVersion, gone)
			c.event(o.Namespace)
		})
		follow(c.watches.accounts, keepAccount, func(o *metav1.ObjectMeta, gone bool) {
			c.accounts.observe(o.Namespace, o.Name, o.ResourceVersion, gone)
			c.event(o.Namespace)
		})
	})
}

// follow has an informer keep what keep returns, and tell f of each event. Neither can fail before the informer runs.
func follow(informer cache.SharedIndexInformer, keep func(any) any, f func(o *metav1.ObjectMeta, gone bool)) {
	transform := func(object any) (any, error) { return keep(object), nil }
	tell := func(object any, gone bool) {
		if unknown, ok := object.(cache.DeletedFinalStateUnknown); ok {
			object = unknown.Obj
		}
		if o, ok := object.(metav1.ObjectMetaAccessor); ok {
			f(o.GetObjectMeta().(*metav1.ObjectMeta), gone)
		}
	}
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { tell(o, false) },
		UpdateFunc: func(_, o any) { tell(o, false) },
		DeleteFunc: func(o any) { tell(o, true) },
	})
	if err := errors.Join(err, informer.SetTransform(transform)); err != nil {
		panic(err)
	}
}

// trim keeps what is asked for of the metadata.
func trim(o *metav1.ObjectMeta) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: o.Namespace, Name: o.Name, UID: o.UID, ResourceVersion: o.ResourceVersion,
		Labels: o.Labels, Annotations: o.Annotations, DeletionTimestamp: o.DeletionTimestamp,
	}
}

func keepNamespace(object any) any {
	ns, ok := object.(*corev1.Namespace)
	if !ok {
		return object
	}
	kept := trim(&ns.ObjectMeta)
	kept.Annotations = nil
	return &namespace{kept}
}

// keepSecret drops the content as soon as it has its fingerprint.
func keepSecret(object any) any {
	s, ok := object.(*corev1.Secret)
	if !ok {
		return object
	}
	_, content := s.Data[pullsecret.SecretKey]
	return &secret{
		ObjectMeta: trim(&s.ObjectMeta),
		published: inject.PublishedSecret{
			Name: s.Name, Version: s.ResourceVersion, Type: string(s.Type),
			Labels: s.Labels, Annotations: s.Annotations, Deleting: s.DeletionTimestamp != nil,
			Immutable: s.Immutable != nil && *s.Immutable,
			Content:   inject.Fingerprint(s.Data[pullsecret.SecretKey]),
		},
		more: len(s.Data) > 1 || !content || s.Immutable != nil ||
			s.GenerateName != "" || s.OwnerReferences != nil || s.Finalizers != nil || s.DeletionTimestamp != nil,
	}
}

// whole returns the secret without its content, and without what else is not kept.
func (s *secret) whole() *corev1.Secret {
	return &corev1.Secret{ObjectMeta: s.ObjectMeta, Type: corev1.SecretType(s.published.Type)}
}

func keepAccount(object any) any {
	a, ok := object.(*corev1.ServiceAccount)
	if !ok {
		return object
	}
	kept := &account{ObjectMeta: trim(&a.ObjectMeta)}
	for _, ref := range a.ImagePullSecrets {
		kept.pullSecrets = append(kept.pullSecrets, ref.Name)
	}
	return kept
}

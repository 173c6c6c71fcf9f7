package kube

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/pullsecret"
	"github.com/regcred/regcred/registry"
)

// watches are the watches of a Cluster. Their stores hold only the needed fields of each object.
type watches struct {
	namespaces, secrets, accounts *feed
}

// Each of these types holds the fields that are kept of an object.
type (
	namespace struct{ metav1.ObjectMeta }
	secret    struct {
		metav1.ObjectMeta
		published inject.PublishedSecret
		more      bool // The secret has other fields that are not kept, besides its content.
		// tracked is true if the secret has managedFields, and shared is true if some are of other clients.
		tracked, shared bool
	}
	account struct {
		metav1.ObjectMeta
		pullSecrets []string
	}
)

func (w *watches) all() []*feed { return []*feed{w.namespaces, w.secrets, w.accounts} }

// wait blocks until the first lists are complete and the watches have begun. Its error wraps registry.ErrStale if the
// lists were complete but cannot be kept up to date.
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

// incomplete describes the watches that have not begun and why, and reports whether one is denied; nil if all have
// begun.
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

// stale describes the watches that are broken for good; nil if there are none.
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

// A watchError describes the failed watches in one line. It wraps their errors, and the errors of package registry
// that determine how a Syncer proceeds.
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

		foreign := func(namespace string) { c.event(namespace, false) }
		c.secrets.delivered, c.secrets.changed = c.watches.secrets.GetIndexer(), foreign
		c.accounts.delivered, c.accounts.changed = c.watches.accounts.GetIndexer(), foreign

		follow(c.watches.namespaces, keepNamespace, func(o *metav1.ObjectMeta, _ bool) { foreign(o.Name) })
		follow(c.watches.secrets, keepSecret, func(o *metav1.ObjectMeta, gone bool) {
			c.event(o.Namespace, c.secrets.observe(o.Namespace, o.Name, o.ResourceVersion, gone))
		})
		follow(c.watches.accounts, keepAccount, func(o *metav1.ObjectMeta, gone bool) {
			c.event(o.Namespace, c.accounts.observe(o.Namespace, o.Name, o.ResourceVersion, gone))
		})
	})
}

// follow makes an informer keep only the result of keep, and call f for each event. Neither call can fail before the
// informer runs.
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

// trim keeps only the needed metadata.
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

// keepSecret replaces the content with its fingerprint.
func keepSecret(object any) any {
	s, ok := object.(*corev1.Secret)
	if !ok {
		return object
	}
	_, content := s.Data[pullsecret.SecretKey]
	others := func(e metav1.ManagedFieldsEntry) bool { return e.Manager != fieldManager }
	return &secret{
		tracked: len(s.ManagedFields) > 0, shared: slices.ContainsFunc(s.ManagedFields, others),
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

// whole returns the secret without its content and without other fields that are not kept.
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

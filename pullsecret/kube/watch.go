package kube

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coreinformers "k8s.io/client-go/informers/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/regcred/regcred/pullsecret"
)

// The watches of a Cluster. Their stores hold what is needed of each object and no more.
type watches struct {
	namespaces, secrets, accounts cache.SharedIndexInformer
}

// A namespace, a secret and an account are what is kept of each.
type (
	namespace struct{ metav1.ObjectMeta }
	secret    struct {
		metav1.ObjectMeta
		published pullsecret.Published
		more      bool // It has something that is not kept, beside its content.
	}
	account struct {
		metav1.ObjectMeta
		pullSecrets []string
	}
)

func (w *watches) all() []cache.SharedIndexInformer {
	return []cache.SharedIndexInformer{w.namespaces, w.secrets, w.accounts}
}

var errNotWatched = errors.New("watches are not complete")

// wait returns once the first lists are complete.
func (w *watches) wait(ctx context.Context) error {
	for {
		complete := true
		for _, informer := range w.all() {
			complete = complete && informer.HasSynced()
		}
		if ctx.Err() != nil {
			if complete {
				return context.Cause(ctx)
			}
			return fmt.Errorf("%w: %w", errNotWatched, context.Cause(ctx))
		}
		if complete {
			return nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (c *Cluster) start() {
	c.once.Do(func() {
		byNamespace := cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc}
		ours := func(o *metav1.ListOptions) { o.LabelSelector = pullsecret.LabelOwner + "=" + c.owner() }
		c.watches.namespaces = coreinformers.NewNamespaceInformer(c.Client, 0, nil)
		c.watches.secrets = coreinformers.NewFilteredSecretInformer(c.Client, metav1.NamespaceAll, 0, byNamespace, ours)
		c.watches.accounts = coreinformers.NewServiceAccountInformer(c.Client, metav1.NamespaceAll, 0, byNamespace)

		watch(c.watches.namespaces, keepNamespace, func(o *metav1.ObjectMeta, _ bool) { c.event(o.Name) })
		watch(c.watches.secrets, keepSecret, func(o *metav1.ObjectMeta, gone bool) {
			c.secrets.seen(o.Namespace, o.Name, o.ResourceVersion, gone)
			c.event(o.Namespace)
		})
		watch(c.watches.accounts, keepAccount, func(o *metav1.ObjectMeta, gone bool) {
			c.accounts.seen(o.Namespace, o.Name, o.ResourceVersion, gone)
			c.event(o.Namespace)
		})
	})
}

// watch has an informer keep what keep returns, and tell f of each event. Neither can fail before the informer runs.
func watch(informer cache.SharedIndexInformer, keep func(any) any, f func(o *metav1.ObjectMeta, gone bool)) {
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
		published: pullsecret.Published{
			Name: s.Name, Version: s.ResourceVersion, Type: string(s.Type),
			Labels: s.Labels, Annotations: s.Annotations, Deleting: s.DeletionTimestamp != nil,
			Content: pullsecret.Fingerprint(s.Data[pullsecret.SecretKey]),
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

package kube_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/regcred/regcred/inject/injecttest"
	"github.com/regcred/regcred/inject/kube"
)

func TestCluster(t *testing.T) {
	admin, err := kube.NewClient(needAPI(t))
	require.NoError(t, err)
	client, err := kube.NewClient(withRights(t, "regcred"))
	require.NoError(t, err)
	cluster := &kube.Cluster{Client: client, Owner: "conformance"}
	background(t, cluster.Run)
	injecttest.TestCluster(t, injecttest.Fixture{Cluster: cluster, World: world{admin}, Patience: time.Minute})
}

// A world acts as the other clients of a real API.
type world struct{ kubernetes.Interface }

func (w world) CreateNamespace(ctx context.Context, name string, labels map[string]string) error {
	_, err := w.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}, metav1.CreateOptions{})
	return err
}

func (w world) NamespaceUID(ctx context.Context, name string) (string, error) {
	ns, err := w.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	return string(ns.UID), nil
}

func (w world) DeleteNamespace(ctx context.Context, name string) error {
	return w.CoreV1().Namespaces().Delete(ctx, name, metav1.DeleteOptions{})
}

func (w world) WriteSecret(ctx context.Context, namespace string, s injecttest.SecretObject) error {
	object := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: s.Name, Labels: s.Labels, Annotations: s.Annotations}, Type: corev1.SecretType(s.Type), Data: s.Data}
	if s.Immutable {
		object.Immutable = &s.Immutable
	}
	_, err := w.CoreV1().Secrets(namespace).Create(ctx, object, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		_, err = w.CoreV1().Secrets(namespace).Update(ctx, object, metav1.UpdateOptions{})
	}
	return err
}

func (w world) Secret(ctx context.Context, namespace, name string) (*injecttest.SecretObject, error) {
	s, err := w.CoreV1().Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &injecttest.SecretObject{Name: name, UID: string(s.UID), Type: string(s.Type), Labels: s.Labels, Annotations: s.Annotations, Data: s.Data, Immutable: s.Immutable != nil && *s.Immutable}, nil
}

func (w world) DeleteSecret(ctx context.Context, namespace, name string) error {
	return w.CoreV1().Secrets(namespace).Delete(ctx, name, metav1.DeleteOptions{})
}

func (w world) WriteAccount(ctx context.Context, namespace string, a injecttest.AccountObject) error {
	object := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: a.Name, Labels: a.Labels, Annotations: a.Annotations}}
	for _, name := range a.PullSecrets {
		object.ImagePullSecrets = append(object.ImagePullSecrets, corev1.LocalObjectReference{Name: name})
	}
	_, err := w.CoreV1().ServiceAccounts(namespace).Create(ctx, object, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		_, err = w.CoreV1().ServiceAccounts(namespace).Update(ctx, object, metav1.UpdateOptions{})
	}
	return err
}

func (w world) Account(ctx context.Context, namespace, name string) (*injecttest.AccountObject, error) {
	a, err := w.CoreV1().ServiceAccounts(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	object := &injecttest.AccountObject{Name: name, Labels: a.Labels, Annotations: a.Annotations}
	for _, ref := range a.ImagePullSecrets {
		object.PullSecrets = append(object.PullSecrets, ref.Name)
	}
	return object, nil
}

func (w world) DeleteAccount(ctx context.Context, namespace, name string) error {
	return w.CoreV1().ServiceAccounts(namespace).Delete(ctx, name, metav1.DeleteOptions{})
}

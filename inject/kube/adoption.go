package kube

import (
	"context"
	"crypto/rand"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
)

// adoptionKeyName is the name of the key in the data of the Secret.
const adoptionKeyName = "adoption-key"

// minAdoptionKey is the minimum length of a key in bytes, which [inject.Syncer.SetAdoptionKey] requires.
const minAdoptionKey = 16

// AdoptionKey returns the key for [inject.Syncer.AdoptionKey] that is kept in a Secret of the program's own namespace.
// If there is no such Secret, AdoptionKey creates one with 32 random bytes; if several replicas do so at once, they
// all get the same key. To rotate the key, delete the Secret, call AdoptionKey again, and pass the result to
// [Controller.SetAdoptionKey]. If the program is restarted instead, each credential is issued once again.
//
// The rights of the role regcred in rbac.yaml suffice. If the Secret exists without a key of at least 16 bytes in
// it, the error wraps [registry.ErrInvalid].
func AdoptionKey(ctx context.Context, client kubernetes.Interface, namespace, name string) (credentials.Secret, error) {
	secrets := client.CoreV1().Secrets(namespace)
	s, err := secrets.Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		key := make([]byte, 32)
		_, _ = rand.Read(key) // Never fails: crypto/rand ends the program instead.
		s, err = secrets.Create(ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
			Type:       corev1.SecretTypeOpaque, Immutable: new(true),
			Data: map[string][]byte{adoptionKeyName: key},
		}, metav1.CreateOptions{FieldManager: fieldManager})
		if apierrors.IsAlreadyExists(err) { // Another replica was first.
			s, err = secrets.Get(ctx, name, metav1.GetOptions{})
		}
	}
	if err != nil {
		return credentials.Secret{}, fmt.Errorf("adoption key in secret %s/%s: %w", namespace, name, err)
	}
	key := credentials.NewSecret(string(s.Data[adoptionKeyName]))
	switch n := key.Len(); {
	case n > 0 && n < minAdoptionKey:
		return credentials.Secret{}, fmt.Errorf("adoption key in secret %s/%s: %w: data %q has %d bytes: expected at least %d random ones", namespace, name, registry.ErrInvalid, adoptionKeyName, n, minAdoptionKey)
	case n == 0:
		return credentials.Secret{}, fmt.Errorf("adoption key in secret %s/%s: %w: it has no data %q", namespace, name, registry.ErrInvalid, adoptionKeyName)
	}
	return key, nil
}

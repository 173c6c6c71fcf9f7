package injecttest

import "context"

// A World is everybody else in a cluster: it sets the scene, changes things behind the back of the [inject.Cluster]
// under test, and sees what there really is.
type World interface {
	// CreateNamespace makes a namespace with these labels.
	CreateNamespace(ctx context.Context, name string, labels map[string]string) error
	// NamespaceUID returns the UID of a namespace that is there; empty if it has none.
	NamespaceUID(ctx context.Context, name string) (string, error)
	// DeleteNamespace starts to delete a namespace with all that is in it. It may stay terminating for ever, or be gone
	// at once.
	DeleteNamespace(ctx context.Context, name string) error

	// WriteSecret makes a secret, or overwrites all of it but its UID.
	WriteSecret(ctx context.Context, namespace string, s SecretObject) error
	// Secret returns a secret; nil if there is none of that name.
	Secret(ctx context.Context, namespace, name string) (*SecretObject, error)
	// DeleteSecret deletes a secret that is there.
	DeleteSecret(ctx context.Context, namespace, name string) error

	// WriteAccount makes a service account, or overwrites all of it.
	WriteAccount(ctx context.Context, namespace string, a AccountObject) error
	// Account returns a service account; nil if there is none of that name.
	Account(ctx context.Context, namespace, name string) (*AccountObject, error)
	// DeleteAccount deletes a service account that is there.
	DeleteAccount(ctx context.Context, namespace, name string) error
}

// A SecretObject is a secret as it is stored.
type SecretObject struct {
	Name string
	// UID is new for each object, also for one that has the name of one that was deleted. WriteSecret does not look at
	// it.
	UID                 string
	Type                string
	Labels, Annotations map[string]string
	Data                map[string][]byte
	// Immutable says that Data cannot be changed.
	Immutable bool
}

// An AccountObject is a service account as it is stored.
type AccountObject struct {
	Name                string
	Labels, Annotations map[string]string
	// PullSecrets are the names in imagePullSecrets.
	PullSecrets []string
}

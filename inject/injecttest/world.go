package injecttest

import "context"

// A World acts as the other clients of a cluster: it creates objects, changes them without the [inject.Cluster] under
// test, and reads their stored state.
type World interface {
	// CreateNamespace creates a namespace with these labels.
	CreateNamespace(ctx context.Context, name string, labels map[string]string) error
	// NamespaceUID returns the UID of an existing namespace; empty if it has none.
	NamespaceUID(ctx context.Context, name string) (string, error)
	// DeleteNamespace starts to delete a namespace with everything in it. The namespace may stay terminating for ever,
	// or be gone at once.
	DeleteNamespace(ctx context.Context, name string) error

	// WriteSecret creates a secret, or overwrites everything in it except its UID.
	WriteSecret(ctx context.Context, namespace string, s SecretObject) error
	// Secret returns a secret; nil if there is none of that name.
	Secret(ctx context.Context, namespace, name string) (*SecretObject, error)
	// DeleteSecret deletes an existing secret.
	DeleteSecret(ctx context.Context, namespace, name string) error

	// WriteAccount creates a service account, or overwrites everything in it.
	WriteAccount(ctx context.Context, namespace string, a AccountObject) error
	// Account returns a service account; nil if there is none of that name.
	Account(ctx context.Context, namespace, name string) (*AccountObject, error)
	// DeleteAccount deletes an existing service account.
	DeleteAccount(ctx context.Context, namespace, name string) error
}

// A SecretObject is a secret as it is stored.
type SecretObject struct {
	Name string
	// UID identifies the object: a recreated object of the same name has a new one. WriteSecret ignores it.
	UID                 string
	Type                string
	Labels, Annotations map[string]string
	Data                map[string][]byte
	// Immutable is true if Data cannot be changed.
	Immutable bool
}

// An AccountObject is a service account as it is stored.
type AccountObject struct {
	Name                string
	Labels, Annotations map[string]string
	// PullSecrets are the names in imagePullSecrets.
	PullSecrets []string
}

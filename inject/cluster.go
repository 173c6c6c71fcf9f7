package inject

import (
	"context"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/pullsecret"
)

// A Cluster reads and changes the parts of a Kubernetes cluster that a [Syncer] needs. Package kube implements it on a
// real API; package injecttest has one in memory and a conformance suite.
//
// State is called often, up to once for each event. It returns what watches have delivered and may lag behind the API
// server, but it reflects all changes made through this Cluster. Apply never relies on State: each change carries the
// version of the object on which it was planned.
//
//   - All methods are safe for concurrent use, and return soon after ctx ends, with an error that wraps
//     [context.Cause] of ctx.
//   - No error holds the content of a secret.
//   - An error of Apply wraps [registry.ErrConflict] if the object changed after the change was planned,
//     [registry.ErrNameTaken] if a secret of another owner has the name, [registry.ErrNamespaceGone] if the namespace
//     is deleted or being deleted, and [registry.ErrClusterUnavailable] if the cluster does not respond in time.
type Cluster interface {
	// State returns the existing namespaces in the scope, with the owner's objects in them. The caller may keep the
	// result and must not modify it. If some namespaces cannot be watched any more, State returns their last known
	// content together with an error that wraps [registry.ErrStale]. A pass continues with stale content, because a
	// late renewal is better than none and a change planned on outdated content fails as a conflict. The pass reports
	// the error as a [Problem].
	State(ctx context.Context, scope Scope) ([]Namespace, error)

	// Apply makes one change, entirely or not at all; see [Change].
	Apply(ctx context.Context, change Change) error

	// Read returns the value of .dockerconfigjson in a secret that State has returned; nil if it has no such key. If
	// the secret is gone, the error wraps [registry.ErrConflict]. A Syncer calls Read once for each credential that it
	// adopts.
	Read(ctx context.Context, namespace, name string) ([]byte, error)
}

// A Scope limits the result of [Cluster.State] to an owner and some namespaces.
type Scope struct {
	// Owner is the owner of the secrets and links.
	Owner string
	// Namespaces are the names of the namespaces. Empty means all namespaces.
	Namespaces []string
}

// A Namespace is the state of a namespace and of the objects in it.
type Namespace struct {
	Name string
	// UID identifies the namespace: a namespace that is deleted and recreated under the same name has a new one. If
	// the cluster has no UIDs, it is empty, and a namespace that was recreated between two passes is taken for the old
	// one.
	UID    string
	Labels map[string]string
	// Terminating is true if the namespace is being deleted. Nothing can be created in it.
	Terminating bool

	// Secrets are the secrets of the owner, by [LabelOwner], and no others.
	Secrets []PublishedSecret
	// Accounts are all service accounts of the namespace.
	Accounts []Account
}

// A PublishedSecret is a secret of the owner that exists in a cluster.
type PublishedSecret struct {
	Name string
	// Version changes with every write to the secret.
	Version string
	// Type is "kubernetes.io/dockerconfigjson" for a correct secret.
	Type                string
	Labels, Annotations map[string]string
	// Immutable is true if the content of the secret cannot be changed.
	Immutable bool
	// Deleting is true if the secret is being deleted and waits for a finalizer.
	Deleting bool
	// Content is the [Fingerprint] of the value of .dockerconfigjson; zero if there is none.
	Content credentials.Fingerprint
}

var noContent = credentials.Fingerprint{}

// Fingerprint returns a fingerprint of the content of a secret, the bytes of .dockerconfigjson. Fingerprints of
// different processes are not comparable. The fingerprint of no bytes is zero.
func Fingerprint(data []byte) credentials.Fingerprint {
	if len(data) == 0 {
		return noContent
	}
	return credentials.FingerprintOf("pull secret", data)
}

// An Account is a service account.
type Account struct {
	Name string
	// Version changes at least with every write to PullSecrets.
	Version string
	Labels  map[string]string
	// PullSecrets are the names in imagePullSecrets, in their order.
	PullSecrets []string
	// Linked are the names that the owner has added, according to [LinkedAnnotation]. The owner does not remove
	// entries of others, whatever their names.
	Linked []string
}

// An Action is the kind of a [Change].
type Action string

// The actions, in the order in which they are made within a namespace. A secret is created before an account names it,
// and removed from all accounts before it is deleted.
const (
	// CreateSecret creates Change.Secret. It fails with [registry.ErrNameTaken] if another owner has a secret of that
	// name, and with [registry.ErrConflict] if the owner itself has one.
	CreateSecret Action = "create secret"
	// UpdateSecret sets the content, labels and annotations of Change.Secret in place. The name, the UID and
	// everything else in the secret stay.
	UpdateSecret Action = "update secret"
	// ReplaceSecret deletes and recreates the secret, because a wrong type, or an immutable content, cannot be changed.
	ReplaceSecret Action = "replace secret"
	// LinkAccount changes the imagePullSecrets of a service account: it appends those names of Change.Link that are
	// missing, in their order, and removes the names of Change.Unlink. The order of the other names stays. An
	// annotation of the account records which names the owner has added.
	LinkAccount Action = "link account"
	// DeleteSecret deletes the secret. It succeeds if the secret is already gone.
	DeleteSecret Action = "delete secret"
)

// A Change is one step towards the desired state. All actions except CreateSecret fail with [registry.ErrConflict] if
// the object is gone or no longer has Version. All actions fail with [registry.ErrNamespaceGone] if the namespace is
// gone; actions that create an object also fail so if the namespace is terminating.
type Change struct {
	Action    Action
	Owner     string
	Namespace string
	// Name is the name of the secret or, for LinkAccount, of the service account.
	Name string
	// Version is the version of the object on which the change was planned. It is empty for CreateSecret.
	Version string
	// Secret is the secret that CreateSecret, UpdateSecret and ReplaceSecret write.
	Secret pullsecret.Secret
	// Link and Unlink are names of secrets, for LinkAccount only.
	Link, Unlink []string
	// Reason explains the change to people.
	Reason string

	// content is the fingerprint of the content of Secret.
	content credentials.Fingerprint

	// renamed is true if the secret to delete has the old name of a target. If the secret turns out to be in use,
	// renewal keeps it fresh instead; see Syncer.InUse.
	renamed bool
	renewal []Change
}

// Labels and annotations that the owner sets on secrets.
const (
	// LabelManagedBy is one of the labels that Kubernetes recommends. Its value is "regcred".
	LabelManagedBy = "app.kubernetes.io/managed-by"
	// LabelOwner holds the owner of the secret; see [Syncer.Owner].
	LabelOwner = "regcred.github.io/owner"
	// AnnotationProfiles holds the names of the profiles in the secret, separated by commas.
	AnnotationProfiles = "regcred.github.io/profiles"
	// AnnotationIssuedAt and AnnotationExpiresAt hold, in RFC 3339, the issue time of the newest credential in the
	// secret and the earliest expiry of any of them. They are absent if the time is unknown.
	AnnotationIssuedAt  = "regcred.github.io/issued-at"
	AnnotationExpiresAt = "regcred.github.io/expires-at"
	// AnnotationOrigin holds, for each profile whose credential may be adopted, the times of issue and expiry and a
	// signature. The signature is made with [Syncer.AdoptionKey] and covers the times, the credential, and the login,
	// endpoint and transport that it was made from. Without a key, the annotation is absent.
	AnnotationOrigin = "regcred.github.io/origin"
)

// LinkedAnnotation returns the annotation of a service account that lists, separated by commas, the pull secrets that
// the owner has added to it.
func LinkedAnnotation(owner string) string { return owner + ".regcred.github.io/linked" }

package inject

import (
	"context"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/pullsecret"
)

// A Cluster is a Kubernetes cluster as far as a [Syncer] needs one: what is there, and one change at a time. Package
// kube has the one for a real API, package injecttest one in memory and a conformance suite.
//
// State is asked often, up to once for each event. It answers from what watches have delivered and may lag behind, but
// it sees the changes that this Cluster made itself. Apply never acts on what State said: a change names the version
// that it was planned on.
//
//   - Both are safe for concurrent use, and return soon after ctx ends, with an error that wraps [context.Cause] of
//     ctx.
//   - No error holds the content of a secret.
//   - An error of Apply wraps [registry.ErrConflict] if the object changed after the change was planned,
//     [registry.ErrNameTaken] if a secret of another owner has the name, [registry.ErrNamespaceGone] if the namespace is
//     deleted or being deleted, and [registry.ErrClusterUnavailable] if the cluster does not respond in time.
type Cluster interface {
	// State returns the namespaces in the scope that exist, with what the scope's owner has in them. The caller may
	// keep and must not modify it. With an error that wraps [registry.ErrStale], it is what was last known of those that
	// cannot be watched any more. A pass goes on with that, because a renewal is better than none, and a change that is
	// planned on what has changed is a conflict; and it reports the error as a [Problem].
	State(ctx context.Context, scope Scope) ([]Namespace, error)

	// Apply makes one change, whole or not at all; see [Change].
	Apply(ctx context.Context, change Change) error

	// Read returns what is under .dockerconfigjson in a secret that State has shown; nil if nothing is. A secret that is
	// gone is a [registry.ErrConflict]. It is called once for each credential that a Syncer adopts.
	Read(ctx context.Context, namespace, name string) ([]byte, error)
}

// A Scope says what [Cluster.State] is asked for.
type Scope struct {
	// Owner is whose secrets and links are meant.
	Owner string
	// Namespaces are the names of those that are meant. None means all of them.
	Namespaces []string
}

// A Namespace is what there is in a namespace.
type Namespace struct {
	Name string
	// UID is new for each namespace, also for one that has the name of one that was deleted. Empty means that the cluster
	// knows none; then one that was made again between two looks is taken for the one that was there before.
	UID    string
	Labels map[string]string
	// Terminating says that it is being deleted: nothing can be created there.
	Terminating bool

	// Secrets are those of the owner, by [LabelOwner], and no others.
	Secrets []PublishedSecret
	// Accounts are all service accounts.
	Accounts []Account
}

// A PublishedSecret is a secret that is in a cluster.
type PublishedSecret struct {
	Name string
	// Version changes with every write to the secret.
	Version string
	// Type is "kubernetes.io/dockerconfigjson" where all is well.
	Type                string
	Labels, Annotations map[string]string
	// Immutable says that its content cannot be changed.
	Immutable bool
	// Deleting says that it is being deleted, and waits for somebody's finalizer.
	Deleting bool
	// Content is the [Fingerprint] of what stands under .dockerconfigjson; zero if nothing does.
	Content credentials.Fingerprint
}

var noContent = credentials.Fingerprint{}

// Fingerprint stands for the content of a secret, the bytes under .dockerconfigjson. It means nothing to another
// process. That of no bytes is zero.
func Fingerprint(data []byte) credentials.Fingerprint {
	if len(data) == 0 {
		return noContent
	}
	d := credentials.NewHasher("pull secret")
	d.Text(string(data))
	return d.Sum()
}

// An Account is a service account.
type Account struct {
	Name string
	// Version changes at least with every write to PullSecrets.
	Version string
	Labels  map[string]string
	// PullSecrets are the names in imagePullSecrets, in their order.
	PullSecrets []string
	// Linked are the names that the owner has put there, by [LinkedAnnotation]. What others have put there is not the
	// owner's to remove, whatever its name.
	Linked []string
}

// An Action is what a [Change] does.
type Action string

// The actions, in the order in which they are made within a namespace: a secret is there before an account names it,
// and is named by none before it goes.
const (
	// CreateSecret makes Change.Secret. It fails with [registry.ErrNameTaken] if there is a secret of that name that is not the
	// owner's, and with [registry.ErrConflict] if there is one that is.
	CreateSecret Action = "create secret"
	// UpdateSecret sets the content, the labels and the annotations of Change.Secret, in place: name and UID stay, and
	// so does all else in it.
	UpdateSecret Action = "update secret"
	// ReplaceSecret deletes the secret and creates it again, for a wrong type, which cannot be changed.
	ReplaceSecret Action = "replace secret"
	// LinkAccount changes the imagePullSecrets of a service account: it appends Change.Link in their order, where not
	// there yet, takes Change.Unlink out, and leaves the order of the others as it is. Which of its names are the
	// owner's stays written down at the account.
	LinkAccount Action = "link account"
	// DeleteSecret deletes the secret. That it is gone already is a success.
	DeleteSecret Action = "delete secret"
)

// A Change is one step towards what is wanted. All actions but CreateSecret fail with [registry.ErrConflict] if the object is
// not at Version anymore, or is gone; all fail with [registry.ErrNamespaceGone] if the namespace is gone, and those that create
// something also if it is terminating.
type Change struct {
	Action    Action
	Owner     string
	Namespace string
	// Name is that of the secret, or for LinkAccount of the service account.
	Name string
	// Version is that of the object when the change was planned. Empty for CreateSecret.
	Version string
	// Secret is what CreateSecret, UpdateSecret and ReplaceSecret write.
	Secret pullsecret.Secret
	// Link and Unlink are names of secrets, for LinkAccount.
	Link, Unlink []string
	// Reason says why, for people.
	Reason string

	// renamed says that the secret to delete has the old name of a target, and renewal is what keeps it fresh if it turns
	// out to be in use; see Syncer.InUse.
	renamed bool
	renewal []Change
}

// What marks a secret and a service account in a cluster.
const (
	// LabelManagedBy has the value "regcred", by the labels that Kubernetes recommends.
	LabelManagedBy = "app.kubernetes.io/managed-by"
	// LabelOwner says whose secret it is; see [Syncer.Owner].
	LabelOwner = "regcred.github.io/owner"
	// AnnotationProfiles holds the names of the profiles in the secret, separated by commas.
	AnnotationProfiles = "regcred.github.io/profiles"
	// AnnotationIssuedAt and AnnotationExpiresAt are, in RFC 3339, when the newest credential in the secret was issued
	// and when the first of them expires. They are missing where that is not known.
	AnnotationIssuedAt  = "regcred.github.io/issued-at"
	AnnotationExpiresAt = "regcred.github.io/expires-at"
	// AnnotationOrigin says, for each profile whose credential may be adopted, when it was issued and expires, and signs
	// that with [Syncer.AdoptionKey], together with the credential and the login, endpoint and transport that it was made
	// from. It is missing without a key.
	AnnotationOrigin = "regcred.github.io/origin"
)

// LinkedAnnotation is the annotation of a service account that holds, separated by commas, the pull secrets that the
// owner has put there.
func LinkedAnnotation(owner string) string { return owner + ".regcred.github.io/linked" }

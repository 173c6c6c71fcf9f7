package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	typedv1 "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/pullsecret"
	"github.com/regcred/regcred/registry"
)

// fieldManager identifies the writer in managedFields.
const fieldManager = "regcred"

// Apply makes one change with one request. ReplaceSecret needs two requests; if the second fails, the secret is
// missing until the next pass.
func (c *Cluster) Apply(ctx context.Context, change inject.Change) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	c.start()
	var err error
	switch change.Action {
	case inject.CreateSecret:
		err = c.create(ctx, change)
	case inject.UpdateSecret:
		err = c.update(ctx, change)
	case inject.ReplaceSecret:
		var gone bool
		if gone, err = c.delete(ctx, change); gone {
			err = registry.ErrConflict
		}
		if err == nil {
			err = c.create(ctx, change)
		}
	case inject.DeleteSecret:
		_, err = c.delete(ctx, change)
	case inject.LinkAccount:
		err = c.link(ctx, change)
	default:
		err = errors.New("no such action")
	}
	if err != nil {
		return fmt.Errorf("%s %s/%s: %w", change.Action, change.Namespace, change.Name, classify(ctx, change, err))
	}
	return nil
}

func (c *Cluster) create(ctx context.Context, change inject.Change) error {
	s := change.Secret
	object := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: change.Namespace, Name: change.Name, Labels: s.Labels, Annotations: s.Annotations},
		Type:       corev1.SecretType(pullsecret.SecretType),
		Data:       map[string][]byte{pullsecret.SecretKey: s.Config.Reveal()},
	}
	err := c.writeSecret(change, "", func(client typedv1.SecretInterface) (*corev1.Secret, error) {
		return client.Create(ctx, object, metav1.CreateOptions{FieldManager: fieldManager})
	})
	if apierrors.IsAlreadyExists(err) {
		return c.inTheWay(ctx, change)
	}
	return err
}

// inTheWay reports the owner of the secret that already has the name.
func (c *Cluster) inTheWay(ctx context.Context, change inject.Change) error {
	have, err := c.Client.CoreV1().Secrets(change.Namespace).Get(ctx, change.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return registry.ErrConflict // It was deleted meanwhile.
	case err != nil:
		return err
	case have.Labels[inject.LabelOwner] != change.Owner:
		return fmt.Errorf("%w: a secret of that name belongs to another owner", registry.ErrNameTaken)
	}
	return registry.ErrConflict
}

// update writes the secret as delivered by the watch, with the owner's fields changed. All other fields stay: the
// version ensures that the watch has delivered the current object, and fields that are not kept are read again.
//
// If no other client has fields in the secret, the update removes its managedFields. The API server then no longer
// computes which fields each update changes, which is an eighth of its work for it:
// https://kubernetes.io/docs/reference/using-api/server-side-apply/#clearing-managedfields
func (c *Cluster) update(ctx context.Context, change inject.Change) error {
	have := c.secrets.in(change.Namespace)[change.Name]
	if have == nil || have.ResourceVersion != change.Version {
		return registry.ErrConflict
	}
	content := change.Secret.Config.Reveal()
	if have.published.Immutable && have.published.Content != inject.Fingerprint(content) {
		return registry.ErrSecretImmutable
	}
	object := have.whole()
	if have.more {
		var err error
		if object, err = c.Client.CoreV1().Secrets(change.Namespace).Get(ctx, change.Name, metav1.GetOptions{}); err != nil {
			return err
		}
		if object.ResourceVersion != change.Version {
			return registry.ErrConflict
		}
	}
	object.Labels = with(object.Labels, change.Secret.Labels)
	object.Annotations = with(object.Annotations, change.Secret.Annotations)
	object.Data = with(object.Data, map[string][]byte{pullsecret.SecretKey: content})
	if have.tracked && !have.shared {
		object.ManagedFields = []metav1.ManagedFieldsEntry{{}} // Removes them; an empty list would keep them.
	}
	return c.writeSecret(change, change.Version, func(client typedv1.SecretInterface) (*corev1.Secret, error) {
		return client.Update(ctx, object, metav1.UpdateOptions{FieldManager: fieldManager})
	})
}

func (c *Cluster) writeSecret(change inject.Change, before string, request func(typedv1.SecretInterface) (*corev1.Secret, error)) error {
	return c.secrets.write(change.Namespace, change.Name, before, func() (*secret, error) {
		now, err := request(c.Client.CoreV1().Secrets(change.Namespace))
		if err != nil {
			return nil, err
		}
		return keepSecret(now).(*secret), nil
	})
}

// delete deletes the secret, and reports whether it was already gone. It then counts as an own write, too: otherwise the
// Cluster would show the secret until the watch delivers its deletion.
func (c *Cluster) delete(ctx context.Context, change inject.Change) (gone bool, err error) {
	options := metav1.DeleteOptions{Preconditions: &metav1.Preconditions{ResourceVersion: &change.Version}}
	err = c.secrets.delete(change.Namespace, change.Name, change.Version, func() error {
		err := c.Client.CoreV1().Secrets(change.Namespace).Delete(ctx, change.Name, options)
		if gone = apierrors.IsNotFound(err); gone {
			return nil
		}
		return err
	})
	return gone, err
}

// link writes the whole list, which is atomic in Kubernetes, on the condition that the account has not changed since
// the list was computed.
func (c *Cluster) link(ctx context.Context, change inject.Change) error {
	have := c.accounts.in(change.Namespace)[change.Name]
	if have == nil || have.ResourceVersion != change.Version {
		return registry.ErrConflict
	}
	names, linked := slices.Clone(have.pullSecrets), slices.Clone(have.linked(change.Owner))
	for _, name := range change.Link {
		for _, list := range []*[]string{&names, &linked} {
			if !slices.Contains(*list, name) {
				*list = append(*list, name)
			}
		}
	}
	gone := func(name string) bool { return slices.Contains(change.Unlink, name) }
	names, linked = slices.DeleteFunc(names, gone), slices.DeleteFunc(linked, gone)

	refs := make([]corev1.LocalObjectReference, len(names)) // Not nil, so that an empty list is written as an empty list.
	for i, name := range names {
		refs[i].Name = name
	}
	var note any // Null removes the annotation: RFC 7386.
	if len(linked) > 0 {
		note = strings.Join(linked, ",")
	}
	patch, err := json.Marshal(map[string]any{
		"metadata":         map[string]any{"resourceVersion": change.Version, "annotations": map[string]any{inject.LinkedAnnotation(change.Owner): note}},
		"imagePullSecrets": refs,
	})
	if err != nil {
		return err
	}
	return c.accounts.write(change.Namespace, change.Name, change.Version, func() (*account, error) {
		updated, err := c.Client.CoreV1().ServiceAccounts(change.Namespace).Patch(ctx, change.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: fieldManager})
		if err != nil {
			return nil, err
		}
		return keepAccount(updated).(*account), nil
	})
}

// classify wraps an API error in the matching error of package registry. An API server does not quote the content of
// secrets.
func classify(ctx context.Context, change inject.Change, err error) error {
	var status apierrors.APIStatus
	answered := errors.As(err, &status)
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %w", context.Cause(ctx), err)
	case errors.Is(err, registry.ErrConflict), errors.Is(err, registry.ErrSecretImmutable), errors.Is(err, registry.ErrNameTaken):
		return err
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return fmt.Errorf("%w: %w", registry.ErrNamespaceGone, err)
	case apierrors.IsNotFound(err):
		if details := status.Status().Details; change.Action == inject.CreateSecret || details != nil && details.Kind == "namespaces" {
			return fmt.Errorf("%w: %w", registry.ErrNamespaceGone, err)
		}
		return fmt.Errorf("%w: %w", registry.ErrConflict, err)
	case apierrors.IsConflict(err):
		return fmt.Errorf("%w: %w", registry.ErrConflict, err)
	case !answered, status.Status().Code >= http.StatusInternalServerError, apierrors.IsTooManyRequests(err):
		return fmt.Errorf("%w: %w", registry.ErrClusterUnavailable, err)
	}
	return err
}

// with returns the union of both maps. For keys in both, the value of ours wins.
func with[V any](have, ours map[string]V) map[string]V {
	both := make(map[string]V, len(have)+len(ours))
	maps.Copy(both, have)
	maps.Copy(both, ours)
	return both
}

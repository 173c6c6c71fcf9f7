package operator

import (
	"context"
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/examples/operator/api/v1alpha1"
	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/inject/kube"
	"github.com/regcred/regcred/registry"
)

// reportTimeout limits the time to write all statuses after a pass.
const reportTimeout = 30 * time.Second

// report writes the results of a pass into the status of each profile.
func (o *operator) report(pass kube.Pass) {
	ctx, cancel := context.WithTimeout(context.Background(), reportTimeout)
	defer cancel()
	if err := o.writeStatus(ctx, pass); err != nil {
		ctrl.Log.Error(err, "cannot write the status of a profile") // The next pass tries again.
	}
}

func (o *operator) writeStatus(ctx context.Context, pass kube.Pass) error {
	if len(pass.Targets) == 0 {
		return nil
	}
	found, _ := o.asked.Load(&pass.Targets[0])
	profiles, _ := found.(map[string]asked) // See targets.
	var list v1alpha1.RegistryProfileList
	if err := o.client.List(ctx, &list); err != nil {
		return err
	}
	state, err := o.cluster.State(ctx, inject.Scope{Owner: owner})
	if err != nil && !errors.Is(err, registry.ErrClusterUnavailable) {
		return err
	}
	known := err == nil || errors.Is(err, registry.ErrStale)
	cached := make(map[credentials.Key]credentials.Entry)
	for _, entry := range o.pipeline.Cache.Snapshot() {
		cached[entry.Key] = entry
	}
	var errs []error
	for i := range list.Items {
		p := &list.Items[i]
		before := p.DeepCopy()
		if profile, ok := profiles[p.Name]; ok {
			meta.SetStatusCondition(&p.Status.Conditions, ready(profile, pass))
			expiring := pass.LoginExpiring(p.Name)
			expiring.ObservedGeneration = profile.generation
			meta.SetStatusCondition(&p.Status.Conditions, expiring)
			if at, known := nextCall(profile.keys, cached); known {
				p.Status.RenewAt = seconds(at)
			}
		}
		if known {
			p.Status.Secrets, p.Status.ExpiresAt = published(state, p.Name)
		}
		if equality.Semantic.DeepEqual(before.Status, p.Status) {
			continue
		}
		if err := o.client.Status().Patch(ctx, p, client.MergeFrom(before)); err != nil {
			errs = append(errs, client.IgnoreNotFound(err))
			continue
		}
		o.tell(before, p)
	}
	return errors.Join(errs...)
}

// ready returns the condition of a profile after the pass. It is Invalid if the profile could not be read.
func ready(profile asked, pass kube.Pass) metav1.Condition {
	condition := pass.Ready(profile.targets...)
	if profile.err != nil {
		condition.Status, condition.Reason, condition.Message = metav1.ConditionFalse, "Invalid", profile.err.Error()
	}
	// The profile may have changed since; then another pass follows soon.
	condition.ObservedGeneration = profile.generation
	return condition
}

// nextCall returns the time of the first of the next calls to issuers; zero if none is due. While all issuers are being
// called, it is unknown.
func nextCall(keys []credentials.Key, cached map[credentials.Key]credentials.Entry) (at time.Time, known bool) {
	for _, key := range keys {
		entry := cached[key]
		if entry.Calling {
			continue
		}
		known = true
		if at.IsZero() || !entry.NextCall.IsZero() && entry.NextCall.Before(at) {
			at = entry.NextCall
		}
	}
	return at, known || len(keys) == 0
}

// seconds returns an instant with the resolution of the API; nil for the zero time.
func seconds(at time.Time) *metav1.Time {
	if at.IsZero() {
		return nil
	}
	return &metav1.Time{Time: at.Truncate(time.Second)}
}

// published returns the number of namespaces with a secret of that profile, and their earliest expiry.
func published(state []inject.Namespace, name string) (count int, expires *metav1.Time) {
	for _, ns := range state {
		there := false
		for _, secret := range ns.Secrets {
			if secret.Name != name && secret.Name != targetName(ns.Name, name) {
				continue
			}
			there = true // Both, while pods use the old name of a login that was changed.
			at, err := time.Parse(time.RFC3339, secret.Annotations[inject.AnnotationExpiresAt])
			if err == nil && (expires == nil || at.Before(expires.Time)) {
				expires = &metav1.Time{Time: at}
			}
		}
		if there {
			count++
		}
	}
	return count, expires
}

// object returns the profile of a target, for events about the target in all namespaces: a rejected login, a login that
// expires soon. It returns nil if the profile could not be read, because tell records that event.
func (o *operator) object(target string) runtime.Object {
	profile := profileName(target)
	if _, unreadable := o.unreadable.Load(profile); unreadable {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), reportTimeout)
	defer cancel()
	var p v1alpha1.RegistryProfile
	if err := o.client.Get(ctx, client.ObjectKey{Name: profile}, &p); err != nil { // From the cache: it was deleted.
		return nil
	}
	return &p
}

// tell records an event if the profile has become ready or can no longer be read. [kube.Events] reports other problems.
func (o *operator) tell(before, after *v1alpha1.RegistryProfile) {
	was := meta.FindStatusCondition(before.Status.Conditions, kube.ConditionReady)
	is := meta.FindStatusCondition(after.Status.Conditions, kube.ConditionReady)
	if is == nil || was != nil && was.Status == is.Status && was.Reason == is.Reason {
		return
	}
	if is.Status == metav1.ConditionTrue {
		o.events.Event(after, corev1.EventTypeNormal, is.Reason, "the pull secret is in all selected namespaces")
		return
	}
	if _, unreadable := o.unreadable.Load(after.Name); unreadable {
		o.events.Event(after, corev1.EventTypeWarning, is.Reason, is.Message)
	}
}

package operator

import (
	"context"
	"errors"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/examples/operator/api/v1alpha1"
	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/registry"
)

// targets returns the targets of all profiles.
func (o *operator) targets(ctx context.Context) ([]inject.Target, error) {
	var list v1alpha1.RegistryProfileList
	if err := o.client.List(ctx, &list); err != nil {
		return nil, err
	}
	expanded := slices.ContainsFunc(list.Items, func(p v1alpha1.RegistryProfile) bool { return perNamespace(p.Spec.Login) })
	o.expanded.Store(expanded) // Before the list of namespaces: a change after it causes another pass.
	namespaces := &metav1.PartialObjectMetadataList{}
	if expanded {
		namespaces.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("NamespaceList"))
		if err := o.client.List(ctx, namespaces); err != nil {
			return nil, err
		}
	}
	var all []inject.Target
	profiles, used := make(map[string]asked), make(map[string]bool)
	for _, p := range list.Items {
		targets, invalid := o.targetsOf(ctx, &p, namespaces.Items)
		if invalid != nil {
			o.unreadable.Store(p.Name, true)
		} else {
			o.unreadable.Delete(p.Name)
		}
		found := asked{generation: p.Generation, err: invalid}
		for _, t := range targets {
			found.targets = append(found.targets, t.Name)
			found.keys = append(found.keys, providers.Key(o.pipeline.Provider, t.Profiles[0]))
		}
		profiles[p.Name] = found
		all = append(all, targets...)
		used[p.Spec.Login.SecretName], used[p.Spec.Transport.SecretName] = true, true
	}
	o.logins.keep(used)
	if len(all) > 0 {
		o.asked.Clear() // The entry of the previous list. A pass that still uses that list reports nothing.
		o.asked.Store(&all[0], profiles)
	}
	return all, nil
}

// perNamespace reports whether each namespace has a login of its own: its account has no namespace in the profile.
func perNamespace(l v1alpha1.Login) bool {
	account := accountOf(l)
	return account != nil && account.Namespace == ""
}

// accountOf returns the service account of a login, or nil.
func accountOf(l v1alpha1.Login) *v1alpha1.ServiceAccount {
	switch {
	case l.Federated != nil:
		return &l.Federated.Subject.Kubernetes
	case l.AWS != nil:
		return &l.AWS.WebIdentity.Subject.Kubernetes
	case l.Google != nil:
		return &l.Google.Federation.Subject.Kubernetes
	case l.Azure != nil:
		return &l.Azure.Subject.Kubernetes
	}
	return nil
}

// targetName returns the name of the pull secret in a namespace that has a login of its own. No other target has this
// name: names of namespaces and profiles have no dots.
func targetName(namespace, profile string) string { return namespace + "." + profile }

// profileName returns the name of the profile of a target.
func profileName(target string) string {
	if _, profile, ok := strings.Cut(target, "."); ok {
		return profile
	}
	return target
}

// targetsOf returns the targets of a profile: one, or one for each of the namespaces that has a login of its own. If the
// login or the selector cannot be read, the error reports why and the targets are invalid, so that their published
// secrets stay.
func (o *operator) targetsOf(ctx context.Context, p *v1alpha1.RegistryProfile, namespaces []metav1.PartialObjectMetadata) ([]inject.Target, error) {
	target, err := o.target(ctx, p)
	if !perNamespace(p.Spec.Login) {
		return []inject.Target{target}, err
	}
	if err != nil {
		target.Namespaces.Labels = nil // The selector may be what is invalid: the secrets of all stay.
	}
	var targets []inject.Target
	for _, namespace := range namespaces {
		if !target.Namespaces.Selects(namespace.Name, namespace.Labels) {
			continue
		}
		one := target
		one.Name = targetName(namespace.Name, p.Name)
		one.Profiles = []registry.Profile{target.Profiles[0].ForNamespace(namespace.Name)}
		one.Namespaces = inject.Selection{Names: []string{namespace.Name}}
		targets = append(targets, one)
	}
	if len(targets) == 0 { // The status is written all the same.
		target.Namespaces = inject.Selection{}
		targets = append(targets, target)
	}
	return targets, err
}

// target returns the target of a profile for all its namespaces. If the login or the selector cannot be read, the error
// reports why and the target is invalid.
func (o *operator) target(ctx context.Context, p *v1alpha1.RegistryProfile) (inject.Target, error) {
	profile := registry.Profile{
		Name: p.Name, Tenant: p.Spec.Tenant, Kind: registry.Kind(p.Spec.Kind), Endpoint: p.Spec.Endpoint, Hosts: p.Spec.Hosts,
	}
	namespaces := inject.Selection{Names: p.Spec.Namespaces.Names, Except: p.Spec.Namespaces.Except}
	var errs []error
	var err error
	if name := p.Spec.Transport.SecretName; name != "" {
		profile.Transport, err = o.logins.transport(ctx, name)
		errs = append(errs, err)
	}
	profile.Transport.CABundle = p.Spec.CABundle
	profile.Transport.Proxy, profile.Transport.PlainHTTP = p.Spec.Transport.Proxy, p.Spec.Transport.PlainHTTP
	switch login := p.Spec.Login; {
	case login.SecretName != "":
		profile.Login, err = o.logins.login(ctx, login.SecretName)
		errs = append(errs, err)
		if login.ExpiresAt != nil {
			profile.Login.ExpiresAt = login.ExpiresAt.Time
		}
	default:
		profile.Login, err = loginWithoutSecret(login)
		errs = append(errs, err)
	}
	if p.Spec.Namespaces.Selector != nil {
		selector, invalid := metav1.LabelSelectorAsSelector(p.Spec.Namespaces.Selector)
		namespaces.Labels = func(l map[string]string) bool { return invalid == nil && selector.Matches(labels.Set(l)) }
		errs = append(errs, invalid)
	}
	if err = errors.Join(errs...); err != nil {
		profile.Login = credentials.Login{}
	}
	return inject.Target{
		Name:       p.Name,
		Profiles:   []registry.Profile{profile},
		Namespaces: namespaces,
		Accounts:   inject.Selection{Names: p.Spec.ServiceAccounts},
	}, err
}

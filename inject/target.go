package inject

import (
	"fmt"
	"path"

	"github.com/regcred/regcred/field"
	"github.com/regcred/regcred/pullsecret"
	"github.com/regcred/regcred/registry"
)

// A Target is one pull secret and the namespaces and service accounts that need it.
type Target struct {
	// Name is the name of the secret in each namespace. Keep it stable: running workloads refer to it, and kubelets
	// use it to remember which images a pod may use.
	Name string

	// Profiles are the registries that the secret has credentials for. If all credentials are anonymous, no secret is
	// needed and none is written.
	Profiles []registry.Profile

	// Namespaces selects the namespaces of the secret. The zero Selection selects none.
	Namespaces Selection

	// Accounts selects the service accounts, in those namespaces, that name the secret in imagePullSecrets. When a pod
	// without pull secrets of its own is created, it gets the pull secrets of its account. Most programs select
	// "default" and the accounts that they create. The zero Selection selects none, for workloads that name the secret
	// themselves.
	Accounts Selection

	// Labels and Annotations are set on the secret in addition to the labels and annotations of the owner; see
	// [GitOpsAnnotations]. If one is removed here later, it stays on the secrets that have it. If nil, none are added.
	Labels, Annotations map[string]string
}

// A Selection chooses namespaces or service accounts. The zero Selection chooses none; Names: []string{"*"} chooses
// all.
type Selection struct {
	// Names are names, or patterns of [path.Match]: "team-*".
	Names []string
	// Except excludes objects that Names match, by name or pattern: "kube-*". Nil excludes none.
	Except []string
	// Labels reports whether an object with these labels is chosen. It is called, concurrently, only for objects that
	// Names match; Labels without Names is invalid. For a label selector, use a function that returns
	// selector.Matches(labels.Set(l)). If nil, all matching objects are chosen.
	Labels func(labels map[string]string) bool
}

// Selects reports whether an object with that name and these labels is chosen.
func (s Selection) Selects(name string, labels map[string]string) bool {
	return matchesAny(s.Names, name) && !matchesAny(s.Except, name) && (s.Labels == nil || s.Labels(labels))
}

func (s Selection) validate(p *field.List, field string) {
	check := func(field string, patterns []string) {
		for i, pattern := range patterns {
			if _, err := path.Match(pattern, ""); err != nil || pattern == "" {
				p.Add(fmt.Sprintf("%s[%d]", field, i), fmt.Sprintf("is %q", pattern), `a name or a pattern such as "team-*"`)
			}
		}
	}
	check(field+".names", s.Names)
	check(field+".except", s.Except)
	if len(s.Names) == 0 && (s.Labels != nil || len(s.Except) > 0) { // It would choose nothing, and have everything removed.
		p.Add(field+".names", "are missing", `names or patterns, among which the rest chooses: "*" for all`)
	}
}

// Validate reports every problem of the target and its profiles at once, as a [field.Errors]. It makes no requests.
func (t Target) Validate() error {
	var p field.List
	p.Under("", pullsecret.Secret{Name: t.Name, Labels: t.Labels, Annotations: t.Annotations}.Validate())
	if len(t.Profiles) == 0 {
		p.Add("profiles", "are missing", "at least one")
	}
	for i, profile := range t.Profiles {
		p.Under(fmt.Sprintf("profiles[%d]", i), profile.Validate())
	}
	t.Namespaces.validate(&p, "namespaces")
	t.Accounts.validate(&p, "accounts")
	return p.Err(fmt.Sprintf("target %q", t.Name))
}

// GitOpsAnnotations returns annotations for [Target.Annotations], for namespaces that Argo CD or Flux manages. With
// them, Argo CD neither shows the secret as out of sync nor prunes it, and Flux does not prune it. Both prune objects
// that carry their labels, and those labels are copied from object to object.
func GitOpsAnnotations() map[string]string {
	return map[string]string{
		// https://argo-cd.readthedocs.io/en/stable/user-guide/compare-options/ and .../sync-options/
		"argocd.argoproj.io/compare-options": "IgnoreExtraneous",
		"argocd.argoproj.io/sync-options":    "Prune=false",
		// https://fluxcd.io/flux/components/kustomize/kustomizations/#controlling-the-apply-behavior-of-resources
		"kustomize.toolkit.fluxcd.io/prune": "disabled",
	}
}

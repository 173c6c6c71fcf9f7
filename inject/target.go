package inject

import (
	"fmt"
	"path"

	"github.com/regcred/regcred/field"
	"github.com/regcred/regcred/pullsecret"
	"github.com/regcred/regcred/registry"
)

// A Target is one pull secret, and where it belongs.
type Target struct {
	// Name is the name of the secret in each namespace. Keep it: what runs refers to it, and kubelets remember by it
	// which images a pod may use.
	Name string

	// Profiles are the registries that the secret opens. If their credentials are all anonymous, no secret is needed
	// and none is written.
	Profiles []registry.Profile

	// Namespaces selects where the secret is. The zero Selection selects none.
	Namespaces Selection

	// Accounts selects the service accounts, in those namespaces, that name the secret in imagePullSecrets: a pod
	// without pull secrets of its own gets those of its account when it is created. Most programs want "default" and
	// the accounts they create. The zero Selection selects none, for workloads that name the secret themselves.
	Accounts Selection

	// Labels and Annotations are put on the secret beside those that say whose it is; see [GitOpsAnnotations]. One that
	// is taken out here later stays on the secrets that have it. Nil means none.
	Labels, Annotations map[string]string
}

// A Selection chooses namespaces or service accounts. The zero Selection chooses none; Names: []string{"*"} chooses
// all.
type Selection struct {
	// Names are names, or patterns as of [path.Match]: "team-*".
	Names []string
	// Except are those that are not chosen though they match: "kube-*". Nil means none.
	Except []string
	// Labels says whether an object with these labels may be chosen, of those that Names choose; without Names it is
	// a mistake. With a label selector it is a function that returns selector.Matches(labels.Set(l)). It is called
	// concurrently. Nil means that all may.
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

// Validate reports every problem of the target and its profiles at once, as a [field.Errors]. It asks
// nobody.
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

// GitOpsAnnotations returns annotations for [Target.Annotations] that keep Argo CD from showing the secret as out of
// sync and from pruning it, and Flux from pruning it, in namespaces that they manage. Both delete only what they
// believe to be theirs, by labels that are copied from object to object.
func GitOpsAnnotations() map[string]string {
	return map[string]string{
		// https://argo-cd.readthedocs.io/en/stable/user-guide/compare-options/ and .../sync-options/
		"argocd.argoproj.io/compare-options": "IgnoreExtraneous",
		"argocd.argoproj.io/sync-options":    "Prune=false",
		// https://fluxcd.io/flux/components/kustomize/kustomizations/#controlling-the-apply-behavior-of-resources
		"kustomize.toolkit.fluxcd.io/prune": "disabled",
	}
}

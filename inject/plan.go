package inject

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/regcred/regcred/pullsecret"
	"github.com/regcred/regcred/registry"
)

// A Plan holds the changes that a pass would make; see [Syncer.Plan]. It prints as a diff, without secrets.
type Plan struct {
	// Changes are sorted by namespace, and within a namespace in the order in which they would be made.
	Changes []Change
	// Problems are the objects and targets that the pass could not bring into their desired state.
	Problems []Problem
}

// String returns a line for each change and each problem; "" if there are none.
func (p Plan) String() string {
	var b strings.Builder
	for _, c := range p.Changes {
		fmt.Fprintf(&b, "%s\n", c)
	}
	for _, problem := range p.Problems {
		fmt.Fprintf(&b, "! %s\n", problem.Error())
	}
	return b.String()
}

func (p Plan) sort() {
	slices.SortStableFunc(p.Changes, func(a, b Change) int { return cmp.Compare(a.Namespace, b.Namespace) })
	slices.SortStableFunc(p.Problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Target, b.Target))
	})
}

// String returns the change in one line, without secrets: "+ team-a/regcred: new; profiles ecr,hub; expires
// 2026-01-02T15:04:05Z".
func (c Change) String() string {
	sign := map[Action]string{CreateSecret: "+", UpdateSecret: "~", ReplaceSecret: "±", DeleteSecret: "-", LinkAccount: "~"}[c.Action]
	if c.Action != LinkAccount {
		return fmt.Sprintf("%s secret %s/%s: %s", sign, c.Namespace, c.Name, c.Reason)
	}
	var names []string
	for _, name := range c.Link {
		names = append(names, "+"+name)
	}
	for _, name := range c.Unlink {
		names = append(names, "-"+name)
	}
	return fmt.Sprintf("%s serviceaccount %s/%s: imagePullSecrets %s", sign, c.Namespace, c.Name, strings.Join(names, " "))
}

// A planner compares the state of a cluster with the desired state. It makes no requests.
type planner struct {
	*Syncer
	owner    string
	work     work
	wants    wants
	problems []Problem // Of the targets and of the state.
	warnings []Problem // Of the targets.
	stale    error     // Why the state may be old, or nil.
}

// namespace returns the changes that are needed in a namespace, in the order of [Action].
func (p *planner) namespace(ns Namespace) ([]Change, []Problem) {
	if ns.Terminating {
		return nil, nil // Deletion removes its content, and nothing can be created in it.
	}
	there := make(map[string]*PublishedSecret, 8) // A small constant, so that most need no allocation.
	for i := range ns.Secrets {
		there[ns.Secrets[i].Name] = &ns.Secrets[i]
	}
	var changes []Change
	var problems []Problem
	wants := p.wants.in(ns)
	linkable := make([]*want, 0, len(wants)) // Their secrets exist, or will before accounts are changed.
	kept := make(map[string]bool, 8)
	var unneeded map[string]bool
	removable := func(name string) bool { return unneeded[name] || !kept[name] && p.mayRemove(p.work, name, ns) }
	for _, w := range wants {
		have := there[w.Name]
		if w.content == noContent && !w.contentUnknown {
			if unneeded == nil {
				unneeded = make(map[string]bool)
			}
			unneeded[w.Name] = true // Anonymous access only: no secret is needed.
			continue
		}
		kept[w.Name] = true
		change, err := p.secret(w, have)
		if err != nil {
			problems = append(problems, Problem{Target: w.Name, Namespace: ns.Name, Name: w.Name, Err: err})
		}
		if change != nil {
			change.Namespace = ns.Name
			change.Secret.Namespace = ns.Name
			changes = append(changes, *change)
		}
		if have != nil && !have.Deleting || change != nil {
			linkable = append(linkable, w)
		}
	}
	for _, account := range ns.Accounts {
		if change := p.links(account, linkable, removable); change != nil {
			change.Namespace = ns.Name
			changes = append(changes, *change)
		}
	}
	for i := range ns.Secrets {
		have := &ns.Secrets[i]
		if have.Deleting || !removable(have.Name) {
			continue
		}
		heir := heir(wants, have)
		if heir != nil && namedByOthers(ns, have.Name) {
			changes = append(changes, p.renewForOldName(heir, have, ns.Name)...)
			continue
		}
		changes = append(changes, Change{
			Action: DeleteSecret, Owner: p.owner, Namespace: ns.Name, Name: have.Name, Version: have.Version, Reason: "no target selects this place",
			renewal: p.renewForOldName(heir, have, ns.Name), renamed: heir != nil,
		})
	}
	return changes, problems
}

// secret returns the change that turns the existing secret have, which may be nil, into the secret of w.
func (p *planner) secret(w *want, have *PublishedSecret) (*Change, error) {
	if w.contentUnknown || have != nil && have.Deleting {
		return nil, nil
	}
	change := func(action Action, reason string) *Change {
		c := &Change{
			Action: action, Owner: p.owner, Name: w.Name, Reason: reason, content: w.content,
			Secret: pullsecret.Secret{Name: w.Name, Labels: w.labels, Annotations: w.annotations, Config: w.config},
		}
		if have != nil {
			c.Version = have.Version
		}
		return c
	}
	if have == nil {
		return change(CreateSecret, "new; "+w.contents()), nil
	}
	if have.Type != pullsecret.SecretType {
		if !p.ReplaceWrongType {
			return nil, fmt.Errorf("%w: it is %s", registry.ErrWrongType, have.Type)
		}
		return change(ReplaceSecret, "its type is "+have.Type+"; "+w.contents()), nil
	}
	var reasons []string
	switch {
	case have.Content == w.content:
	case w.older(have, time.Now()):
		return nil, fmt.Errorf("%w: it was issued at %s", registry.ErrOlderCredential, have.Annotations[AnnotationIssuedAt])
	case w.annotations[AnnotationIssuedAt] == have.Annotations[AnnotationIssuedAt] && w.annotations[AnnotationProfiles] == have.Annotations[AnnotationProfiles]:
		reasons = append(reasons, "content differs; "+w.contents())
	default:
		reasons = append(reasons, "new credential; "+w.contents())
	}
	reasons = append(reasons, missing("label", w.labels, have.Labels)...)
	if have.Content == w.content {
		reasons = append(reasons, missing("annotation", w.annotations, have.Annotations)...)
	}
	if reasons == nil {
		return nil, nil
	}
	if have.Immutable && have.Content != w.content {
		if !p.ReplaceImmutable {
			return nil, fmt.Errorf("%w: the published credential expires at %s", registry.ErrSecretImmutable, cmp.Or(have.Annotations[AnnotationExpiresAt], "an unknown time"))
		}
		return change(ReplaceSecret, "it is immutable; "+strings.Join(reasons, "; ")), nil
	}
	return change(UpdateSecret, strings.Join(reasons, "; ")), nil
}

// older reports whether the published credential was issued later than the credential in w, for the same profiles, and
// has not expired. This happens if a process that was disconnected still has an old credential in its cache.
func (w *want) older(have *PublishedSecret, now time.Time) bool {
	if have.Content == noContent || have.Annotations[AnnotationProfiles] != w.annotations[AnnotationProfiles] {
		return false
	}
	if expires := instant(have.Annotations[AnnotationExpiresAt]); !expires.IsZero() && !now.Before(expires) {
		return false
	}
	ours, theirs := instant(w.annotations[AnnotationIssuedAt]), instant(have.Annotations[AnnotationIssuedAt])
	return !ours.IsZero() && ours.Before(theirs)
}

// instant parses the time in an annotation. It returns the zero time for an invalid value, which any other client may
// have written.
func instant(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}
	}
	return t
}

func (w *want) contents() string {
	text := "profiles " + w.annotations[AnnotationProfiles]
	if at := w.annotations[AnnotationExpiresAt]; at != "" {
		text += "; expires " + at
	}
	return text
}

// missing returns the keys of want that have does not contain, or has with another value.
func missing(what string, want, have map[string]string) []string {
	var reasons []string
	for key, value := range want {
		if got, ok := have[key]; !ok || got != value {
			reasons = append(reasons, what+" "+key)
		}
	}
	slices.Sort(reasons)
	return reasons
}

// links returns the change after which the account names all secrets that it should name, and none of the owner's
// other secrets. Secrets that are kept but cannot be linked now stay as they are in the account.
func (p *planner) links(account Account, linkable []*want, removable func(name string) bool) *Change {
	var link, unlink []string
	wanted := make(map[string]bool, 8)
	for _, w := range linkable {
		if w.invalid || !w.Accounts.Selects(account.Name, account.Labels) {
			continue
		}
		wanted[w.Name] = true
		if !slices.Contains(account.PullSecrets, w.Name) {
			link = append(link, w.Name)
		}
	}
	isLinkable := func(name string) bool {
		return slices.ContainsFunc(linkable, func(w *want) bool { return w.Name == name && !w.invalid })
	}
	for _, name := range account.Linked {
		if !wanted[name] && (isLinkable(name) || removable(name)) {
			unlink = append(unlink, name)
		}
	}
	if link == nil && unlink == nil {
		return nil
	}
	return &Change{Action: LinkAccount, Owner: p.owner, Name: account.Name, Version: account.Version, Link: link, Unlink: unlink}
}

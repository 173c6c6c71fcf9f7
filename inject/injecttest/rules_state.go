package injecttest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/pullsecret"
)

func showsNamespaces(ctx context.Context, sc *scene) error {
	ns, err := sc.now(ctx)
	if err != nil {
		return err
	}
	if ns.Labels["team"] != "a" || ns.Terminating {
		return fmt.Errorf("a namespace with the label team=a is shown with %v, terminating %v", ns.Labels, ns.Terminating)
	}
	return nil
}

func showsUIDs(ctx context.Context, sc *scene) error {
	shown, err := sc.now(ctx)
	if err != nil {
		return err
	}
	is, err := sc.World.NamespaceUID(ctx, sc.ns)
	if err != nil {
		return err
	}
	if shown.UID != is {
		return fmt.Errorf("a namespace with the UID %q is shown with %q", is, shown.UID)
	}
	return nil
}

func keepsToScope(ctx context.Context, sc *scene) error {
	other, err := sc.namespace(ctx, nil)
	if err != nil {
		return err
	}
	names := func(scope ...string) ([]string, error) {
		state, err := sc.Cluster.State(ctx, inject.Scope{Owner: sc.owner, Namespaces: scope})
		var names []string
		for _, ns := range state {
			names = append(names, ns.Name)
		}
		return names, err
	}
	all, err := names()
	if err != nil {
		return err
	}
	if !slices.Contains(all, sc.ns) || !slices.Contains(all, other) {
		return errors.New("without names, not all namespaces are shown")
	}
	some, err := names(sc.ns, "no-such-namespace")
	if err != nil {
		return fmt.Errorf("a namespace that is not there is no error: %w", err)
	}
	if !slices.Equal(some, []string{sc.ns}) {
		return fmt.Errorf("for the names of one that is there and one that is not, %v is shown", some)
	}
	return nil
}

func showsOwnSecrets(ctx context.Context, sc *scene) error {
	if _, err := sc.create(ctx, password); err != nil {
		return err
	}
	foreign := SecretObject{Name: "theirs", Type: pullsecret.SecretType, Data: map[string][]byte{pullsecret.SecretKey: []byte(`{"auths":{}}`)}}
	others := foreign
	others.Name, others.Labels = "of-another-owner", map[string]string{inject.LabelManagedBy: "regcred", inject.LabelOwner: "somebody"}
	marker := foreign
	marker.Name, marker.Labels = "of-the-owner", map[string]string{inject.LabelManagedBy: "regcred", inject.LabelOwner: sc.owner}
	for _, s := range []SecretObject{foreign, others, marker} {
		if err := sc.World.WriteSecret(ctx, sc.ns, s); err != nil {
			return err
		}
	}
	// It was written last, so that the others are visible by now.
	if err := sc.eventually(ctx, "a secret of the owner", func(ns inject.Namespace) bool { return findSecret(ns, "of-the-owner") != nil }); err != nil {
		return err
	}
	ns, err := sc.now(ctx)
	if err != nil {
		return err
	}
	if len(ns.Secrets) != 2 || findSecret(ns, secretName) == nil {
		return fmt.Errorf("there are two secrets of the owner, and State shows %d", len(ns.Secrets))
	}
	return nil
}

func showsOwnWrites(ctx context.Context, sc *scene) error {
	first, err := sc.create(ctx, password)
	if err != nil {
		return err
	}
	want := sc.build(password)
	if first.Content != inject.Fingerprint(want.Config.Reveal()) || first.Type != pullsecret.SecretType ||
		first.Labels[inject.LabelOwner] != sc.owner || first.Annotations[inject.AnnotationProfiles] != "team" {
		return errors.New("what was created is not shown with its type, labels, annotations and content")
	}
	// Several in a row, faster than a watch delivers them.
	for i := range 3 {
		changed := fmt.Sprintf("%s-%d", password, i)
		before, err := sc.secret(ctx)
		if err != nil {
			return err
		}
		if err := sc.Cluster.Apply(ctx, sc.change(inject.UpdateSecret, before.Version, changed)); err != nil {
			return fmt.Errorf("update %d at the version that State showed: %w", i+1, err)
		}
		after, err := sc.secret(ctx)
		if err != nil {
			return err
		}
		if after.Version == before.Version || after.Content != inject.Fingerprint(sc.build(changed).Config.Reveal()) {
			return errors.New("after an update, State shows what was before")
		}
	}
	last, err := sc.secret(ctx)
	if err != nil {
		return err
	}
	if err := sc.Cluster.Apply(ctx, sc.change(inject.DeleteSecret, last.Version, "")); err != nil {
		return err
	}
	if ns, err := sc.now(ctx); err != nil || findSecret(ns, secretName) != nil {
		return errors.Join(err, errors.New("after its deletion, State shows the secret"))
	}
	return nil
}

func showsOthersWrites(ctx context.Context, sc *scene) error {
	if _, err := sc.create(ctx, password); err != nil {
		return err
	}
	forged := []byte(`{"auths":{"registry.example.com":{"auth":"Zm9yZ2VkOmZvcmdlZA=="}}}`)
	if err := sc.tamper(ctx, func(s *SecretObject) { s.Data[pullsecret.SecretKey] = forged }); err != nil {
		return err
	}
	if err := sc.eventually(ctx, "that somebody changed the content", func(ns inject.Namespace) bool {
		s := findSecret(ns, secretName)
		return s != nil && s.Content == inject.Fingerprint(forged)
	}); err != nil {
		return err
	}
	if err := sc.tamper(ctx, func(s *SecretObject) { s.Labels["theirs"] = "x" }); err != nil {
		return err
	}
	if err := sc.eventually(ctx, "a label of somebody else", func(ns inject.Namespace) bool {
		s := findSecret(ns, secretName)
		return s != nil && s.Labels["theirs"] == "x"
	}); err != nil {
		return err
	}
	if err := sc.World.DeleteSecret(ctx, sc.ns, secretName); err != nil {
		return err
	}
	return sc.eventually(ctx, "that somebody deleted the secret", func(ns inject.Namespace) bool { return findSecret(ns, secretName) == nil })
}

func showsAccounts(ctx context.Context, sc *scene) error {
	a, err := sc.account(ctx)
	if err != nil {
		return err
	}
	if !slices.Equal(a.PullSecrets, []string{"theirs-1", "theirs-2"}) || len(a.Linked) != 0 || !maps.Equal(a.Labels, map[string]string{"tier": "build"}) {
		return fmt.Errorf("the account is shown as %+v", *a)
	}
	if err := sc.World.WriteAccount(ctx, sc.ns, AccountObject{Name: "another", PullSecrets: []string{"b", "a"}}); err != nil {
		return err
	}
	if err := sc.eventually(ctx, "a new account", func(ns inject.Namespace) bool {
		a := findAccount(ns, "another")
		return a != nil && slices.Equal(a.PullSecrets, []string{"b", "a"})
	}); err != nil {
		return err
	}
	if err := sc.World.DeleteAccount(ctx, sc.ns, "another"); err != nil {
		return err
	}
	return sc.eventually(ctx, "that an account was deleted", func(ns inject.Namespace) bool { return findAccount(ns, "another") == nil })
}

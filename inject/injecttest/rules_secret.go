package injecttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/pullsecret"
	"github.com/regcred/regcred/registry"
)

func createsSecret(ctx context.Context, sc *scene) error {
	if _, err := sc.create(ctx, password); err != nil {
		return err
	}
	s, err := sc.object(ctx)
	if err != nil {
		return err
	}
	return sc.holds(s, password)
}

// holds reports the first difference between a secret and the one that was written with that password.
func (sc *scene) holds(s *SecretObject, password string) error {
	want := sc.build(password)
	switch {
	case s.Type != pullsecret.SecretType:
		return fmt.Errorf("the type is %q", s.Type)
	case !bytes.Equal(s.Data[pullsecret.SecretKey], want.Config.Reveal()):
		return errors.New("the content is not that of the change")
	}
	for key, value := range want.Labels {
		if s.Labels[key] != value {
			return fmt.Errorf("the label %s is %q", key, s.Labels[key])
		}
	}
	for key, value := range want.Annotations {
		if s.Annotations[key] != value {
			return fmt.Errorf("the annotation %s is %q", key, s.Annotations[key])
		}
	}
	return nil
}

func refusesForeign(ctx context.Context, sc *scene) error {
	for what, labels := range map[string]map[string]string{"nobody": nil, "another owner": {inject.LabelManagedBy: "regcred", inject.LabelOwner: "somebody"}} {
		foreign := SecretObject{Name: secretName, Type: "Opaque", Labels: labels, Data: map[string][]byte{"key": []byte("value")}}
		if err := sc.World.WriteSecret(ctx, sc.ns, foreign); err != nil {
			return err
		}
		if err := sc.Cluster.Apply(ctx, sc.change(inject.CreateSecret, "", password)); !errors.Is(err, registry.ErrNameTaken) {
			return fmt.Errorf("a secret of %s is in the way, and the error is %w", what, orNone(err))
		}
		s, err := sc.object(ctx)
		if err != nil {
			return err
		}
		if s.Type != "Opaque" || len(s.Data) != 1 || string(s.Data["key"]) != "value" || s.Labels[inject.LabelOwner] != labels[inject.LabelOwner] {
			return fmt.Errorf("a secret of %s was changed", what)
		}
	}
	return nil
}

func createConflicts(ctx context.Context, sc *scene) error {
	if _, err := sc.create(ctx, password); err != nil {
		return err
	}
	if err := sc.Cluster.Apply(ctx, sc.change(inject.CreateSecret, "", "another-password")); !errors.Is(err, registry.ErrConflict) {
		return fmt.Errorf("it was created twice, and the error is %w", orNone(err))
	}
	s, err := sc.object(ctx)
	if err != nil {
		return err
	}
	return sc.holds(s, password)
}

func updatesInPlace(ctx context.Context, sc *scene) error {
	if _, err := sc.create(ctx, password); err != nil {
		return err
	}
	if err := sc.tamper(ctx, func(s *SecretObject) {
		s.Labels["theirs"], s.Data["theirs"] = "x", []byte("y")
		s.Annotations["example.com/theirs"] = "z"
	}); err != nil {
		return err
	}
	if err := sc.eventually(ctx, "a label of somebody else", func(ns inject.Namespace) bool {
		s := findSecret(ns, secretName)
		return s != nil && s.Labels["theirs"] == "x"
	}); err != nil {
		return err
	}
	before, err := sc.object(ctx)
	if err != nil {
		return err
	}
	have, err := sc.secret(ctx)
	if err != nil {
		return err
	}
	if err := sc.Cluster.Apply(ctx, sc.change(inject.UpdateSecret, have.Version, "another-password")); err != nil {
		return err
	}
	after, err := sc.object(ctx)
	if err != nil {
		return err
	}
	if after.UID != before.UID {
		return errors.New("the UID has changed: kubelets take it for another secret")
	}
	if after.Labels["theirs"] != "x" || after.Annotations["example.com/theirs"] != "z" || string(after.Data["theirs"]) != "y" {
		return errors.New("a label, an annotation or a key of somebody else is gone")
	}
	return sc.holds(after, "another-password")
}

// stale changes the secret as another client, and returns the version that State returned before.
func (sc *scene) stale(ctx context.Context) (*inject.PublishedSecret, error) {
	have, err := sc.create(ctx, password)
	if err != nil {
		return nil, err
	}
	return have, sc.tamper(ctx, func(s *SecretObject) { s.Labels["theirs"] = "x" })
}

func updateConflicts(ctx context.Context, sc *scene) error {
	have, err := sc.stale(ctx)
	if err != nil {
		return err
	}
	update := sc.change(inject.UpdateSecret, have.Version, "another-password")
	if err := sc.Cluster.Apply(ctx, update); !errors.Is(err, registry.ErrConflict) {
		return fmt.Errorf("somebody changed the secret, and the error is %w", orNone(err))
	}
	s, err := sc.object(ctx)
	if err != nil {
		return err
	}
	if err := sc.holds(s, password); err != nil {
		return fmt.Errorf("after a conflict: %w", err)
	}
	if err := sc.World.DeleteSecret(ctx, sc.ns, secretName); err != nil {
		return err
	}
	if err := sc.Cluster.Apply(ctx, update); !errors.Is(err, registry.ErrConflict) {
		return fmt.Errorf("somebody deleted the secret, and the error is %w", orNone(err))
	}
	if s, err := sc.World.Secret(ctx, sc.ns, secretName); err != nil || s != nil {
		return errors.Join(err, errors.New("an update created the secret"))
	}
	return nil
}

func keepsImmutable(ctx context.Context, sc *scene) error {
	if _, err := sc.create(ctx, password); err != nil {
		return err
	}
	if err := sc.tamper(ctx, func(s *SecretObject) { s.Immutable = true }); err != nil {
		return err
	}
	if err := sc.eventually(ctx, "an immutable secret as such", func(ns inject.Namespace) bool {
		return len(ns.Secrets) == 1 && ns.Secrets[0].Immutable
	}); err != nil {
		return err
	}
	have, err := sc.secret(ctx)
	if err != nil {
		return err
	}
	if err := sc.Cluster.Apply(ctx, sc.change(inject.UpdateSecret, have.Version, "another-password")); !errors.Is(err, registry.ErrSecretImmutable) {
		return fmt.Errorf("the secret is immutable, and the error is %w", orNone(err))
	}
	if err := sc.Cluster.Apply(ctx, sc.change(inject.ReplaceSecret, have.Version, "another-password")); err != nil {
		return fmt.Errorf("replace an immutable secret: %w", err)
	}
	s, err := sc.object(ctx)
	if err != nil {
		return err
	}
	return sc.holds(s, "another-password")
}

func readsContent(ctx context.Context, sc *scene) error {
	if _, err := sc.create(ctx, password); err != nil {
		return err
	}
	data, err := sc.Cluster.Read(ctx, sc.ns, secretName)
	if err != nil {
		return err
	}
	if want := sc.build(password).Config.Reveal(); !bytes.Equal(data, want) {
		return errors.New("what is read is not what was written")
	}
	if err := sc.World.DeleteSecret(ctx, sc.ns, secretName); err != nil {
		return err
	}
	if _, err := sc.Cluster.Read(ctx, sc.ns, secretName); !errors.Is(err, registry.ErrConflict) {
		return fmt.Errorf("the secret is gone, and the error is %w", orNone(err))
	}
	return nil
}

// wrongType creates a secret of the owner with a wrong type.
func (sc *scene) wrongType(ctx context.Context) (*inject.PublishedSecret, error) {
	s := SecretObject{Name: secretName, Type: "Opaque", Labels: sc.build(password).Labels, Data: map[string][]byte{"key": []byte("value")}}
	if err := sc.World.WriteSecret(ctx, sc.ns, s); err != nil {
		return nil, err
	}
	if err := sc.eventually(ctx, "a secret of the owner with a wrong type", func(ns inject.Namespace) bool {
		s := findSecret(ns, secretName)
		return s != nil && s.Type == "Opaque"
	}); err != nil {
		return nil, err
	}
	return sc.secret(ctx)
}

func replacesSecret(ctx context.Context, sc *scene) error {
	have, err := sc.wrongType(ctx)
	if err != nil {
		return err
	}
	if err := sc.Cluster.Apply(ctx, sc.change(inject.ReplaceSecret, have.Version, password)); err != nil {
		return err
	}
	s, err := sc.object(ctx)
	if err != nil {
		return err
	}
	if err := sc.holds(s, password); err != nil {
		return err
	}
	now, err := sc.secret(ctx)
	if err != nil {
		return err
	}
	if now.Type != pullsecret.SecretType || now.Version == have.Version {
		return errors.New("State shows the secret that was replaced")
	}
	return nil
}

func replaceConflicts(ctx context.Context, sc *scene) error {
	have, err := sc.wrongType(ctx)
	if err != nil {
		return err
	}
	if err := sc.tamper(ctx, func(s *SecretObject) { s.Data["key"] = []byte("another") }); err != nil {
		return err
	}
	if err := sc.Cluster.Apply(ctx, sc.change(inject.ReplaceSecret, have.Version, password)); !errors.Is(err, registry.ErrConflict) {
		return fmt.Errorf("somebody changed the secret, and the error is %w", orNone(err))
	}
	s, err := sc.object(ctx)
	if err != nil {
		return err
	}
	if string(s.Data["key"]) != "another" {
		return errors.New("after a conflict, what somebody wrote is gone")
	}
	return nil
}

func deletesSecret(ctx context.Context, sc *scene) error {
	have, err := sc.create(ctx, password)
	if err != nil {
		return err
	}
	for range 2 {
		if err := sc.Cluster.Apply(ctx, sc.change(inject.DeleteSecret, have.Version, "")); err != nil {
			return err
		}
		if s, err := sc.World.Secret(ctx, sc.ns, secretName); err != nil || s != nil {
			return errors.Join(err, errors.New("the secret is still there"))
		}
	}
	return nil
}

func deleteConflicts(ctx context.Context, sc *scene) error {
	have, err := sc.stale(ctx)
	if err != nil {
		return err
	}
	if err := sc.Cluster.Apply(ctx, sc.change(inject.DeleteSecret, have.Version, "")); !errors.Is(err, registry.ErrConflict) {
		return fmt.Errorf("somebody changed the secret, and the error is %w", orNone(err))
	}
	_, err = sc.object(ctx)
	return err
}

// orNone replaces a nil error with a printable one.
func orNone(err error) error {
	if err == nil {
		return errors.New("none")
	}
	return err
}

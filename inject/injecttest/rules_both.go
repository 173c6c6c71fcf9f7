package injecttest

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/registry"
)

func refusesTerminating(ctx context.Context, sc *scene) error {
	create := sc.change(inject.CreateSecret, "", password)
	create.Namespace = "no-such-namespace"
	if err := sc.Cluster.Apply(ctx, create); !errors.Is(err, registry.ErrNamespaceGone) {
		return fmt.Errorf("the namespace is not there, and the error is %w", orNone(err))
	}
	if err := sc.World.DeleteNamespace(ctx, sc.ns); err != nil {
		return err
	}
	create.Namespace = sc.ns
	if err := sc.Cluster.Apply(ctx, create); !errors.Is(err, registry.ErrNamespaceGone) {
		return fmt.Errorf("the namespace is terminating, and the error is %w", orNone(err))
	}
	return sc.poll(ctx, sc.ns, "that the namespace is terminating", func(state []inject.Namespace) bool { return len(state) == 0 || state[0].Terminating })
}

func obeysContext(ctx context.Context, sc *scene) error {
	cause := errors.New("the caller has left")
	ctx, cancel := context.WithCancelCause(ctx)
	cancel(cause)
	if _, err := sc.Cluster.State(ctx, inject.Scope{Owner: sc.owner}); !errors.Is(err, cause) {
		return fmt.Errorf("the error of State is %w", orNone(err))
	}
	if err := sc.Cluster.Apply(ctx, sc.change(inject.CreateSecret, "", password)); !errors.Is(err, cause) {
		return fmt.Errorf("the error of Apply is %w", orNone(err))
	}
	if s, err := sc.World.Secret(context.WithoutCancel(ctx), sc.ns, secretName); err != nil || s != nil {
		return errors.Join(err, errors.New("the secret was created all the same"))
	}
	return nil
}

func errorsHoldNoSecret(ctx context.Context, sc *scene) error {
	have, err := sc.create(ctx, password)
	if err != nil {
		return err
	}
	update := sc.change(inject.UpdateSecret, have.Version+"0", password)
	bad := sc.change(inject.CreateSecret, "", password)
	bad.Secret.Name, bad.Name = "no valid name", "no valid name"
	for _, c := range []inject.Change{sc.change(inject.CreateSecret, "", password), update, bad} {
		err := sc.Cluster.Apply(ctx, c)
		if err == nil {
			continue
		}
		auth := string(sc.build(password).Config.Reveal())
		_, auth, _ = strings.Cut(auth, `"auth":"`)
		for _, text := range []string{err.Error(), fmt.Sprintf("%+v", err), fmt.Sprintf("%#v", err)} {
			if strings.Contains(text, password) || strings.Contains(text, auth[:16]) {
				return errors.New("an error holds the password")
			}
		}
	}
	return nil
}

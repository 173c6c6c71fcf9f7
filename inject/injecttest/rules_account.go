package injecttest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/registry"
)

// link changes the account at the version that State shows.
func (sc *scene) link(ctx context.Context, owner string, link, unlink []string) error {
	a, err := sc.account(ctx)
	if err != nil {
		return err
	}
	c := sc.change(inject.LinkAccount, a.Version, "")
	c.Owner, c.Link, c.Unlink = owner, link, unlink
	return sc.Cluster.Apply(ctx, c)
}

// expect compares the pull secrets of the account, as stored and as State returns them immediately, with the expected
// ones.
func (sc *scene) expect(ctx context.Context, pullSecrets, linked []string) error {
	are, err := sc.pullSecrets(ctx)
	if err != nil {
		return err
	}
	shown, err := sc.account(ctx)
	if err != nil {
		return err
	}
	switch {
	case !slices.Equal(are, pullSecrets):
		return fmt.Errorf("imagePullSecrets are %q and not %q", are, pullSecrets)
	case !slices.Equal(shown.PullSecrets, pullSecrets):
		return fmt.Errorf("imagePullSecrets are shown as %q and not %q", shown.PullSecrets, pullSecrets)
	case !slices.Equal(shown.Linked, linked):
		return fmt.Errorf("those of the owner are shown as %q and not %q", shown.Linked, linked)
	}
	return nil
}

func appendsOnce(ctx context.Context, sc *scene) error {
	// Another client has already added one of them.
	if err := sc.link(ctx, sc.owner, []string{"two", "theirs-1", "one"}, nil); err != nil {
		return err
	}
	if err := sc.expect(ctx, []string{"theirs-1", "theirs-2", "two", "one"}, []string{"two", "theirs-1", "one"}); err != nil {
		return err
	}
	if err := sc.link(ctx, sc.owner, []string{"one", "two", "three"}, nil); err != nil {
		return err
	}
	if err := sc.expect(ctx, []string{"theirs-1", "theirs-2", "two", "one", "three"}, []string{"two", "theirs-1", "one", "three"}); err != nil {
		return err
	}
	// An account that has neither pull secrets nor annotations.
	if err := sc.World.WriteAccount(ctx, sc.ns, AccountObject{Name: "bare"}); err != nil {
		return err
	}
	if err := sc.eventually(ctx, "a new account", func(ns inject.Namespace) bool { return findAccount(ns, "bare") != nil }); err != nil {
		return err
	}
	ns, err := sc.now(ctx)
	if err != nil {
		return err
	}
	c := sc.change(inject.LinkAccount, findAccount(ns, "bare").Version, "")
	c.Name, c.Link = "bare", []string{"one"}
	if err := sc.Cluster.Apply(ctx, c); err != nil {
		return err
	}
	a, err := sc.World.Account(ctx, sc.ns, "bare")
	if err != nil {
		return err
	}
	if !slices.Equal(a.PullSecrets, []string{"one"}) {
		return fmt.Errorf("imagePullSecrets of an account that had none are %q", a.PullSecrets)
	}
	return nil
}

func unlinksOnly(ctx context.Context, sc *scene) error {
	if err := sc.link(ctx, sc.owner, []string{"one", "two"}, nil); err != nil {
		return err
	}
	if err := sc.link(ctx, sc.owner, []string{"three"}, []string{"one", "never-there"}); err != nil {
		return err
	}
	if err := sc.expect(ctx, []string{"theirs-1", "theirs-2", "two", "three"}, []string{"two", "three"}); err != nil {
		return err
	}
	if err := sc.link(ctx, sc.owner, nil, []string{"two", "three"}); err != nil {
		return err
	}
	return sc.expect(ctx, []string{"theirs-1", "theirs-2"}, nil)
}

func linkKeepsOthers(ctx context.Context, sc *scene) error {
	if err := sc.link(ctx, sc.owner, []string{"one"}, nil); err != nil {
		return err
	}
	if err := sc.link(ctx, sc.owner, nil, []string{"one"}); err != nil {
		return err
	}
	a, err := sc.World.Account(ctx, sc.ns, accountName)
	if err != nil {
		return err
	}
	if a.Labels["tier"] != "build" || a.Annotations["example.com/note"] != "mine" {
		return fmt.Errorf("labels are %v, annotations %v", a.Labels, a.Annotations)
	}
	return nil
}

func linksByOwner(ctx context.Context, sc *scene) error {
	if err := sc.link(ctx, sc.owner, []string{"one"}, nil); err != nil {
		return err
	}
	if err := sc.link(ctx, "somebody", []string{"other"}, nil); err != nil {
		return err
	}
	return sc.expect(ctx, []string{"theirs-1", "theirs-2", "one", "other"}, []string{"one"})
}

func linkConflicts(ctx context.Context, sc *scene) error {
	have, err := sc.account(ctx)
	if err != nil {
		return err
	}
	c := sc.change(inject.LinkAccount, have.Version, "")
	c.Link = []string{"one"}
	theirs := AccountObject{Name: accountName, PullSecrets: []string{"theirs-2", "theirs-3"}}
	if err := sc.World.WriteAccount(ctx, sc.ns, theirs); err != nil {
		return err
	}
	if err := sc.Cluster.Apply(ctx, c); !errors.Is(err, registry.ErrConflict) {
		return fmt.Errorf("somebody changed the account, and the error is %w", orNone(err))
	}
	are, err := sc.pullSecrets(ctx)
	if err != nil {
		return err
	}
	if !slices.Equal(are, theirs.PullSecrets) {
		return fmt.Errorf("after a conflict, imagePullSecrets are %q and not %q", are, theirs.PullSecrets)
	}
	if err := sc.World.DeleteAccount(ctx, sc.ns, accountName); err != nil {
		return err
	}
	if err := sc.Cluster.Apply(ctx, c); !errors.Is(err, registry.ErrConflict) {
		return fmt.Errorf("somebody deleted the account, and the error is %w", orNone(err))
	}
	if a, err := sc.World.Account(ctx, sc.ns, accountName); err != nil || a != nil {
		return errors.Join(err, errors.New("the account was created"))
	}
	return nil
}

func linksConcurrently(ctx context.Context, sc *scene) error {
	const many = 8
	ctx, cancel := context.WithTimeoutCause(ctx, sc.patience(), errors.New("conflicts do not end"))
	defer cancel()
	var working sync.WaitGroup
	errs := make([]error, many)
	for i := range many {
		working.Go(func() {
			name := fmt.Sprintf("secret-%d", i)
			for {
				err := sc.link(ctx, sc.owner, []string{name}, nil)
				if errors.Is(err, registry.ErrConflict) && ctx.Err() == nil {
					continue // A watch may lag behind.
				}
				errs[i] = err
				return
			}
		})
	}
	working.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	are, err := sc.pullSecrets(ctx)
	if err != nil {
		return err
	}
	if len(are) != 2+many || are[0] != "theirs-1" || are[1] != "theirs-2" {
		return fmt.Errorf("of %d links, imagePullSecrets hold %q", many, are)
	}
	return nil
}

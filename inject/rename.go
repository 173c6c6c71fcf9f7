package inject

import (
	"context"
	"slices"
	"time"

	"github.com/regcred/regcred/internal/panics"
)

// heir returns the renamed target of a secret that no target needs any longer: the one with the same profiles. It
// returns nil if there is none.
func heir(wants []*want, have *PublishedSecret) *want {
	profiles := have.Annotations[AnnotationProfiles]
	if profiles == "" {
		return nil
	}
	i := slices.IndexFunc(wants, func(w *want) bool {
		return !w.contentUnknown && w.content != noContent && w.annotations[AnnotationProfiles] == profiles
	})
	if i < 0 {
		return nil
	}
	return wants[i]
}

// namedByOthers reports whether a service account names the secret because another client has added it.
func namedByOthers(ns Namespace, name string) bool {
	return slices.ContainsFunc(ns.Accounts, func(a Account) bool {
		return slices.Contains(a.PullSecrets, name) && !slices.Contains(a.Linked, name)
	})
}

// renewForOldName returns the change that keeps a secret fresh under the old name of its target, if one is needed.
func (p *planner) renewForOldName(heir *want, have *PublishedSecret, namespace string) []Change {
	if heir == nil {
		return nil
	}
	old := *heir
	old.record = &record{Target: heir.Target, labels: heir.labels, profiles: heir.profiles}
	old.record.Name = have.Name
	change, err := p.secret(&old, have)
	if err != nil || change == nil {
		return nil
	}
	change.Namespace, change.Secret.Namespace = namespace, namespace
	change.Reason = "the target is now " + heir.Name + ", and this name is still in use; " + change.Reason
	return []Change{*change}
}

// inUseRetry is the interval at which a pass checks whether the old name of a target is still in use.
const inUseRetry = 10 * time.Minute

// inUse reports, by calling [Syncer.InUse], whether a secret that is to be deleted under its old name is still in use.
// An error counts as use, because a pod that cannot pull is worse than a superfluous secret.
func (s *Syncer) inUse(ctx context.Context, c Change) (bool, error) {
	if c.Action != DeleteSecret || !c.renamed || s.InUse == nil {
		return false, nil
	}
	used := false
	err := panics.Call("Syncer.InUse", func() (err error) {
		used, err = s.InUse(ctx, c.Namespace, c.Name)
		return err
	})
	return used || err != nil, err
}

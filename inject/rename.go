package inject

import (
	"context"
	"slices"
	"time"
)

// heir returns the target that serves the profiles of a secret which no target wants any longer: it was renamed. Nil if
// there is none.
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

// namedByOthers reports whether a service account names the secret because somebody else has put it there.
func namedByOthers(ns Namespace, name string) bool {
	return slices.ContainsFunc(ns.Accounts, func(a Account) bool {
		return slices.Contains(a.PullSecrets, name) && !slices.Contains(a.Linked, name)
	})
}

// renewForOldName returns what is to be done to keep a secret fresh under the old name of its target.
func (p *planner) renewForOldName(heir *want, have *PublishedSecret, namespace string) []Change {
	if heir == nil {
		return nil
	}
	old := *heir
	old.record = &record{Target: heir.Target}
	old.record.Name = have.Name
	change, err := p.secret(&old, have)
	if err != nil || change == nil {
		return nil
	}
	change.Namespace, change.Secret.Namespace = namespace, namespace
	change.Reason = "the target is now " + heir.Name + ", and this name is still in use; " + change.Reason
	return []Change{*change}
}

// inUseRetry is when it is looked again whether the old name of a target is still in use.
const inUseRetry = 10 * time.Minute

// inUse reports whether a secret that is to go under its old name is still in use, as [Syncer.InUse] says. An error counts
// as a yes: a pod that could not pull any longer is worse than a secret too many.
func (s *Syncer) inUse(ctx context.Context, c Change) (bool, error) {
	if c.Action != DeleteSecret || !c.renamed || s.InUse == nil {
		return false, nil
	}
	used, err := s.InUse(ctx, c.Namespace, c.Name)
	return used || err != nil, err
}

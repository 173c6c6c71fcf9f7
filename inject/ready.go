package inject

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/regcred/regcred/pullsecret"
	"github.com/regcred/regcred/registry"
)

// EnsureReady polls at intervals that grow from firstLook to lastLook. The intervals can be short because State costs
// no request.
const firstLook, lastLook = 50 * time.Millisecond, time.Second

// EnsureReady blocks until the pods of a service account can pull: each target that selects the namespace has an
// unexpired secret in it that the account names, and [Syncer.Check] succeeds for the images. Call it before a workload
// is published. It makes passes over the namespace, as Sync does. Leave account empty if the workload names the
// secrets itself.
//
// EnsureReady waits for conditions that can resolve by themselves: a namespace or account that is not created yet, a
// conflict, a cluster that does not respond. If ctx ends before that, the error wraps [context.Cause] and the last
// condition that was not met. It returns all other errors at once: [registry.ErrNotSelected], [registry.ErrNameTaken],
// [registry.ErrWrongType], a credential that is not available and not published, an image that cannot be pulled.
func (s *Syncer) EnsureReady(ctx context.Context, targets []Target, namespace, account string, images ...string) error {
	same := func(context.Context) ([]Target, error) { return targets, nil }
	return s.EnsureReadyFunc(ctx, same, namespace, account, images...)
}

// EnsureReadyFunc is [Syncer.EnsureReady] for a list of targets that may change meanwhile: it calls targets before each
// pass. It fails if the first call fails. If a later call fails, the previous list stays in use.
func (s *Syncer) EnsureReadyFunc(ctx context.Context, targets func(context.Context) ([]Target, error), namespace, account string, images ...string) error {
	list, err := targets(ctx)
	if err != nil {
		return err
	}
	first := true
	look := func() ([]registry.Profile, error) {
		if !first {
			if now, err := targets(ctx); err == nil {
				list = now
			}
		}
		first = false
		return s.ready(ctx, list, namespace, account)
	}
	place := namespace
	if account != "" {
		place += "/" + account
	}
	for wait := firstLook; ; wait = min(2*wait, lastLook) {
		profiles, err := look()
		if err == nil && len(images) > 0 {
			if err = s.proven(ctx, profiles, images); err == nil {
				// If the registry rejected the published credential, the check fetched a new one; publish that too.
				_, err = look()
			}
		}
		if err == nil {
			return nil
		}
		if ctx.Err() == nil && comesByItself(err) {
			select {
			case <-time.After(wait):
				continue
			case <-ctx.Done():
			}
		}
		if ctx.Err() != nil && !errors.Is(err, context.Cause(ctx)) {
			err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
		return fmt.Errorf("pull secrets for %s are not ready: %w", place, err)
	}
}

func comesByItself(err error) bool {
	return errors.Is(err, registry.ErrNotYet) || errors.Is(err, registry.ErrConflict) || errors.Is(err, registry.ErrClusterUnavailable)
}

func (s *Syncer) proven(ctx context.Context, profiles []registry.Profile, images []string) error {
	if s.Check == nil {
		return fmt.Errorf("check images: %w: Syncer.Check is not set", registry.ErrInvalid)
	}
	return s.Check(ctx, profiles, images)
}

// ready makes a pass over the namespace and returns the profiles whose credentials its pods have afterwards.
func (s *Syncer) ready(ctx context.Context, targets []Target, namespace, account string) ([]registry.Profile, error) {
	result, err := s.Sync(ctx, targets, namespace)
	if err != nil {
		return nil, err
	}
	p, state, err := s.plan(ctx, work{index: s.newIndex(targets), namespaces: []string{namespace}})
	if err != nil {
		return nil, err
	}
	if len(state) == 0 {
		return nil, p.mayBeStale(fmt.Errorf("namespace %s does not exist: %w", namespace, registry.ErrNotYet))
	}
	ns := state[0]
	if ns.Terminating {
		return nil, fmt.Errorf("%w: %s is terminating", registry.ErrNamespaceGone, namespace)
	}
	problems := slices.Concat(p.problems, result.Problems)
	var profiles []registry.Profile
	for _, w := range p.wants.in(ns) {
		if w.invalid {
			continue
		}
		opens, err := w.opens(ns, account)
		if err != nil {
			return nil, because(p.mayBeStale(err), problems, func(p Problem) bool {
				return p.Target == w.Name || p.Namespace == namespace && p.Name == account
			})
		}
		if opens {
			profiles = append(profiles, w.Profiles...)
		}
	}
	if profiles == nil {
		return nil, because(fmt.Errorf("no target selects this namespace and service account: %w", registry.ErrNotSelected), p.problems, func(Problem) bool { return true })
	}
	return profiles, nil
}

// mayBeStale adds to registry.ErrNotYet that the object may exist, if the state of the cluster may be old.
func (p *planner) mayBeStale(err error) error {
	if p.stale != nil && errors.Is(err, registry.ErrNotYet) {
		return fmt.Errorf("%w; %w", err, p.stale)
	}
	return err
}

// because returns the problems for which about returns true, as one error. If there are none, it returns err, which
// names only what is missing.
func because(err error, problems []Problem, about func(Problem) bool) error {
	var causes []error
	for _, p := range problems {
		if about(p) {
			causes = append(causes, p)
		}
	}
	if causes == nil {
		return err
	}
	return errors.Join(causes...)
}

// opens reports whether the pods of the account get the secret of w in the namespace. The error names what is missing.
func (w *want) opens(ns Namespace, account string) (bool, error) {
	linked := true
	if account != "" {
		i := slices.IndexFunc(ns.Accounts, func(a Account) bool { return a.Name == account })
		if i < 0 {
			return false, fmt.Errorf("service account %s does not exist: %w", account, registry.ErrNotYet)
		}
		if a := ns.Accounts[i]; !w.Accounts.Selects(a.Name, a.Labels) {
			return false, nil
		} else {
			linked = slices.Contains(a.PullSecrets, w.Name)
		}
	}
	if w.content == noContent && !w.contentUnknown {
		return true, nil // Anonymous access only.
	}
	i := slices.IndexFunc(ns.Secrets, func(have PublishedSecret) bool { return have.Name == w.Name })
	if i < 0 || ns.Secrets[i].Deleting {
		return false, fmt.Errorf("secret %s: %w", w.Name, registry.ErrNotYet)
	}
	have := ns.Secrets[i]
	expires := instant(have.Annotations[AnnotationExpiresAt])
	switch {
	case have.Type != pullsecret.SecretType:
		return false, fmt.Errorf("%w: secret %s is %s", registry.ErrWrongType, w.Name, have.Type)
	case !expires.IsZero() && !time.Now().Before(expires):
		return false, fmt.Errorf("secret %s: %w: at %s", w.Name, registry.ErrExpired, expires.Format(time.RFC3339))
	case !linked:
		return false, fmt.Errorf("secret %s in service account %s: %w", w.Name, account, registry.ErrNotYet)
	}
	return true, nil
}

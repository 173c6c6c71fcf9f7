package inject

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"regexp"
	"sync"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
)

// A Syncer keeps the pull secrets of a cluster as they should be: there, linked, fresh, and gone where no longer
// wanted. Each call is one pass; a program calls it when something changed and when [Result.NextAt] has come. Set the
// fields before the first use; it is safe for concurrent use and must not be copied.
//
//   - What is as it should be is not written.
//   - A secret that is good is never replaced by one that is worse: neither empty, nor without some of its profiles,
//     nor expired, nor by an older credential. If one of its credentials cannot be had, a secret stays as it is.
//   - What belongs to others is not touched: neither their secrets, nor their entries in a service account, nor what
//     they have put on ours.
//   - If somebody undoes a change, it is made again at once, and after that ever more rarely, and reported as
//     [registry.ErrContested].
type Syncer struct {
	// Cluster is where the secrets go. It is required, but for the Syncer of a kube.Controller, whose Cluster it is then.
	Cluster Cluster

	// Credential hands out the credential of a profile. It is asked in each pass, so there should be a
	// [credentials.Cache] in it. If it also checks what it hands out, nothing unchecked is ever published. It is
	// required.
	Credential func(ctx context.Context, p registry.Profile) (credentials.Credential, error)

	// Check says whether the images can be pulled with the credentials of the profiles, for [Syncer.EnsureReady]: the
	// Check of a regcred.Pipeline does, with the cache that its Credential has. Nil means that no images may be named
	// there.
	Check func(ctx context.Context, profiles []registry.Profile, images []string) error

	// Owner tells the secrets of several Syncers of one cluster apart: lower-case letters, digits and hyphens, at most
	// 40. A Syncer removes what carries its owner's mark and is not wanted, so two that have different targets must
	// have different owners. Empty means "regcred".
	Owner string

	// Concurrency is how many namespaces are worked on at once. Zero means 32.
	Concurrency int

	// CredentialTimeout is how long a pass waits for a credential before it goes on without. Zero means 30 seconds.
	CredentialTimeout time.Duration

	// ReplaceWrongType allows to delete a secret of the owner and create it anew if somebody made it with a type that
	// no kubelet reads. Otherwise that is reported as [registry.ErrWrongType].
	ReplaceWrongType bool

	// OnChange is called after each change that was tried, with its error, if any. It may be called concurrently. Nil
	// means that nobody wants to know.
	OnChange func(change Change, err error)

	// OnSync is called when a pass begins, with the namespaces that it is limited to, as [Syncer.Sync] is. It returns
	// the context that the pass has, which is or comes from ctx, and what is called with what Sync returns; neither may
	// be nil. It may be called concurrently. Nil means that nobody wants to know.
	OnSync func(ctx context.Context, namespaces []string) (context.Context, func(Result, error))

	pace pace
	busy busy
}

// A Problem is one thing that could not be made as it should be.
type Problem struct {
	// Target is the name of the target, and Profile that of the profile. Either may be empty: a service account may
	// name the secrets of several targets.
	Target, Profile string
	// Namespace and Name are the place and the name of the object. They are empty where the problem is one of the
	// target in all places.
	Namespace, Name string
	// Err is what is wrong. It holds no secret.
	Err error
	// RetryAt is when the next pass tries again. Zero means that every pass does.
	RetryAt time.Time
}

// Error returns all that in one line.
func (p Problem) Error() string {
	text := ""
	if p.Target != "" {
		text += "target " + p.Target + ": "
	}
	if p.Profile != "" {
		text += "profile " + p.Profile + ": "
	}
	if p.Namespace != "" {
		text += p.Namespace + "/" + p.Name + ": "
	}
	return text + p.Err.Error()
}

// Unwrap returns Err.
func (p Problem) Unwrap() error { return p.Err }

// A Result is what came of a pass.
type Result struct {
	// Changed are the changes that were made, in no particular order.
	Changed []Change
	// Problems are what could not be made as it should be.
	Problems []Problem
	// ExpiresAt is when the first of the secrets that are now published expires. Zero means never, or that none is.
	ExpiresAt time.Time
	// NextAt is when the next pass is due if nothing happens before: to renew, or to try again. Zero means never.
	NextAt time.Time
}

// Err returns all problems as one error; nil if there are none.
func (r Result) Err() error {
	errs := make([]error, len(r.Problems))
	for i, p := range r.Problems {
		errs[i] = p
	}
	return errors.Join(errs...)
}

const (
	defaultOwner             = "regcred"
	defaultConcurrency       = 32
	defaultCredentialTimeout = 30 * time.Second
	// staleRetry is when a pass looks again whether a cluster is watched.
	staleRetry = time.Minute
)

func (s *Syncer) owner() string {
	if s.Owner != "" {
		return s.Owner
	}
	return defaultOwner
}

// Sync makes one pass over the targets: all that the Owner should have in the cluster. What the Owner has and no target
// wants is removed; no targets at all means that everything is. Names of namespaces limit the pass to those.
//
// The error is not nil if the pass was not made or not finished, because the cluster does not answer or ctx ended; the
// result holds what was done until then. All else that is wrong is in [Result.Problems], and holds up nothing but what
// it is about.
func (s *Syncer) Sync(ctx context.Context, targets []Target, namespaces ...string) (Result, error) {
	if s.OnSync == nil {
		return s.sync(ctx, targets, namespaces)
	}
	ctx, done := s.OnSync(ctx, namespaces)
	result, err := s.sync(ctx, targets, namespaces)
	done(result, err)
	return result, err
}

func (s *Syncer) sync(ctx context.Context, targets []Target, namespaces []string) (Result, error) {
	p, state, err := s.plan(ctx, targets, namespaces)
	if err != nil {
		return Result{NextAt: s.pace.unavailable(time.Now())}, fmt.Errorf("sync pull secrets: %w", err)
	}
	s.pace.forget(state, namespaces)
	result, err := s.applyAll(ctx, p, state)
	if err != nil {
		return result, fmt.Errorf("sync pull secrets: %w", err)
	}
	return result, nil
}

// Plan is [Syncer.Sync] without the changes: what it would do now.
func (s *Syncer) Plan(ctx context.Context, targets []Target, namespaces ...string) (Plan, error) {
	p, state, err := s.plan(ctx, targets, namespaces)
	if err != nil {
		return Plan{}, fmt.Errorf("plan pull secrets: %w", err)
	}
	plan := Plan{Problems: p.problems}
	for _, ns := range state {
		changes, problems := p.namespace(ns)
		plan.Changes = append(plan.Changes, changes...)
		plan.Problems = append(plan.Problems, problems...)
	}
	plan.sort()
	return plan, nil
}

// ownerName leaves room for what is made of the owner in names of annotations, which have 63 letters.
var ownerName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$`)

// plan reads the cluster and gathers the credentials that are needed there.
func (s *Syncer) plan(ctx context.Context, targets []Target, namespaces []string) (*planner, []Namespace, error) {
	switch {
	case s.Cluster == nil:
		return nil, nil, fmt.Errorf("%w: Syncer.Cluster is not set", registry.ErrInvalid)
	case s.Credential == nil:
		return nil, nil, fmt.Errorf("%w: Syncer.Credential is not set", registry.ErrInvalid)
	}
	owner := s.owner()
	if !ownerName.MatchString(owner) {
		return nil, nil, fmt.Errorf("%w: owner is %q: expected lower-case letters, digits and hyphens, at most 40", registry.ErrInvalid, owner)
	}
	state, stale := s.Cluster.State(ctx, Scope{owner, namespaces})
	if stale != nil && !errors.Is(stale, registry.ErrStale) {
		return nil, nil, stale
	}
	p := &planner{owner: owner, replaceWrongType: s.ReplaceWrongType, stale: stale}
	p.wants, p.problems = s.want(ctx, targets, state)
	if stale != nil {
		p.problems = append(p.problems, Problem{Err: stale, RetryAt: time.Now().Add(staleRetry)})
	}
	if ctx.Err() != nil {
		return nil, nil, context.Cause(ctx)
	}
	return p, state, nil
}

// SyncEach calls [Syncer.Sync] of each Syncer at once, and yields what came of it in the order in which they finish: a
// cluster that is down holds up nobody but itself. The error is that of Sync. Breaking the loop cancels the rest.
func SyncEach(ctx context.Context, syncers map[string]*Syncer, targets []Target) iter.Seq2[string, SyncOutcome] {
	return func(yield func(string, SyncOutcome) bool) {
		ctx, cancel := context.WithCancel(ctx)
		var running sync.WaitGroup
		defer running.Wait()
		defer cancel()
		type named struct {
			name string
			SyncOutcome
		}
		outcomes := make(chan named, len(syncers))
		for name, s := range syncers {
			running.Go(func() {
				result, err := s.Sync(ctx, targets)
				outcomes <- named{name, SyncOutcome{result, err}}
			})
		}
		for range syncers {
			if o := <-outcomes; !yield(o.name, o.SyncOutcome) {
				return
			}
		}
	}
}

// A SyncOutcome is what [Syncer.Sync] returned.
type SyncOutcome struct {
	Result Result
	Err    error
}

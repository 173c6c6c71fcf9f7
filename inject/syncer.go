package inject

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"regexp"
	"slices"
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

	// Lookup returns what a cache has of a profile's credential: the Lookup of a regcred.Pipeline does. By it, a pass for
	// a renewal comes when the cache renews, and [Syncer.Renewed] finds the targets. If nil, a pass comes when a cache
	// with the zero [credentials.Policy] has renewed at the latest.
	Lookup func(p registry.Profile) credentials.Entry

	// AdoptionKey lets a pass use a credential that is published already, by a process before this one or another replica,
	// in place of a new one: a restart then costs no call to an issuer and no write. The key signs what is published (see
	// [AnnotationOrigin]), and proves that a published credential was made from the same login, endpoint and transport,
	// and was not edited. All replicas and all clusters that share a cache need the same key, of 16 random bytes at
	// least; kube.AdoptionKey keeps one in a Secret. If zero, nothing is adopted.
	AdoptionKey credentials.Secret

	// Adopt puts a published credential into the cache that Credential hands out from, and reports whether the cache has
	// taken it: the Adopt of a regcred.Pipeline does, whose Credential has it proven at the registry before it is
	// published anywhere else. It needs Lookup. If nil, nothing is adopted.
	Adopt func(p registry.Profile, c credentials.Credential) bool

	// OnAdopt is called after each credential that was adopted, with the namespace and the name of the secret that it
	// came from. It may be called concurrently. If nil, it is not called.
	OnAdopt func(p registry.Profile, namespace, secret string)

	// WarnBefore is how long before a login expires by itself (Login.ExpiresAt) it is reported in [Result.Warnings].
	// Zero means 14 days. If negative, it is not reported.
	WarnBefore time.Duration

	// CompleteLists declares that each list of targets that [Syncer.Sync] gets is complete, so that even one that is empty
	// or much shorter than the one before has the secrets of all others removed. If false, such a list removes nothing,
	// and is reported as [registry.ErrRemovalWithheld].
	CompleteLists bool

	// ReplaceImmutable allows to delete a secret of the owner and create it again if somebody has set it to immutable and
	// it is to be renewed. Otherwise that is reported as [registry.ErrSecretImmutable].
	ReplaceImmutable bool

	// InUse reports whether something other than a service account, such as a pod, names a secret. A target that was
	// renamed keeps the secret under its old name while something does. If nil, only service accounts are looked at. A
	// kube.Controller sets it.
	InUse func(ctx context.Context, namespace, secret string) (bool, error)

	// ReplaceWrongType allows to delete a secret of the owner and create it again if somebody made it with a type that
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

	mu       sync.RWMutex
	index    *index // Nil before the first list of targets.
	agenda   agenda
	places   map[string]*placeStatus // By namespace.
	general  []Problem               // Those of the cluster.
	removal  removal
	passes   int
	complete bool      // A pass over all namespaces has come to its end.
	fullAt   time.Time // When another one is due, because the last one did not, or the cluster was not watched.
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
	// Warnings are what will become a problem unless somebody acts: [registry.ErrLoginExpires].
	Warnings []Problem
	// ExpiresAt is when the first of the secrets that are now published expires. Zero means never, or that none is.
	ExpiresAt time.Time
	// NextAt is when the next pass is due if nothing happens before: to renew, or to try again. Zero means never. After a
	// pass over all namespaces, or over what was due, it is that of everything that the Syncer keeps.
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
// wants is removed, unless the list is empty or names less than half of what is published; see [Syncer.CompleteLists].
//
// The list replaces the targets that the Syncer keeps for [Syncer.SyncDue], [Syncer.SyncNamespaces], [Syncer.SetTarget]
// and [Syncer.RemoveTarget], whose cost does not grow with the number of targets. Names of namespaces limit the pass to
// those, and then the list is for this pass only.
//
// The error is not nil if the pass was not made or not finished, because the cluster does not answer or ctx ended; the
// result holds what was done until then. All else that is wrong is in [Result.Problems], and holds up nothing but what
// it is about.
func (s *Syncer) Sync(ctx context.Context, targets []Target, namespaces ...string) (Result, error) {
	x := newIndex(targets)
	if len(namespaces) > 0 {
		return s.run(ctx, work{index: x, namespaces: namespaces})
	}
	s.mu.Lock()
	s.setTargets(x)
	all := s.newWork(nil, nil)
	s.mu.Unlock()
	return s.run(ctx, all)
}

// SyncNamespaces makes a pass over these namespaces, because something happened in them, with the targets that the Syncer
// keeps. The errors are those of [Syncer.Sync]; it is also one if no targets were set yet.
func (s *Syncer) SyncNamespaces(ctx context.Context, namespaces ...string) (Result, error) {
	if len(namespaces) == 0 {
		return Result{NextAt: s.NextAt()}, nil
	}
	s.mu.Lock()
	if s.index == nil {
		s.mu.Unlock()
		return Result{}, errNoTargets
	}
	some := s.newWork(nil, namespaces)
	s.mu.Unlock()
	return s.run(ctx, some)
}

// HasTargets reports whether targets were set, by [Syncer.Sync] or [Syncer.SetTarget].
func (s *Syncer) HasTargets() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.index != nil
}

// SyncDue makes the passes that are due: over the targets whose credentials are renewed, that were set one by one, or that
// are to be tried again, in their namespaces; or over all, if the last such pass did not come to its end. If nothing is
// due, it does nothing. The errors are those of [Syncer.SyncNamespaces].
func (s *Syncer) SyncDue(ctx context.Context) (Result, error) {
	if !s.HasTargets() {
		return Result{}, errNoTargets
	}
	var all Result
	for _, w := range s.due(time.Now()) {
		result, err := s.run(ctx, w)
		all.Changed = append(all.Changed, result.Changed...)
		all.Problems = append(all.Problems, result.Problems...)
		all.Warnings = append(all.Warnings, result.Warnings...)
		all.ExpiresAt = earlier(all.ExpiresAt, result.ExpiresAt)
		if err != nil {
			all.NextAt = result.NextAt
			return all, err
		}
	}
	all.NextAt = s.NextAt()
	return all, nil
}

var errNoTargets = fmt.Errorf("%w: no targets were set: call Syncer.Sync or SetTarget first", registry.ErrInvalid)

// run makes a pass.
func (s *Syncer) run(ctx context.Context, w work) (Result, error) {
	if s.OnSync == nil {
		return s.pass(ctx, w)
	}
	ctx, done := s.OnSync(ctx, w.namespaces)
	result, err := s.pass(ctx, w)
	done(result, err)
	return result, err
}

func (s *Syncer) pass(ctx context.Context, w work) (result Result, err error) {
	p, state, err := s.plan(ctx, w)
	if err != nil {
		result.NextAt = s.pace.unavailable(time.Now())
	} else {
		s.pace.forget(state, w.namespaces)
		result, err = s.applyAll(ctx, p, state)
	}
	if w.own {
		s.noteEnd(w, gone(state, w.namespaces), &result, err)
	}
	if err != nil {
		return result, fmt.Errorf("sync pull secrets: %w", err)
	}
	return result, nil
}

// gone returns those of the namespaces that do not exist.
func gone(state []Namespace, namespaces []string) []string {
	if len(state) == len(namespaces) {
		return nil
	}
	there := make(map[string]bool, len(state))
	for _, ns := range state {
		there[ns.Name] = true
	}
	return slices.DeleteFunc(slices.Clone(namespaces), func(name string) bool { return there[name] })
}

// Plan is [Syncer.Sync] without the changes: what it would do now.
func (s *Syncer) Plan(ctx context.Context, targets []Target, namespaces ...string) (Plan, error) {
	p, state, err := s.plan(ctx, work{index: newIndex(targets), namespaces: namespaces})
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
func (s *Syncer) plan(ctx context.Context, w work) (*planner, []Namespace, error) {
	switch {
	case s.Cluster == nil:
		return nil, nil, fmt.Errorf("%w: Syncer.Cluster is not set", registry.ErrInvalid)
	case s.Credential == nil:
		return nil, nil, fmt.Errorf("%w: Syncer.Credential is not set", registry.ErrInvalid)
	}
	if n := s.AdoptionKey.Len(); n > 0 && n < minAdoptionKey {
		return nil, nil, fmt.Errorf("%w: Syncer.AdoptionKey has %d bytes: expected at least %d random ones", registry.ErrInvalid, n, minAdoptionKey)
	}
	owner := s.owner()
	if !ownerName.MatchString(owner) {
		return nil, nil, fmt.Errorf("%w: owner is %q: expected lower-case letters, digits and hyphens, at most 40", registry.ErrInvalid, owner)
	}
	state, stale := s.Cluster.State(ctx, Scope{owner, w.namespaces})
	if stale != nil && !errors.Is(stale, registry.ErrStale) {
		return nil, nil, stale
	}
	p := &planner{Syncer: s, owner: owner, work: w, stale: stale}
	p.wants, p.problems, p.warnings = s.want(ctx, w, state)
	if len(w.namespaces) == 0 && w.names == nil {
		if withheld := s.judge(w, state); withheld != nil {
			p.problems = append(p.problems, *withheld)
		}
	}
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

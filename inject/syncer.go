package inject

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
)

// A Syncer reconciles the pull secrets of a cluster with a list of targets: it creates, links and renews the secrets
// that a target needs, and removes those that no target needs. Each call makes one pass; a program calls it when
// something changed and when [Result.NextAt] has come. Set the fields before the first use. A Syncer is safe for
// concurrent use and must not be copied.
//
//   - A pass writes only what differs from the desired state.
//   - A good secret is never replaced by a worse one: an empty one, one that lacks some of its profiles, an expired
//     one, or one with an older credential. If one of its credentials is not available, a secret stays unchanged.
//   - A pass does not touch what belongs to others: their secrets, their entries in a service account, and their
//     additions to the owner's secrets.
//   - If another client undoes a change, the Syncer repeats it at once, then at growing intervals, and reports
//     [registry.ErrContested].
type Syncer struct {
	// Cluster is the cluster to reconcile. It is required, except for the Syncer of a kube.Controller, which sets it.
	Cluster Cluster

	// Credential returns the credential of a profile. It is required. Each pass calls it, so it should use a
	// [credentials.Cache]. If it also checks the credentials that it returns, no unchecked credential is ever
	// published.
	Credential func(ctx context.Context, p registry.Profile) (credentials.Credential, error)

	// Check fails unless the images can be pulled with the credentials of the profiles. [Syncer.EnsureReady] calls it.
	// Use the Check method of a regcred.Pipeline, if the pipeline shares the cache of Credential. If nil, EnsureReady
	// fails for a call with images.
	Check func(ctx context.Context, profiles []registry.Profile, images []string) error

	// Owner distinguishes the secrets of several Syncers of one cluster: lower-case letters, digits and hyphens, at
	// most 40. A Syncer removes each secret that carries its owner's label and belongs to no target, so two Syncers
	// with different targets must have different owners. Empty means "regcred".
	Owner string

	// Concurrency is the number of namespaces that a pass reconciles at once. Zero means 32.
	Concurrency int

	// CredentialTimeout limits how long a pass waits for a credential before it continues without the credential. Zero
	// means 30 seconds.
	CredentialTimeout time.Duration

	// Lookup returns a cache's entry for a profile's credential, as the Lookup method of a regcred.Pipeline does. With
	// it, a pass is due when the cache renews a credential, and [Syncer.Renewed] finds the targets that hold one. If
	// nil, a pass is due at the latest instant at which a cache with the zero [credentials.Policy] has renewed.
	Lookup func(p registry.Profile) credentials.Entry

	// AdoptionKey allows a pass to adopt a credential that an earlier process or another replica has published,
	// instead of requesting a new one: then a restart causes no call to an issuer and no write. The key signs what is
	// published (see [AnnotationOrigin]). The signature proves that a published credential was made from the same
	// login, endpoint and transport, and was not edited. All replicas and all clusters that share a cache need the
	// same key, of at least 16 random bytes; kube.AdoptionKey keeps one in a Secret. If zero, nothing is adopted. To
	// replace it later, call [Syncer.SetAdoptionKey].
	AdoptionKey credentials.Secret

	// Adopt puts a published credential into the cache that Credential uses, and reports whether the cache accepted
	// it. Use the Adopt method of a regcred.Pipeline: its Credential checks the adopted credential at the registry
	// before the credential is published anywhere else. Adopt needs Lookup. If nil, nothing is adopted.
	Adopt func(p registry.Profile, c credentials.Credential) bool

	// OnAdopt is called after each adoption of a credential, with the namespace and the name of the secret that held
	// it. It may be called concurrently. If nil, it is not called.
	OnAdopt func(p registry.Profile, namespace, secret string)

	// WarnBefore is the time before the expiry of a login (Login.ExpiresAt) from which on [Result.Warnings] reports
	// it. Zero means 14 days. If negative, it is not reported.
	WarnBefore time.Duration

	// Mirrored are the registries whose images the nodes get from a mirror, with a login in the configuration of the
	// node (configs of k3s and RKE2, registry.configs of containerd): "ghcr.io", or "*" for all. A pull secret
	// disables that login, because containerd then sends the secret to the mirror. So profiles of these registries are
	// left out of the secrets of all targets, including secrets that are already published, and [Result.Warnings]
	// reports each of them as [registry.ErrMirrored]. A profile is left out as a whole: if only some of its hosts are
	// mirrored, use a profile of its own for the other hosts. If no profile of a target is left, its secret is removed.
	// Package validate/mirrors finds these registries in the files of a node (node-login-unused). If nil, no profile
	// is left out.
	Mirrored []string

	// CompleteLists declares that each list of targets passed to [Syncer.Sync] is complete. Then even a list that is
	// empty or much shorter than the previous one removes the secrets of all other targets. If false, such a list
	// removes nothing, and is reported as [registry.ErrRemovalWithheld].
	CompleteLists bool

	// ReplaceImmutable permits a pass to delete and recreate a secret of the owner that is due for renewal and that
	// another client has made immutable. If false, such a secret is reported as [registry.ErrSecretImmutable].
	ReplaceImmutable bool

	// InUse reports whether anything other than a service account, such as a pod, names a secret. A renamed target
	// keeps the secret under its old name while that is in use. If nil, only service accounts count as use. A
	// kube.Controller sets it.
	InUse func(ctx context.Context, namespace, secret string) (bool, error)

	// ReplaceWrongType permits a pass to delete and recreate a secret of the owner that has a type that no kubelet
	// reads. If false, such a secret is reported as [registry.ErrWrongType].
	ReplaceWrongType bool

	// OnChange is called after each attempted change, with its error, if any. It may be called concurrently. If nil,
	// it is not called.
	OnChange func(change Change, err error)

	// OnSync is called when a pass begins, with the namespaces that it is limited to, as in [Syncer.Sync]. It returns
	// the context of the pass, which is ctx or derived from it, and a function that is called with the results of
	// Sync. Neither may be nil. OnSync may be called concurrently. If nil, it is not called.
	OnSync func(ctx context.Context, namespaces []string) (context.Context, func(Result, error))

	pace    pace
	busy    busy
	rotated atomic.Pointer[credentials.Secret] // Replaces AdoptionKey.

	mu       sync.RWMutex
	index    *index // Nil before the first list of targets.
	agenda   agenda
	places   map[string]*placeStatus // By namespace.
	general  []Problem               // Problems of the cluster as a whole.
	declared map[string]int          // The names that RemoveTarget has declared to be removed, with the last pass before.
	passes   int
	edits    edits
	revision int       // It grows with each change of the targets or of the key.
	allUntil int       // The last pass that may have begun before visitAll.
	complete bool      // A pass over all namespaces has finished.
	fullAt   time.Time // The next full pass, if the last one did not finish or the cluster was not watched. Zero means none.
}

// A Problem is an object or target that a pass could not bring into its desired state.
type Problem struct {
	// Target is the name of the target, and Profile is the name of the profile. Either may be empty: a service account
	// may name the secrets of several targets.
	Target, Profile string
	// Namespace and Name identify the object. They are empty if the problem concerns the target in all namespaces.
	Namespace, Name string
	// Err is the cause. It holds no secret.
	Err error
	// RetryAt is the instant of the next attempt. Zero means that every pass tries again.
	RetryAt time.Time
}

// Error returns the target, the profile, the object and the cause in one line.
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

// A Result reports the changes and problems of a pass.
type Result struct {
	// Changed are the changes that were made, in no particular order.
	Changed []Change
	// Problems are the objects and targets that are not in their desired state.
	Problems []Problem
	// Warnings are conditions that become problems unless a person acts: [registry.ErrLoginExpires]. They include the
	// profiles that are left out: [registry.ErrMirrored].
	Warnings []Problem
	// ExpiresAt is the earliest expiry among the secrets that are now published. Zero means that none expires, or that
	// none is published.
	ExpiresAt time.Time
	// NextAt is the instant at which the next pass is due, to renew or to retry, if nothing happens before. Zero means
	// never. After a pass over all namespaces, or after SyncDue, it covers all targets that the Syncer keeps.
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
	// staleRetry is the wait before a pass looks again whether a cluster is watched.
	staleRetry = time.Minute
)

func (s *Syncer) newIndex(targets []Target) *index {
	return newIndex(targets, map[string]string{LabelManagedBy: "regcred", LabelOwner: s.owner()})
}

func (s *Syncer) owner() string {
	if s.Owner != "" {
		return s.Owner
	}
	return defaultOwner
}

// Sync makes one pass over the targets, which must be all targets of the Owner in the cluster. It removes the owner's
// secrets that belong to no target, unless the list is empty or names less than half of the published secrets; see
// [Syncer.CompleteLists].
//
// The list replaces the targets that the Syncer keeps for [Syncer.SyncDue], [Syncer.SyncNamespaces],
// [Syncer.SetTarget] and [Syncer.RemoveTarget], whose cost does not grow with the number of targets. Use
// [Syncer.SyncFunc] if these may be called while the list is being read.
//
// If namespaces are named, the pass is limited to them and the list applies to this pass only. Because that list may be
// outdated, the pass removes nothing that a kept target needs, and the namespaces that it changes become due for
// SyncDue, if the Syncer keeps targets.
//
// Sync fails if the pass was not made or not finished, because the cluster does not respond or ctx ended; the result
// then holds what was done before. [Result.Problems] holds all other errors, each of which affects only its own object
// or target.
func (s *Syncer) Sync(ctx context.Context, targets []Target, namespaces ...string) (Result, error) {
	x := s.newIndex(targets)
	if len(namespaces) > 0 {
		return s.run(ctx, work{index: x, namespaces: namespaces})
	}
	s.mu.Lock()
	s.setTargets(x)
	all := s.newWork(nil, nil)
	s.mu.Unlock()
	return s.run(ctx, all)
}

// SyncFunc is [Syncer.Sync] for the list that targets returns. The targets that [Syncer.SetTarget] and
// [Syncer.RemoveTarget] set and remove while targets runs count as later than the list. If targets fails, SyncFunc
// fails with its error, and makes no pass.
func (s *Syncer) SyncFunc(ctx context.Context, targets func(context.Context) ([]Target, error)) (Result, error) {
	all, err := s.readTargets(ctx, targets)
	if err != nil {
		return Result{}, err
	}
	return s.run(ctx, all)
}

// SyncNamespaces makes a pass over these namespaces, after a change in them, with the targets that the Syncer keeps.
// It fails as [Syncer.Sync] does, and also if no targets were set yet.
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

// SyncDue makes the passes that are due. They cover the targets that have a renewal or a retry due or were set by
// [Syncer.SetTarget], each in its namespaces. If an earlier pass did not finish, SyncDue makes one pass over all
// targets and namespaces instead. If nothing is due, it does nothing. It fails as [Syncer.SyncNamespaces] does.
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
		s.pace.forget(state, w.namespaces, time.Now())
		result, err = s.applyAll(ctx, p, state)
	}
	if w.own {
		var made map[*record]*want
		if p != nil {
			made = p.wants.made
		}
		s.noteEnd(w, made, gone(state, w.namespaces), &result, err)
	}
	if err != nil {
		return result, fmt.Errorf("sync pull secrets: %w", err)
	}
	return result, nil
}

// gone returns the namespaces of the list that do not exist.
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

// Plan returns what [Syncer.Sync] would do now, without making the changes.
func (s *Syncer) Plan(ctx context.Context, targets []Target, namespaces ...string) (Plan, error) {
	p, state, err := s.plan(ctx, work{index: s.newIndex(targets), namespaces: namespaces})
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

// ownerName limits the length because names of annotations are derived from the owner, and may have 63 characters.
var ownerName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$`)

// plan reads the state of the cluster and fetches the credentials that are needed in it.
func (s *Syncer) plan(ctx context.Context, w work) (*planner, []Namespace, error) {
	switch {
	case s.Cluster == nil:
		return nil, nil, fmt.Errorf("%w: Syncer.Cluster is not set", registry.ErrInvalid)
	case s.Credential == nil:
		return nil, nil, fmt.Errorf("%w: Syncer.Credential is not set", registry.ErrInvalid)
	}
	if err := checkAdoptionKey(s.adoptionKey()); err != nil {
		return nil, nil, err
	}
	if err := s.checkMirrored(); err != nil {
		return nil, nil, err
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

// SyncEach calls [Syncer.Sync] of all Syncers concurrently, and yields each outcome as soon as it is known, so that a
// cluster that is down does not delay the others. SyncOutcome.Err is the error of Sync. Breaking the loop cancels the
// rest.
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

// A SyncOutcome holds the results of [Syncer.Sync] for one cluster.
type SyncOutcome struct {
	Result Result
	Err    error
}

package inject

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/regcred/regcred/internal/option"
	"github.com/regcred/regcred/internal/panics"
	"github.com/regcred/regcred/registry"
)

// A pass is the apply phase of one call of Sync.
type pass struct {
	*Syncer
	planner *planner
	stop    context.CancelCauseFunc // Cuts the pass short.

	unanswered atomic.Int32 // Consecutive changes without a response of the cluster.

	mu        sync.Mutex // Guards all fields below.
	result    Result
	again     map[string]time.Time // The next look at a namespace.
	attempted map[string]bool      // The namespaces in which a change was attempted.
}

// unansweredMax is the number of consecutive changes without a response after which a pass is aborted. A single one
// does not imply that others fail: an admission webhook may fail for one namespace only.
const unansweredMax = 10

// rounds limits how often one pass reads and plans a namespace that keeps changing meanwhile.
const rounds = 4

// applyAll makes the changes in all namespaces, several namespaces at once. It fails if the pass was cut short.
func (s *Syncer) applyAll(ctx context.Context, p *planner, state []Namespace) (Result, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	w := &pass{Syncer: s, planner: p, stop: stop}
	for _, problem := range p.problems {
		w.problem(problem)
	}
	w.result.Warnings = p.warnings

	var working sync.WaitGroup
	places := make(chan struct{}, s.concurrency())
	for _, ns := range state {
		// Most passes find no changes: detect that here, without a goroutine.
		changes, problems := p.namespace(ns)
		if len(changes) == 0 {
			w.record(ns, problems)
			continue
		}
		places <- struct{}{}
		if ctx.Err() != nil {
			break
		}
		working.Go(func() {
			defer func() { <-places }()
			w.namespace(ctx, ns.Name)
		})
	}
	working.Wait()
	s.revisit(p.work, w.attempted)
	if ctx.Err() != nil {
		w.result.NextAt = s.pace.unavailable(time.Now()) // Nothing else is possible before.
		return w.result, context.Cause(ctx)
	}
	return w.result, nil
}

func (s *Syncer) concurrency() int {
	return option.OrDefault(s.Concurrency, defaultConcurrency)
}

// namespace reconciles one namespace until it is in its desired state, or cannot reach it in this pass. It locks the
// namespace and reads it again, because another pass may have changed it since the state was read.
func (w *pass) namespace(ctx context.Context, name string) {
	defer w.busy.lock(name)()
	for round := 1; ; round++ {
		state, err := w.Cluster.State(ctx, Scope{w.planner.owner, []string{name}})
		if err != nil && !errors.Is(err, registry.ErrStale) { // The next pass reports it, if this one has not.
			w.stop(err)
			return
		}
		if len(state) == 0 {
			return // The namespace is gone.
		}
		changes, problems := w.planner.namespace(state[0])
		failed, conflict, changed := w.apply(ctx, state[0].UID, changes)
		if ctx.Err() != nil {
			return
		}
		problems = append(problems, failed...)
		if conflict == nil && changed && err == nil && round < rounds {
			continue // An admission webhook may have changed what was written. A stale state would not show it.
		}
		if conflict == nil {
			w.record(state[0], problems)
			return
		}
		if round == rounds {
			conflict.RetryAt = time.Now().Add(firstRetry)
			w.record(state[0], append(problems, *conflict))
			return
		}
		// A watch may need a moment to deliver the conflicting change.
		select {
		case <-time.After(time.Duration(round*round) * 20 * time.Millisecond):
		case <-ctx.Done():
			return
		}
	}
}

// apply makes the changes of the namespace with that UID one after the other, and skips those that depend on a failed
// one. It returns the failures, and separately a conflict, if there was one, and whether any change succeeded.
func (w *pass) apply(ctx context.Context, uid string, changes []Change) (failed []Problem, conflict *Problem, changed bool) {
	var missing []string // Secrets that could not be created.
	unlinked := true     // An account that could not be changed may still name a secret that is to be deleted.
	for _, c := range changes {
		if c.Action == LinkAccount {
			c.Link = slices.DeleteFunc(slices.Clone(c.Link), func(name string) bool { return slices.Contains(missing, name) })
			if len(c.Link)+len(c.Unlink) == 0 {
				continue
			}
		}
		if c.Action == DeleteSecret && !unlinked {
			continue
		}
		if used, err := w.inUse(ctx, c); used {
			w.later(c.Namespace)
			if err != nil && ctx.Err() == nil {
				failed = append(failed, Problem{Namespace: c.Namespace, Name: c.Name, Target: c.Name, RetryAt: time.Now().Add(inUseRetry),
					Err: fmt.Errorf("check whether the secret is in use under its old name: %w", err)})
			}
			if len(c.renewal) == 0 {
				continue
			}
			c = c.renewal[0]
		}
		problem := w.change(ctx, uid, c)
		if problem == nil {
			changed = true
			continue
		}
		switch err := problem.Err; {
		case ctx.Err() != nil, errors.Is(err, registry.ErrNamespaceGone):
			return nil, nil, false
		case errors.Is(err, registry.ErrConflict):
			conflict = problem
		default:
			failed = append(failed, *problem)
		}
		switch c.Action {
		case CreateSecret, ReplaceSecret:
			missing = append(missing, c.Name)
		case LinkAccount:
			unlinked = unlinked && len(c.Unlink) == 0
		}
	}
	return failed, conflict, changed
}

// change makes one change, unless its backoff has not elapsed.
func (w *pass) change(ctx context.Context, uid string, c Change) *Problem {
	problem := func(err error, retryAt time.Time) *Problem {
		p := &Problem{Namespace: c.Namespace, Name: c.Name, Err: err, RetryAt: retryAt}
		if c.Action != LinkAccount {
			p.Target = c.Name
		}
		return p
	}
	if until, err := w.pace.wait(c, uid, time.Now()); err != nil {
		return problem(err, until)
	}
	w.mu.Lock()
	if w.attempted == nil {
		w.attempted = make(map[string]bool)
	}
	w.attempted[c.Namespace] = true
	w.mu.Unlock()
	err := w.Cluster.Apply(ctx, c)
	if w.OnChange != nil {
		if panicked := panics.Call("Syncer.OnChange", func() error { w.OnChange(c, err); return nil }); panicked != nil {
			w.problem(*problem(panicked, time.Time{}))
		}
	}
	if !errors.Is(err, registry.ErrClusterUnavailable) {
		w.unanswered.Store(0)
	} else if w.unanswered.Add(1) == unansweredMax {
		w.stop(err)
	}
	if err == nil {
		w.pace.done(c, uid, nil, time.Now())
		w.mu.Lock()
		defer w.mu.Unlock()
		w.result.Changed = append(w.result.Changed, c)
		return nil
	}
	for _, special := range []error{registry.ErrConflict, registry.ErrNamespaceGone, context.Cause(ctx)} {
		if special != nil && errors.Is(err, special) {
			return problem(err, time.Time{})
		}
	}
	return problem(err, w.pace.done(c, uid, err, time.Now()))
}

// record records the state of the namespace after the pass, and when to look at it again.
func (w *pass) record(ns Namespace, problems []Problem) {
	w.mu.Lock()
	for _, p := range problems {
		w.add(p)
	}
	again := w.again[ns.Name]
	w.mu.Unlock()
	found := make(map[*record]place, 8)
	if !ns.Terminating {
		for _, want := range w.planner.wants.in(ns) {
			if want.invalid && !want.Namespaces.Selects(ns.Name, ns.Labels) {
				continue
			}
			p := place{content: want.content, desired: true, expiresAt: want.config.ExpiresAt()}
			var others []Problem
			for _, problem := range problems {
				if problem.Target == want.Name || problem.Target != "" && problem.Name == want.Name {
					p.problems = append(p.problems, problem)
				} else {
					others = append(others, problem)
				}
			}
			problems = others
			if want.contentUnknown || len(p.problems) > 0 { // The published content stays.
				p.content, p.desired, p.expiresAt = noContent, false, time.Time{}
				if i := slices.IndexFunc(ns.Secrets, func(have PublishedSecret) bool { return have.Name == want.Name }); i >= 0 {
					p.content, p.expiresAt = ns.Secrets[i].Content, instant(ns.Secrets[i].Annotations[AnnotationExpiresAt])
				}
			}
			found[want.record] = p
			w.mu.Lock()
			w.result.NextAt = earlier(w.result.NextAt, want.renewAt)
			w.result.ExpiresAt = earlier(w.result.ExpiresAt, p.expiresAt)
			w.mu.Unlock()
		}
	}
	if w.planner.work.own {
		w.notePlace(w.planner.work, ns, found, problems, again)
	}
}

// later schedules another look at the namespace, for when the old name of a target may be out of use.
func (w *pass) later(namespace string) {
	at := time.Now().Add(inUseRetry)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.result.NextAt = earlier(w.result.NextAt, at)
	if w.again == nil {
		w.again = make(map[string]time.Time)
	}
	w.again[namespace] = at
}

func (w *pass) problem(p Problem) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.add(p)
}

// add records a problem, and schedules a retry. The caller holds mu, or no other goroutine uses the pass.
func (w *pass) add(p Problem) {
	w.result.Problems = append(w.result.Problems, p)
	w.result.NextAt = earlier(w.result.NextAt, p.RetryAt)
}

// busy has a lock for each namespace that a pass works on. The zero busy is ready to use.
type busy struct {
	mu    sync.Mutex
	locks map[string]*lock
}

type lock struct {
	sync.Mutex
	users int
}

// lock locks the namespace, and returns the function that unlocks it.
func (b *busy) lock(name string) func() {
	b.mu.Lock()
	if b.locks == nil {
		b.locks = make(map[string]*lock)
	}
	l := b.locks[name]
	if l == nil {
		l = &lock{}
		b.locks[name] = l
	}
	l.users++
	b.mu.Unlock()
	l.Lock()
	return func() {
		l.Unlock()
		b.mu.Lock()
		defer b.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(b.locks, name)
		}
	}
}

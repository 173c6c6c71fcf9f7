package kube

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/inject"
)

// A Controller keeps the pull secrets of a cluster in their desired state. Set the fields before Start. A Controller
// must not be copied. It makes passes
//
//   - over all namespaces, when it starts, after [Controller.Wake], and when the cluster can no longer be watched, or
//     can be watched again;
//   - over targets with a renewal or retry that is due;
//   - over namespaces in which another client changed something, immediately after the change and even while a long
//     pass is running.
//
// Controller has the methods of a Runnable of controller-runtime, so that mgr.Add(controller) runs it in a manager, on
// the leader only. Without a manager, call Start when the process becomes the leader, and cancel its context when it
// no longer is.
type Controller struct {
	// Cluster is the watched cluster. Start runs it. It is required.
	Cluster *Cluster
	// Syncer makes the passes. It is required. Its Cluster must be the same Cluster or a wrapper of it; if nil, the
	// Controller sets it. Set it before it is wrapped, by injectotel.Trace for example.
	Syncer *inject.Syncer
	// Targets returns the current list of targets. It is required. It is called for each pass over all namespaces, and
	// for each pass of [Controller.EnsureReady]. Other passes use the last list, with the later changes of
	// [Controller.SetTarget] and [Controller.RemoveTarget], which may be called while Targets runs.
	// If Targets fails, the last list stays in use, OnPass and the Syncer's OnSync are called, and Targets is called
	// again soon.
	Targets func(ctx context.Context) ([]inject.Target, error)
	// OnPass is called after each pass. It may be called concurrently. If nil, it is not called.
	OnPass func(Pass)

	complete sync.Once

	wanted  signal // A pass over all namespaces is requested.
	changed signal // The instant of the next pass has changed.
	some    signal // There are dirty namespaces.

	mu      sync.Mutex
	targets []inject.Target // The last list.
	dirty   map[string]bool // The namespaces with changes.
}

// A Pass reports the outcome of one pass of a [Controller].
type Pass struct {
	// Targets is the last list that Controller.Targets returned. It is nil if Controller.Targets failed.
	Targets []inject.Target
	// Namespaces are the namespaces that the pass was limited to. Empty means that it covered all, or what was due.
	Namespaces []string
	// Due is true if the pass covered what was due: a renewal, a retry, a target that was set by SetTarget.
	Due bool
	// Result holds the changes and problems of the pass.
	Result inject.Result
	// Err is the reason why the pass was not made or not finished. It is nil after a finished pass.
	Err error

	// syncer has the problems of all namespaces. If nil, Result has them.
	syncer *inject.Syncer
}

// A signal is sent any number of times and received once. The zero signal is ready to use.
type signal struct {
	once sync.Once
	c    chan struct{}
}

func (s *signal) notified() <-chan struct{} {
	s.once.Do(func() { s.c = make(chan struct{}, 1) })
	return s.c
}

func (s *signal) notify() {
	s.notified()
	select {
	case s.c <- struct{}{}:
	default:
	}
}

const (
	// eventDelay is the time during which events are collected before a pass: a new namespace is followed by its
	// accounts.
	eventDelay = 50 * time.Millisecond
	// targetsRetry is the wait before Targets is called again after a failure.
	targetsRetry = 10 * time.Second
)

// NeedLeaderElection returns true, because two replicas would renew and write the same secrets.
func (c *Controller) NeedLeaderElection() bool { return true }

// Wake requests a pass over all namespaces, because the list of targets has changed. It returns at once, and may be
// called at any time.
func (c *Controller) Wake() { c.wanted.notify() }

// SetTarget adds or replaces one target; see [inject.Syncer.SetTarget]. Controller.Targets must return it from now on.
func (c *Controller) SetTarget(t inject.Target) {
	c.Syncer.SetTarget(t)
	c.changed.notify()
}

// RemoveTarget removes one target and its secrets; see [inject.Syncer.RemoveTarget]. Controller.Targets must not return
// it from now on.
func (c *Controller) RemoveTarget(name string) {
	c.Syncer.RemoveTarget(name)
	c.changed.notify()
}

// SetAdoptionKey replaces the key that signs published credentials; see [inject.Syncer.SetAdoptionKey].
func (c *Controller) SetAdoptionKey(key credentials.Secret) error {
	err := c.Syncer.SetAdoptionKey(key)
	c.changed.notify()
	return err
}

// Renewed makes a pass due that publishes a credential that a cache has just issued. Add it to the hooks of the cache,
// and set Syncer.Lookup:
//
//	cache.Hooks = cache.Hooks.Join(credentials.Hooks{Issued: controller.Renewed})
//
// Without Renewed, a new credential is published some seconds later.
func (c *Controller) Renewed(e credentials.Event) {
	c.Syncer.Renewed(e)
	c.changed.notify()
}

// Start runs until ctx ends, and then returns nil; see [Cluster.Run]. It must be called once. It fails only if a
// required field is missing, or if the Cluster and the Syncer have different owners.
func (c *Controller) Start(ctx context.Context) error {
	if err := c.ready(); err != nil {
		return err
	}
	c.Cluster.listen(func(namespace string, own bool) {
		if !own { // The pass that made the change has looked at the namespace, or the Syncer makes another one due.
			c.mark(namespace)
		}
	})
	var running sync.WaitGroup
	running.Go(func() { _ = c.Cluster.Run(ctx) }) // It returns no error.
	running.Go(func() { c.passes(ctx) })
	running.Go(func() { c.events(ctx) })
	running.Wait()
	return nil
}

// ready completes the Syncer, or reports a wrong or missing field.
func (c *Controller) ready() error {
	switch {
	case c.Cluster == nil:
		return errors.New("Controller.Cluster is not set")
	case c.Cluster.Client == nil:
		return errors.New("Cluster.Client is not set")
	case c.Syncer == nil:
		return errors.New("Controller.Syncer is not set")
	case c.Targets == nil:
		return errors.New("Controller.Targets is not set")
	}
	if cluster, syncer := c.Cluster.owner(), cmp.Or(c.Syncer.Owner, "regcred"); cluster != syncer {
		return fmt.Errorf("Cluster.Owner is %q and Syncer.Owner is %q: set both to the same name", cluster, syncer)
	}
	c.complete.Do(func() {
		if c.Syncer.Cluster == nil {
			c.Syncer.Cluster = c.Cluster
		}
		if c.Syncer.InUse == nil {
			c.Syncer.InUse = c.Cluster.InUse
		}
	})
	if c.Syncer.Credential == nil {
		return errors.New("Syncer.Credential is not set")
	}
	return nil
}

func (c *Controller) mark(namespace string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dirty == nil {
		c.dirty = make(map[string]bool)
	}
	c.dirty[namespace] = true
	c.some.notify()
}

// passes makes the passes over all namespaces and the passes over what is due.
func (c *Controller) passes(ctx context.Context) {
	retry := c.passOverAll(ctx)
	for ctx.Err() == nil {
		switch all := c.wait(ctx, retry); {
		case ctx.Err() != nil:
		case all || !retry.IsZero() && !time.Now().Before(retry):
			retry = c.passOverAll(ctx)
		default:
			result, err := c.Syncer.SyncDue(ctx)
			c.report(ctx, Pass{Targets: c.list(), Due: true, Result: result, Err: err})
		}
	}
}

// wait blocks until a pass is due, and reports whether a pass over all namespaces was requested. If retry is not zero,
// one is due at that instant, and until then the last list stays in use.
func (c *Controller) wait(ctx context.Context, retry time.Time) (all bool) {
	for {
		next := retry
		if at := c.dueAt(); next.IsZero() || !at.IsZero() && at.Before(next) {
			next = at
		}
		timer := time.NewTimer(time.Until(next))
		if next.IsZero() {
			timer.Stop()
		}
		select {
		case <-c.changed.notified():
			timer.Stop()
			if at := c.dueAt(); at.IsZero() || time.Until(at) > 0 {
				continue
			}
			wait(ctx, eventDelay) // More changes may follow.
			return false
		case <-timer.C:
			return false
		case <-c.wanted.notified():
			timer.Stop()
			return true
		case <-c.Cluster.health.notified():
			timer.Stop()
			return true
		case <-ctx.Done():
			timer.Stop()
			return false
		}
	}
}

// dueAt returns the instant at which SyncDue has work; zero if never, or if it has no targets.
func (c *Controller) dueAt() time.Time {
	if !c.Syncer.HasTargets() {
		return time.Time{}
	}
	return c.Syncer.NextAt()
}

// passOverAll makes a pass over all namespaces. If Targets fails, it returns the instant of the next attempt.
func (c *Controller) passOverAll(ctx context.Context) (retry time.Time) {
	read := false
	result, err := c.Syncer.SyncFunc(ctx, func(ctx context.Context) ([]inject.Target, error) {
		targets, err := c.Targets(ctx)
		if err == nil {
			read = true
			c.mu.Lock()
			c.targets = targets
			c.mu.Unlock()
		}
		return targets, err
	})
	if read {
		c.report(ctx, Pass{Targets: c.list(), Result: result, Err: err})
		return time.Time{}
	}
	retry = time.Now().Add(targetsRetry)
	result = inject.Result{NextAt: retry}
	if c.Syncer.OnSync != nil { // For metrics and traces, it counts as a pass.
		_, done := c.Syncer.OnSync(ctx, nil)
		done(result, err)
	}
	c.report(ctx, Pass{Result: result, Err: err})
	return retry
}

func (c *Controller) list() []inject.Target {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.targets
}

func (c *Controller) report(ctx context.Context, p Pass) {
	if c.OnPass != nil && ctx.Err() == nil {
		p.syncer = c.Syncer
		c.OnPass(p)
	}
}

// events makes passes over the namespaces with changes. Before the first list of targets it makes none: the pass over
// all namespaces that follows covers those changes.
func (c *Controller) events(ctx context.Context) {
	for {
		select {
		case <-c.some.notified():
		case <-ctx.Done():
			return
		}
		if wait(ctx, eventDelay); ctx.Err() != nil {
			return
		}
		c.mu.Lock()
		names := slices.Sorted(maps.Keys(c.dirty))
		c.dirty = nil
		c.mu.Unlock()
		if !c.Syncer.HasTargets() {
			continue
		}
		result, err := c.Syncer.SyncNamespaces(ctx, names...)
		c.changed.notify()
		c.report(ctx, Pass{Targets: c.list(), Namespaces: names, Result: result, Err: err})
	}
}

// EnsureReady blocks until the pods of a service account can pull; see [inject.Syncer.EnsureReady]. It needs a
// Controller that was started: on a replica that is not the leader, it blocks until ctx ends.
func (c *Controller) EnsureReady(ctx context.Context, namespace, account string, images ...string) error {
	if err := c.ready(); err != nil {
		return err
	}
	defer c.changed.notify() // The passes may have made the namespace due.
	targets := func(ctx context.Context) ([]inject.Target, error) {
		c.changed.notify()
		return c.Targets(ctx)
	}
	return c.Syncer.EnsureReadyFunc(ctx, targets, namespace, account, images...)
}

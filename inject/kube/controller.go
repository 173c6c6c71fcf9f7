package kube

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/inject"
)

// A Controller keeps a cluster as it should be. It makes a pass over all namespaces when it starts, when [Controller.Wake]
// asks for it, and when the cluster cannot be watched anymore, or can be again; over the targets whose renewal or retry is
// due, when it is; and over the namespaces where something changed right after it did, also while a long pass is under
// way. Set the fields before Start. It must not be copied.
//
// It has the methods of a Runnable of controller-runtime, so that mgr.Add(controller) runs it in a manager, on the
// leader only. Without one, call Start where leadership is taken, and end its context where it is lost.
type Controller struct {
	// Cluster is what is watched. It is run by Start. It is required.
	Cluster *Cluster
	// Syncer makes the passes. Its Cluster is the same one, or wraps it; nil means the same one. What is to wrap it, as
	// injectotel.Trace does, needs it set. It is required.
	Syncer *inject.Syncer
	// Targets returns what is wanted now. It is called for each pass over all namespaces; the passes in between go by the
	// last list, and by what [Controller.SetTarget] and [Controller.RemoveTarget] have changed since. If it fails, that
	// list stays, OnPass and the Syncer's OnSync are called, and it is called again soon. It is required.
	Targets func(ctx context.Context) ([]inject.Target, error)
	// OnPass is called after each pass. It may be called concurrently. Nil means that nobody wants to know.
	OnPass func(Pass)

	complete sync.Once

	wanted  signal // A pass over all namespaces is wanted now.
	changed signal // The instant of the next pass has changed.
	some    signal // There are dirty namespaces.

	mu      sync.Mutex
	targets []inject.Target // The last list.
	dirty   map[string]bool // The namespaces in which something happened.
}

// A Pass is what came of one pass of a [Controller].
type Pass struct {
	// Targets is the last list of Controller.Targets. It is nil if that failed.
	Targets []inject.Target
	// Namespaces are those that the pass was limited to. None means that it was over all, or over what was due.
	Namespaces []string
	// Due says that the pass was over what was due: a renewal, a retry, a target that was set by itself.
	Due bool
	// Result is what the pass did, and what it could not do.
	Result inject.Result
	// Err is why the pass was not made, or not finished. Nil means that it was.
	Err error

	// syncer knows what is wrong everywhere. Nil means that Result does.
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
	// eventDelay is how long events are gathered: a new namespace is followed by its accounts.
	eventDelay = 50 * time.Millisecond
	// targetsRetry is when Targets is asked again after it failed.
	targetsRetry = 10 * time.Second
)

// NeedLeaderElection is true: two replicas would renew and write the same.
func (c *Controller) NeedLeaderElection() bool { return true }

// Wake asks for a pass over all namespaces: the list of targets has changed. It returns at once, and may be called at
// any time.
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

// Renewed has a credential published that a cache has just issued: set Hooks.Issued of the cache to it, and
// Syncer.Lookup. Without it, a new credential is published some seconds later.
func (c *Controller) Renewed(e credentials.Event) {
	c.Syncer.Renewed(e)
	c.changed.notify()
}

// Start runs until ctx ends, and then returns nil; see [Cluster.Run]. It must be called once. The error is that a field
// is missing.
func (c *Controller) Start(ctx context.Context) error {
	if err := c.ready(); err != nil {
		return err
	}
	c.Cluster.OnEvent(c.mark)
	var running sync.WaitGroup
	running.Go(func() { _ = c.Cluster.Run(ctx) }) // It has no error.
	running.Go(func() { c.passes(ctx) })
	running.Go(func() { c.events(ctx) })
	running.Wait()
	return nil
}

// ready completes the Syncer.
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

// passes makes those over all namespaces, and those over what is due.
func (c *Controller) passes(ctx context.Context) {
	retry := c.passOverAll(ctx)
	for ctx.Err() == nil {
		switch all := c.wait(ctx, retry); {
		case ctx.Err() != nil:
		case all || !retry.IsZero():
			retry = c.passOverAll(ctx)
		default:
			result, err := c.Syncer.SyncDue(ctx)
			c.report(ctx, Pass{Targets: c.list(), Due: true, Result: result, Err: err})
		}
	}
}

// wait blocks until a pass is due, and reports whether one over all namespaces is wanted. Unless retry is zero, the next
// one is due then.
func (c *Controller) wait(ctx context.Context, retry time.Time) (all bool) {
	for {
		next := retry
		if next.IsZero() {
			next = c.Syncer.NextAt()
		}
		timer := time.NewTimer(time.Until(next))
		if next.IsZero() {
			timer.Stop()
		}
		select {
		case <-c.changed.notified():
			timer.Stop()
			if at := c.Syncer.NextAt(); !retry.IsZero() || at.IsZero() || time.Until(at) > 0 {
				continue
			}
			wait(ctx, eventDelay) // More may come.
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

// passOverAll makes a pass over all namespaces. If there are no targets, it returns when to try again.
func (c *Controller) passOverAll(ctx context.Context) (retry time.Time) {
	targets, err := c.Targets(ctx)
	if err != nil {
		retry = time.Now().Add(targetsRetry)
		result := inject.Result{NextAt: retry}
		if c.Syncer.OnSync != nil { // It is a pass all the same, for metrics and traces.
			_, done := c.Syncer.OnSync(ctx, nil)
			done(result, err)
		}
		c.report(ctx, Pass{Result: result, Err: err})
		return retry
	}
	c.mu.Lock()
	c.targets = targets
	c.mu.Unlock()
	result, err := c.Syncer.Sync(ctx, targets)
	c.report(ctx, Pass{Targets: targets, Result: result, Err: err})
	return time.Time{}
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

// events makes a pass over the namespaces in which something happened. Before the first list of targets there is none:
// the pass over all namespaces that follows sees what happened.
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

// EnsureReady is a gate before a workload is published; see [inject.Syncer.EnsureReady]. It needs a Controller that
// was started: on a replica that is not the leader, it waits until ctx ends.
func (c *Controller) EnsureReady(ctx context.Context, namespace, account string, images ...string) error {
	if err := c.ready(); err != nil {
		return err
	}
	targets, err := c.Targets(ctx)
	if err != nil {
		return err
	}
	return c.Syncer.EnsureReady(ctx, targets, namespace, account, images...)
}

package kube

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/regcred/regcred/inject"
)

// A Controller keeps a cluster as it should be: it makes a pass over all namespaces when a renewal or another try is
// due, and when the cluster cannot be watched anymore, or can be again; and one over those where something changed right
// after it did, also while a long pass is under way. Set the fields before Start. It must not be copied.
//
// It has the methods of a Runnable of controller-runtime, so that mgr.Add(controller) runs it in a manager, on the
// leader only. Without one, call Start where leadership is taken, and end its context where it is lost.
type Controller struct {
	// Cluster is what is watched. It is run by Start. It is required.
	Cluster *Cluster
	// Syncer makes the passes. Its Cluster is the same one, or wraps it; nil means the same one. What is to wrap it, as
	// injectotel.Trace does, needs it set. It is required.
	Syncer *inject.Syncer
	// Targets returns what is wanted now. If it fails, nothing is changed, OnPass and the Syncer's OnSync are told, and it
	// is asked again soon. It is required.
	Targets func(ctx context.Context) ([]inject.Target, error)
	// OnPass is called after each pass. It may be called concurrently. Nil means that nobody wants to know.
	OnPass func(Pass)

	complete sync.Once

	due    signal // A pass over all namespaces is wanted now,
	sooner signal // or at another instant than before.
	some   signal // There are dirty namespaces.

	mu    sync.Mutex
	next  time.Time       // When a pass over all namespaces is due. Zero means never.
	dirty map[string]bool // The namespaces in which something happened.
}

// A Pass is what came of one pass of a [Controller].
type Pass struct {
	// Targets are what was wanted. They are nil if Controller.Targets failed.
	Targets []inject.Target
	// Namespaces are those that the pass was limited to. None means that it was over all.
	Namespaces []string
	// Result is what the pass did, and what it could not do.
	Result inject.Result
	// Err is why the pass was not made, or not finished. Nil means that it was.
	Err error
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

// Wake asks for a pass over all namespaces: the targets have changed, or a credential was renewed. It returns at once,
// and may be called at any time.
func (c *Controller) Wake() { c.due.notify() }

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

// passes makes those over all namespaces.
func (c *Controller) passes(ctx context.Context) {
	for ctx.Err() == nil {
		next := c.pass(ctx)
		c.mu.Lock()
		c.next = next
		c.mu.Unlock()
		c.wait(ctx)
	}
}

// wait returns when the next pass over all namespaces is due.
func (c *Controller) wait(ctx context.Context) {
	for {
		c.mu.Lock()
		next := c.next
		c.mu.Unlock()
		timer := time.NewTimer(time.Until(next))
		if next.IsZero() {
			timer.Stop()
		}
		select {
		case <-c.sooner.notified():
			timer.Stop()
			continue
		case <-timer.C:
		case <-c.due.notified():
		case <-c.Cluster.health.notified():
		case <-ctx.Done():
		}
		timer.Stop()
		return
	}
}

// scheduleAt makes the next pass over all namespaces due at an instant, unless it is due before that.
func (c *Controller) scheduleAt(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !at.IsZero() && (c.next.IsZero() || at.Before(c.next)) {
		c.next = at
		c.sooner.notify()
	}
}

// events makes a pass over the namespaces in which something happened. What it could not do is tried again by one over
// all.
func (c *Controller) events(ctx context.Context) {
	for {
		select {
		case <-c.some.notified():
		case <-ctx.Done():
			return
		}
		select {
		case <-time.After(eventDelay):
		case <-ctx.Done():
			return
		}
		c.mu.Lock()
		names := slices.Sorted(maps.Keys(c.dirty))
		c.dirty = nil
		c.mu.Unlock()
		c.scheduleAt(c.pass(ctx, names...))
	}
}

// pass makes one, and returns when the next one is due.
func (c *Controller) pass(ctx context.Context, namespaces ...string) time.Time {
	targets, err := c.Targets(ctx)
	result := inject.Result{NextAt: time.Now().Add(targetsRetry)}
	if err == nil {
		result, err = c.Syncer.Sync(ctx, targets, namespaces...)
	} else if c.Syncer.OnSync != nil { // It is a pass all the same, for metrics and traces.
		_, done := c.Syncer.OnSync(ctx, namespaces)
		done(result, err)
	}
	if c.OnPass != nil && ctx.Err() == nil {
		c.OnPass(Pass{targets, namespaces, result, err})
	}
	return result.NextAt
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

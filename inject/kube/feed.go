package kube

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

// A feed is an informer of a resource that records the results of its lists and watches. The informer's own handler of
// watch errors is not enough: it is not called if a watch cannot be resumed because the connection is refused, or when
// a list or watch succeeds again.
type feed struct {
	cache.SharedIndexInformer

	resource  string
	list      func(context.Context, metav1.ListOptions) (runtime.Object, error)
	watch     func(context.Context, metav1.ListOptions) (watch.Interface, error)
	choose    func(*metav1.ListOptions) // Nil selects all objects.
	onlyLists bool                      // The API does not support watches that begin with a list.
	ctx       context.Context           // The context of run, which ends requests.
	onChange  func()                    // Called after the feed breaks for good, and after it recovers. It must return soon.

	mu    sync.Mutex
	tried bool      // A watch has begun or failed.
	err   error     // The error of the last list or watch, or nil.
	verb  string    // The kind of the last request: list or watch.
	since time.Time // The first failure in the current series of failures.
	late  *time.Timer
}

// An api is the part of a typed client that a feed needs.
type api[L runtime.Object] interface {
	List(context.Context, metav1.ListOptions) (L, error)
	Watch(context.Context, metav1.ListOptions) (watch.Interface, error)
}

func newFeed[L runtime.Object](c *Cluster, resource string, client api[L], object runtime.Object, choose func(*metav1.ListOptions)) *feed {
	f := &feed{resource: resource, watch: client.Watch, choose: choose}
	f.onChange = func() {
		if f.HasSynced() { // Before that, callers of State are still waiting.
			c.health.notify()
		}
	}
	f.list = func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return client.List(ctx, o) }
	if fake, ok := c.Client.(interface{ IsWatchListSemanticsUnSupported() bool }); ok {
		f.onlyLists = fake.IsWatchListSemanticsUnSupported()
	}
	f.SharedIndexInformer = cache.NewSharedIndexInformer(f, object, 0, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
	return f
}

// IsWatchListSemanticsUnSupported informs client-go from v0.35 on about a limitation of the fake clientset.
func (f *feed) IsWatchListSemanticsUnSupported() bool { return f.onlyLists }

// List implements cache.ListerWatcher. The informer calls it.
func (f *feed) List(o metav1.ListOptions) (runtime.Object, error) {
	if f.choose != nil {
		f.choose(&o)
	}
	list, err := f.list(f.ctx, o)
	if page, ok := list.(metav1.ListInterface); err != nil || !ok || page.GetContinue() == "" { // The last page.
		f.record("list", err)
	}
	return list, err
}

// Watch implements cache.ListerWatcher. The informer calls it.
func (f *feed) Watch(o metav1.ListOptions) (watch.Interface, error) {
	if f.choose != nil {
		f.choose(&o)
	}
	w, err := f.watch(f.ctx, o)
	f.record("watch", err)
	return w, err
}

// brokenAfter is the time for which lists and watches must fail before the failure is reported, unless they are
// denied. A restart of an API server is shorter.
const brokenAfter = 30 * time.Second

// record records the result of a list or a watch.
func (f *feed) record(verb string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tried = f.tried || verb == "watch"
	switch {
	case f.ctx.Err() != nil: // The request failed because ctx ended.
	case err != nil:
		if f.err == nil {
			f.since, f.late = time.Now(), time.AfterFunc(brokenAfter, f.onChange)
		}
		if refused(err) && !refused(f.err) {
			f.onChange()
		}
		f.err, f.verb = err, verb
	case f.err == nil:
	case verb == "list" && f.verb == "watch": // Listing may be permitted without watching.
	default:
		f.err = nil
		f.late.Stop()
		f.onChange()
	}
}

// missing describes what a feed still lacks before it shows all objects; empty if nothing. A list is not enough:
// without resource versions, as on the fake clientset, a write before the watch begins is never delivered.
func (f *feed) missing() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case !f.HasSynced():
		return "list " + f.resource + ": not complete yet"
	case !f.tried:
		return "watch " + f.resource + ": not begun yet"
	}
	return ""
}

// failure returns the error of the last list or watch and the start of the series of failures; nil if it succeeded.
func (f *feed) failure() (since time.Time, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		return time.Time{}, nil
	}
	err = f.err
	if request, ok := errors.AsType[*url.Error](err); ok {
		err = request.Err // The address is long, and different for each request.
	}
	return f.since, fmt.Errorf("%s %s: %w", f.verb, f.resource, err)
}

// broken returns the result of failure if the feed is broken for good: a person has to fix it, or it has failed for
// long.
func (f *feed) broken() (since time.Time, err error) {
	since, err = f.failure()
	if err == nil || !refused(err) && time.Since(since) < brokenAfter {
		return time.Time{}, nil
	}
	return since, err
}

// refused reports whether only a person can fix the error.
func refused(err error) bool { return apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) }

// lingering is the time that client-go has to end. If a connection is refused, later versions of client-go sleep for
// up to a minute after the end of ctx, and then end by themselves.
const lingering = time.Second

// run runs feeds until ctx ends.
func run(ctx context.Context, feeds ...*feed) {
	var running sync.WaitGroup
	for _, f := range feeds {
		f.ctx = ctx
		running.Go(func() { f.Run(ctx.Done()) })
	}
	ended := make(chan struct{})
	go func() {
		running.Wait()
		close(ended)
	}()
	<-ctx.Done()
	select {
	case <-ended:
	case <-time.After(lingering):
	}
}

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

// A feed is an informer of a resource, and what its lists and watches go through, so that it knows how they fare. The
// handler of watch errors that an informer has does not: it is never told that a watch cannot be resumed because the
// connection is refused, nor that a list or a watch succeeds again.
type feed struct {
	cache.SharedIndexInformer

	resource  string
	list      func(context.Context, metav1.ListOptions) (runtime.Object, error)
	watch     func(context.Context, metav1.ListOptions) (watch.Interface, error)
	choose    func(*metav1.ListOptions) // Nil means all.
	onlyLists bool                      // A watch cannot begin with a list.
	ctx       context.Context           // That of run, which ends requests.
	onChange  func()                    // Called after it broke for good, and after it is well again. It must return soon.

	mu    sync.Mutex
	tried bool      // A watch has begun or failed.
	err   error     // How the last list or watch failed. Nil means that it did not.
	verb  string    // Which of them it was.
	since time.Time // When the first of those failed that did so one after the other.
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
		if f.HasSynced() { // Before that, State is waited for.
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

// IsWatchListSemanticsUnSupported tells client-go from v0.35 on what the fake clientset cannot do.
func (f *feed) IsWatchListSemanticsUnSupported() bool { return f.onlyLists }

// List is for the informer.
func (f *feed) List(o metav1.ListOptions) (runtime.Object, error) {
	if f.choose != nil {
		f.choose(&o)
	}
	list, err := f.list(f.ctx, o)
	if page, ok := list.(metav1.ListInterface); err != nil || !ok || page.GetContinue() == "" { // It is the last one.
		f.record("list", err)
	}
	return list, err
}

// Watch is for the informer.
func (f *feed) Watch(o metav1.ListOptions) (watch.Interface, error) {
	if f.choose != nil {
		f.choose(&o)
	}
	w, err := f.watch(f.ctx, o)
	f.record("watch", err)
	return w, err
}

// brokenAfter is how long lists and watches may fail before that is told of, unless they are refused: an API server that
// is replaced is no news.
const brokenAfter = 30 * time.Second

// record notes what came of a list or a watch.
func (f *feed) record(verb string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tried = f.tried || verb == "watch"
	switch {
	case f.ctx.Err() != nil: // That is why.
	case err != nil:
		if f.err == nil {
			f.since, f.late = time.Now(), time.AfterFunc(brokenAfter, f.onChange)
		}
		if refused(err) && !refused(f.err) {
			f.onChange()
		}
		f.err, f.verb = err, verb
	case f.err == nil:
	case verb == "list" && f.verb == "watch": // What can be listed may still not be watched.
	default:
		f.err = nil
		f.late.Stop()
		f.onChange()
	}
}

// missing says what a feed still lacks before it shows all there is; nothing if it lacks nothing. A list is not enough:
// where there are no resource versions, as on the fake clientset, what is written before the watch begins is never shown.
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

// failure returns how the last list or watch failed, and since when they do; nil if it did not.
func (f *feed) failure() (since time.Time, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		return time.Time{}, nil
	}
	err = f.err
	if request, ok := errors.AsType[*url.Error](err); ok {
		err = request.Err // The address is long, and another one each time.
	}
	return f.since, fmt.Errorf("%s %s: %w", f.verb, f.resource, err)
}

// broken returns what failure does if the feed is broken for good: somebody has to fix it, or it has been long.
func (f *feed) broken() (since time.Time, err error) {
	since, err = f.failure()
	if err == nil || !refused(err) && time.Since(since) < brokenAfter {
		return time.Time{}, nil
	}
	return since, err
}

// refused reports whether it takes a person to fix it.
func refused(err error) bool { return apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) }

// lingering is how long client-go may take to end. Where a connection is refused, later versions sleep through the end
// for up to a minute, and then end by themselves.
const lingering = time.Second

// run has feeds work until ctx ends.
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

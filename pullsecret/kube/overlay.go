package kube

import (
	"maps"
	"slices"
	"sync"
	"time"
)

// An overlay holds what was written and has not come back through the watch yet, so that a Cluster sees its own writes.
// The zero overlay is ready to use.
type overlay[T any] struct {
	mu  sync.Mutex
	own map[string]map[string]*written[T] // By namespace and name.
}

type written[T any] struct {
	stale []string // The versions that it stands in for; "" is that of an object that is not there.
	now   *T       // Nil if it was deleted.
	// version is that of now.
	version string
	at      time.Time
}

// patience is how long a write may take to come back. After that the watch is believed: the write and somebody's
// undoing of it may have come back as one.
const patience = 30 * time.Second

// wrote records that an object was written.
func (o *overlay[T]) wrote(namespace, name, before string, now *T, version string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.own == nil {
		o.own = make(map[string]map[string]*written[T])
	}
	if o.own[namespace] == nil {
		o.own[namespace] = make(map[string]*written[T])
	}
	w := &written[T]{stale: []string{before}, now: now, version: version, at: time.Now()}
	if last := o.own[namespace][name]; last != nil && last.version == before {
		w.stale = append(w.stale, last.stale...)
	}
	o.own[namespace][name] = w
}

// seen records that the watch delivered an object, or that it is gone.
func (o *overlay[T]) seen(namespace, name, version string, gone bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	w := o.own[namespace][name]
	if w != nil && (gone || !slices.Contains(w.stale, version)) {
		o.drop(namespace, name)
	}
}

func (o *overlay[T]) drop(namespace, name string) {
	delete(o.own[namespace], name)
	if len(o.own[namespace]) == 0 {
		delete(o.own, namespace)
	}
}

// over returns what there is in a namespace: what the watch delivered, with what was written since. It may change the
// map.
func (o *overlay[T]) over(namespace string, cached map[string]*T, version func(*T) string) map[string]*T {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, name := range slices.Collect(maps.Keys(o.own[namespace])) {
		w := o.own[namespace][name]
		at := ""
		if have := cached[name]; have != nil {
			at = version(have)
		}
		switch {
		case !slices.Contains(w.stale, at) || time.Since(w.at) > patience:
			o.drop(namespace, name)
		case w.now == nil:
			delete(cached, name)
		default:
			cached[name] = w.now
		}
	}
	return cached
}

package kube

import (
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
)

// An overlay combines the objects that a watch delivered with later writes that the watch has not delivered yet, so
// that a Cluster sees its own writes.
type overlay[P metav1.Object] struct {
	delivered cache.Indexer // Read with the mutex held, so that a write is dropped only if the read includes it.
	// changed is called after an event that observe took for an own write turned out not to be one, and after the
	// watch has not delivered a write in time.
	changed func(namespace string)

	mu       sync.Mutex
	own      map[string]map[string]*written[P]  // By namespace and name: the writes that delivered lacks.
	expected map[cache.ObjectName][]*written[P] // The writes whose events have not been observed, in order.
	flights  map[*flight]bool
}

type written[P metav1.Object] struct {
	stale   []string // The versions that now replaces, the last one first; "" is the version of an absent object.
	now     P
	gone    bool   // The object was deleted, and now is not set.
	version string // The version of now.
	late    *time.Timer
}

// A flight is a write request in progress, and the events about its object that the watch has delivered meanwhile.
type flight struct {
	namespace, name string
	seen            []sighting
}

// A sighting is an event: a version, or the deletion of an object.
type sighting struct {
	version string
	gone    bool
}

// patience is the time in which the watch must deliver a write. After that, the watch takes precedence: after an
// interruption, it may have delivered neither the write nor the change with which another client undid it.
const patience = 30 * time.Second

// write records the object that a request returned. The version of the object before the request is before.
func (o *overlay[P]) write(namespace, name, before string, request func() (P, error)) error {
	f := o.take(namespace, name)
	now, err := request()
	if err != nil {
		o.land(f, sighting{}, nil)
		return err
	}
	version := now.GetResourceVersion()
	o.land(f, sighting{version: version}, &written[P]{stale: []string{before}, now: now, version: version})
	return nil
}

// delete records the deletion of an object that had that version.
func (o *overlay[P]) delete(namespace, name, before string, request func() error) error {
	f := o.take(namespace, name)
	err := request()
	if err != nil {
		o.land(f, sighting{}, nil)
		return err
	}
	o.land(f, sighting{gone: true}, &written[P]{stale: []string{before}, gone: true})
	return nil
}

// take begins a flight.
func (o *overlay[P]) take(namespace, name string) *flight {
	f := &flight{namespace: namespace, name: name}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.flights == nil {
		o.flights = make(map[*flight]bool)
	}
	o.flights[f] = true
	return f
}

// land ends a flight with its result. It records the written object, unless w is nil or the event of the write was
// already observed, because another client may have undone that write since. It also reports the events of other
// clients during the flight, which observe has not reported.
func (o *overlay[P]) land(f *flight, result sighting, w *written[P]) {
	delivered, foreign := false, false
	o.mu.Lock()
	delete(o.flights, f)
	for _, s := range f.seen {
		own := s.gone && result.gone || !s.gone && s.version == result.version && s.version != ""
		delivered, foreign = delivered || own, foreign || !own
	}
	if w != nil && !delivered {
		w.late = time.AfterFunc(patience, func() { o.giveUp(f.namespace, f.name, w) })
		if !w.gone || !foreign { // Else the object may wait for a finalizer; see observe.
			key := cache.NewObjectName(f.namespace, f.name)
			o.expect(key, append(o.expected[key], w))
		}
		o.put(f.namespace, f.name, w)
	}
	o.mu.Unlock()
	if foreign {
		o.changed(f.namespace)
	}
}

func (o *overlay[P]) put(namespace, name string, w *written[P]) {
	if last := o.own[namespace][name]; last != nil && last.version == w.stale[0] {
		w.stale = append(w.stale, last.stale...)
	}
	o.drop(namespace, name)
	if !slices.Contains(w.stale, o.at(namespace, name)) {
		return
	}
	if o.own == nil {
		o.own = make(map[string]map[string]*written[P])
	}
	if o.own[namespace] == nil {
		o.own[namespace] = make(map[string]*written[P])
	}
	o.own[namespace][name] = w
}

// expect records the writes whose events have not been observed.
func (o *overlay[P]) expect(key cache.ObjectName, writes []*written[P]) {
	if len(writes) == 0 {
		delete(o.expected, key)
		return
	}
	if o.expected == nil {
		o.expected = make(map[cache.ObjectName][]*written[P])
	}
	o.expected[key] = writes
}

// arrived ends the wait for the event of a write, and for the events of earlier writes of the same object.
func (o *overlay[P]) arrived(key cache.ObjectName, w *written[P]) {
	waiting := o.expected[key]
	n := slices.Index(waiting, w) + 1 // Zero if the wait has ended.
	for _, w := range waiting[:n] {
		w.late.Stop()
	}
	o.expect(key, waiting[n:])
}

// giveUp drops a write whose event has not been observed.
func (o *overlay[P]) giveUp(namespace, name string, w *written[P]) {
	o.mu.Lock()
	o.arrived(cache.NewObjectName(namespace, name), w)
	waits := o.own[namespace][name] == w
	if waits {
		o.drop(namespace, name)
	}
	o.mu.Unlock()
	if waits {
		o.changed(namespace)
	}
}

// at returns the delivered version of an object; empty if it does not exist.
func (o *overlay[P]) at(namespace, name string) string {
	object, there, _ := o.delivered.GetByKey(namespace + "/" + name) // An in-memory store returns no error.
	if !there {
		return ""
	}
	return object.(P).GetResourceVersion()
}

// observe records that the watch delivered a version of an object, or its deletion. The event may be old: events are
// reported after the delivered objects have changed, and these may be ahead by more than one version.
//
// It reports whether the event shows nothing new, because it is the result of an own write. If a write of the object is
// in progress, that is not known yet: then observe reports true, and changed is called later if it was not one.
func (o *overlay[P]) observe(namespace, name, version string, gone bool) (own bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	at, key, perhaps := o.at(namespace, name), cache.NewObjectName(namespace, name), false
	for _, w := range o.expected[key] {
		if own = gone && w.gone && at != w.stale[0] || !gone && version == w.version && version != ""; own {
			if o.arrived(key, w); o.own[namespace][name] == w {
				o.drop(namespace, name)
			}
			break
		}
	}
	if !own && !gone { // If the object was deleted, it waits for a finalizer, which another client removes.
		o.expect(key, slices.DeleteFunc(o.expected[key], func(w *written[P]) bool { return w.gone }))
	}
	for f := range o.flights {
		if !own && f.namespace == namespace && f.name == name {
			f.seen, perhaps = append(f.seen, sighting{version, gone}), true
		}
	}
	if w := o.own[namespace][name]; w != nil {
		back := version == w.version && (version != "" || gone) // The fake clientset has no versions.
		if back || !slices.Contains(w.stale, at) {
			o.drop(namespace, name)
		}
	}
	return own || perhaps
}

func (o *overlay[P]) drop(namespace, name string) {
	delete(o.own[namespace], name)
	if len(o.own[namespace]) == 0 {
		delete(o.own, namespace)
	}
}

// in returns the objects in a namespace, by name.
func (o *overlay[P]) in(namespace string) map[string]P {
	o.mu.Lock()
	defer o.mu.Unlock()
	objects, _ := o.delivered.ByIndex(cache.NamespaceIndex, namespace) // It fails only if the index does not exist.
	all := make(map[string]P, len(objects))
	for _, object := range objects {
		all[object.(P).GetName()] = object.(P)
	}
	for name, w := range o.own[namespace] {
		at := ""
		if have, there := all[name]; there {
			at = have.GetResourceVersion()
		}
		switch {
		case !slices.Contains(w.stale, at):
			o.drop(namespace, name)
		case w.gone:
			delete(all, name)
		default:
			all[name] = w.now
		}
	}
	return all
}

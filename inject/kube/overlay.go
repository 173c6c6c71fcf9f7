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

	mu      sync.Mutex
	own     map[string]map[string]*written[P] // By namespace and name.
	flights map[*flight]bool
}

type written[P metav1.Object] struct {
	stale   []string // The versions that now replaces; "" is the version of an absent object.
	ours    []string // Those of them that are own writes.
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

// land ends a flight with its result. It records the written object, unless w is nil or the watch has already
// delivered the write, because another client may have undone that write since. It also reports the events of other
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
		w.ours = append(last.ours, last.version)
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
	w.late = time.AfterFunc(patience, func() { o.giveUp(namespace, name, w) })
	o.own[namespace][name] = w
}

// giveUp drops a write that the watch has not delivered.
func (o *overlay[P]) giveUp(namespace, name string, w *written[P]) {
	o.mu.Lock()
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
	for f := range o.flights {
		if f.namespace == namespace && f.name == name {
			f.seen = append(f.seen, sighting{version, gone})
			own = true
		}
	}
	w := o.own[namespace][name]
	if w == nil {
		return own
	}
	back := version == w.version && (version != "" || gone) // The fake clientset has no versions.
	caughtUp := !slices.Contains(w.stale, o.at(namespace, name))
	switch {
	case gone:
		own = own || w.gone && caughtUp
	case version != "":
		own = own || version == w.version || slices.Contains(w.ours, version)
	}
	if back || caughtUp {
		o.drop(namespace, name)
	}
	return own
}

func (o *overlay[P]) drop(namespace, name string) {
	w := o.own[namespace][name]
	if w == nil {
		return
	}
	w.late.Stop()
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

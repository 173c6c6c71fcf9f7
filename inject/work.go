package inject

import (
	"slices"
	"time"
)

// A work is what a pass is about: some targets, in some namespaces.
type work struct {
	index      *index
	names      map[string]bool // Of the targets. Nil means all of them.
	namespaces []string        // None means all of them.
	edited     []*record       // Those of the targets that may have left some of the namespaces.
	own        bool            // The index is the Syncer's, which notes what the pass finds.
	pass       int             // Its number.
}

func (w work) full() bool { return w.own && w.names == nil && len(w.namespaces) == 0 }

// about reports whether the pass is about the target of that name, or about secrets of that name without a target.
func (w work) about(name string) bool { return w.names == nil || w.names[name] }

// records returns those that the pass is about and that may be, or may have been, in the namespace.
func (w work) records(namespace string) []*record {
	records := slices.Concat(w.index.named[namespace], w.index.patterns)
	if w.names == nil {
		return records
	}
	records = slices.DeleteFunc(records, func(r *record) bool { return !w.names[r.Name] })
	for _, r := range w.edited {
		if !slices.Contains(records, r) {
			records = append(records, r)
		}
	}
	return records
}

// SetTarget adds a target to those that the last [Syncer.Sync] has set, or replaces the one of its name, and makes it
// due: the next [Syncer.SyncDue] looks at the namespaces that it selects, or had, and at no others. If it selects by a
// pattern, all namespaces are looked at for it.
func (s *Syncer) SetTarget(t Target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.index == nil {
		s.index = newIndex(nil)
	}
	r := &record{Target: t, err: t.Validate()}
	if old := s.index.byName[t.Name]; old != nil {
		held := old.status.held
		s.index.remove(old)
		r.order = old.order
		s.inherit(r, old)
		r.status.held = nil
		s.index.add(r)
		s.index.hold(r, held)
	} else {
		s.index.last++
		r.order = s.index.last
		s.index.add(r)
	}
	delete(s.removal.declared, t.Name)
	r.status.edited, r.status.renewAt = true, time.Now()
	s.reschedule(r)
}

// inherit has a record go on from what is known of the one before it. The mutex is held.
func (s *Syncer) inherit(r, old *record) {
	r.status = old.status
	if r.status.appointment != nil {
		r.status.appointment.record = r
	}
	old.status = status{}
}

// RemoveTarget takes out the target of that name, and declares that its secrets are to go: the next [Syncer.SyncDue]
// removes them where the target had some. It may be called before the first Sync, to declare that what a process before
// this one has published under that name is to go.
func (s *Syncer) RemoveTarget(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.removal.declare(name)
	if s.index == nil || s.index.byName[name] == nil {
		return
	}
	r := s.index.byName[name]
	for namespace := range r.status.places {
		s.visit(namespace, time.Now())
	}
	if r.status.appointment != nil && r.status.appointment.place > 0 {
		s.agenda.set(r.status.appointment, time.Time{})
	}
	s.index.remove(r)
}

// setTargets replaces all targets. The mutex is held.
func (s *Syncer) setTargets(x *index) {
	old := s.index
	for name := range s.removal.declared {
		if x.byName[name] != nil {
			delete(s.removal.declared, name) // It is wanted again.
		}
	}
	s.removal.allowed = false // Until a pass over all namespaces has judged this list.
	s.index = x
	if old == nil {
		return
	}
	for name, was := range old.byName {
		r := x.byName[name]
		if r == nil {
			if a := was.status.appointment; a != nil && a.place > 0 {
				s.agenda.set(a, time.Time{})
			}
			continue
		}
		held := was.status.held
		s.inherit(r, was)
		r.status.held = nil
		x.hold(r, held)
	}
}

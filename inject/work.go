package inject

import (
	"context"
	"slices"
	"time"

	"github.com/regcred/regcred/internal/panics"
)

// A work is the scope of a pass: some targets, in some namespaces.
type work struct {
	index      *index
	names      map[string]bool // The names of the targets. Nil means all targets.
	namespaces []string        // Empty means all namespaces.
	edited     []*record       // Targets of the pass that may no longer select some of the namespaces.
	own        bool            // The index belongs to the Syncer, which records the findings of the pass.
	pass       int             // The number of the pass.
	revision   int             // The revision of the Syncer when the pass began.
}

func (w work) full() bool { return w.own && w.names == nil && len(w.namespaces) == 0 }

// about reports whether the pass covers the target of that name, or secrets of that name without a target.
func (w work) about(name string) bool { return w.names == nil || w.names[name] }

// records returns the records in the scope of the pass that may have, or may have had, a secret in the namespace.
func (w work) records(namespace string) []*record {
	records := slices.Concat(w.index.named[namespace], w.index.patterns)
	if w.names == nil {
		return records
	}
	records = slices.DeleteFunc(records, func(r *record) bool { return !w.names[r.Name] })
	for _, r := range w.edited {
		if w.about(r.Name) && !slices.Contains(records, r) {
			records = append(records, r)
		}
	}
	return records
}

// SetTarget adds a target to the targets that the Syncer keeps, or replaces the one of the same name, and makes it
// due. The next [Syncer.SyncDue] visits the namespaces that the target selects or has had a secret in, and no others.
// For a target that selects by a pattern, it visits all namespaces.
//
// SetTarget may be called before the first Sync. Until a list is known, only the secrets of targets that RemoveTarget
// names are removed.
func (s *Syncer) SetTarget(t Target) { s.edit(edit{t.Name, &t}) }

// RemoveTarget removes the target of that name and its secrets: the next [Syncer.SyncDue] removes them from the
// namespaces that have one. It may be called before the first Sync, to remove the secrets that an earlier process
// published under that name.
func (s *Syncer) RemoveTarget(name string) { s.edit(edit{name, nil}) }

// An edit is a change of one target. The target is nil if it is removed.
type edit struct {
	name   string
	target *Target
}

// edits remembers the edits that are made while lists of targets are being read. The mutex of the Syncer guards it.
type edits struct {
	readers int
	made    []edit // Since the first of the readers began.
}

func (s *Syncer) edit(e edit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.edits.readers > 0 {
		s.edits.made = append(s.edits.made, e)
	}
	s.apply(e)
}

// apply makes one edit. The mutex is held.
func (s *Syncer) apply(e edit) {
	s.revision++
	if e.target != nil {
		s.setTarget(*e.target)
	} else {
		s.removeTarget(e.name)
	}
}

func (s *Syncer) setTarget(t Target) {
	if s.index == nil {
		s.index = s.newIndex(nil)
	}
	r := newRecord(t, 0, s.index.owner)
	if old := s.index.byName[t.Name]; old != nil {
		same := old.same(r) && !old.byLabels() && !r.byLabels()
		if !same {
			s.leave(old)
		}
		s.index.replace(old, r)
		r.status.covered = r.status.covered && same
	} else {
		s.index.last++
		r.order = s.index.last
		s.index.add(r)
	}
	delete(s.declared, t.Name)
	r.status.edited, r.status.renewAt, r.status.setAt = true, time.Now(), s.passes
	s.reschedule(r)
}

// leave makes the namespaces due that a record selects, if no pass for it has begun: a secret that an earlier pass left
// there is in no place. The mutex is held.
func (s *Syncer) leave(r *record) {
	switch {
	case !r.status.edited:
	case r.byPattern():
		s.visitAll()
	default:
		for _, namespace := range r.Namespaces.Names {
			s.visit(namespace)
		}
	}
}

// declaredMax is the number of declared names above which a full pass is due: only a full pass can drop the names that
// have no secret left.
const declaredMax = 1000

func (s *Syncer) removeTarget(name string) {
	if s.declared == nil {
		s.declared = make(map[string]int)
	}
	s.declared[name] = s.passes
	if len(s.declared) > declaredMax && s.index != nil && s.fullAt.IsZero() {
		s.visitAll()
	}
	if s.index == nil || s.index.byName[name] == nil {
		return
	}
	r := s.index.byName[name]
	for namespace := range r.status.places {
		s.visit(namespace)
	}
	s.leave(r)
	if r.status.appointment != nil && r.status.appointment.place > 0 {
		s.agenda.set(r.status.appointment, time.Time{})
	}
	s.index.remove(r)
}

// readTargets replaces all targets by the result of targets, makes the edits again that were made meanwhile, and returns
// the pass over all of them.
func (s *Syncer) readTargets(ctx context.Context, targets func(context.Context) ([]Target, error)) (work, error) {
	s.mu.Lock()
	s.edits.readers++
	before := len(s.edits.made)
	s.mu.Unlock()
	var x *index
	err := panics.Call("the function that returns the targets", func() error {
		list, err := targets(ctx)
		if err == nil {
			x = s.newIndex(list)
		}
		return err
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	meanwhile := s.edits.made[before:]
	if s.edits.readers--; s.edits.readers == 0 {
		s.edits.made = nil
	}
	if err != nil {
		return work{}, err
	}
	s.setTargets(x)
	for _, e := range meanwhile {
		s.apply(e)
	}
	return s.newWork(nil, nil), nil
}

// setTargets replaces all targets. The mutex is held.
func (s *Syncer) setTargets(x *index) {
	old := s.index
	for name := range s.declared {
		if x.byName[name] != nil {
			delete(s.declared, name) // It is needed again.
		}
	}
	x.listed = true
	s.index = x
	s.revision++
	if old == nil {
		return
	}
	x.holders = old.holders
	for name, was := range old.byName {
		r := x.byName[name]
		if r == nil {
			if a := was.status.appointment; a != nil && a.place > 0 {
				s.agenda.set(a, time.Time{})
			}
			x.hold(was, nil)
			continue
		}
		x.inherit(r, was)
		r.status.covered = r.status.covered && was.same(r) // Each list has functions of its own.
	}
	for _, r := range x.byName {
		r.status.setAt = s.passes
	}
}

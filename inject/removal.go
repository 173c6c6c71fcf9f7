package inject

import (
	"fmt"
	"maps"
	"time"

	"github.com/regcred/regcred/registry"
)

// judge decides, in a pass over all namespaces, whether secrets without a target may be deleted: only if at most half
// of the published names are without one. If they may not, it returns a problem.
func (s *Syncer) judge(w work, state []Namespace) *Problem {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.own && !w.index.listed {
		return nil // Targets that were set one by one remove nothing.
	}
	published := make(map[string]bool)
	unwanted := 0
	for _, ns := range state {
		for _, have := range ns.Secrets {
			if published[have.Name] {
				continue
			}
			published[have.Name] = true
			if _, declared := s.declared[have.Name]; w.index.byName[have.Name] == nil && !declared {
				unwanted++
			}
		}
	}
	w.index.plausible = s.CompleteLists || unwanted == 0 || len(w.index.byName) > 0 && unwanted <= len(published)/2
	if w.index.plausible {
		if w.own { // A secret that appears later is removed because no target of the list needs it.
			maps.DeleteFunc(s.declared, func(name string, before int) bool { return !published[name] && before < w.pass })
		}
		return nil
	}
	return &Problem{Err: fmt.Errorf("%w: %d targets are listed, and %d of %d published secrets belong to none; they are kept", registry.ErrRemovalWithheld, len(w.index.byName), unwanted, len(published)),
		RetryAt: time.Now().Add(unsolvedRetry)}
}

// mayRemove reports whether the secret of that name may be removed from a namespace that no target with that name
// selects in this pass.
func (s *Syncer) mayRemove(w work, name string, ns Namespace) bool {
	if !w.about(name) {
		return false
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, x := range []*index{w.index, s.index} { // The pass may have a limited list, or one that was replaced.
		if x == nil {
			continue
		}
		if r := x.byName[name]; r != nil && (r.err != nil || r.Namespaces.Selects(ns.Name, ns.Labels)) {
			return false
		}
	}
	_, declared := s.declared[name]
	switch {
	case w.index.byName[name] != nil, declared:
		return true
	case w.own && !w.index.listed:
		return false // SetTarget has added targets, and the other ones are not known yet.
	case s.CompleteLists:
		return true
	case !w.own && len(w.namespaces) > 0: // The list may be a part of the current one, which counts.
		return len(w.index.byName) > 0 && s.index != nil && s.index.plausible && s.index.byName[name] == nil
	}
	return len(w.index.byName) > 0 && w.index.plausible
}

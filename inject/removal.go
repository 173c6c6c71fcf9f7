package inject

import (
	"fmt"
	"time"

	"github.com/regcred/regcred/registry"
)

// A removal decides which secrets without a target may be deleted. The zero removal permits none.
type removal struct {
	// declared are the names that a program has declared to be removed.
	declared map[string]bool
	// allowed is set once a pass over all namespaces has found the list of targets plausible.
	allowed bool
}

func (r *removal) declare(name string) {
	if r.declared == nil {
		r.declared = make(map[string]bool)
	}
	r.declared[name] = true
}

// judge decides, in a pass over all namespaces, whether secrets without a target may be deleted: only if at most half
// of the published names are without one. If they may not, it returns a problem.
func (s *Syncer) judge(w work, state []Namespace) *Problem {
	s.mu.Lock()
	defer s.mu.Unlock()
	published := make(map[string]bool)
	unwanted := 0
	for _, ns := range state {
		for _, have := range ns.Secrets {
			if published[have.Name] {
				continue
			}
			published[have.Name] = true
			if w.index.byName[have.Name] == nil && !s.removal.declared[have.Name] {
				unwanted++
			}
		}
	}
	s.removal.allowed = s.CompleteLists || unwanted == 0 || len(w.index.byName) > 0 && unwanted <= len(published)/2
	if s.removal.allowed {
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
	if r := w.index.byName[name]; r != nil { // Unless it was added during the pass, it does not select the namespace.
		return r.err == nil && !r.Namespaces.Selects(ns.Name, ns.Labels)
	}
	if s.removal.declared[name] || s.CompleteLists {
		return true
	}
	// A list for a few namespaces may be a part of the complete one.
	return s.removal.allowed && len(w.index.byName) > 0 && (w.own || s.index == nil || s.index.byName[name] == nil)
}

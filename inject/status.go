package inject

import (
	"slices"
	"time"

	"github.com/regcred/regcred/credentials"
)

// A status holds the findings of passes about a target in all its namespaces.
type status struct {
	// problems and warnings concern the target in all namespaces.
	problems, warnings []Problem
	// places are the namespaces that had a secret of the target, or needed one, in the last pass over them.
	places map[string]*place
	// retries holds, for each place with a problem or with outdated content, the instant of the next attempt.
	retries map[string]time.Time
	// content is the fingerprint of the desired content, and issuedAt is the instant at which its newest credential
	// was issued. Both are zero before the first credential.
	content  credentials.Fingerprint
	issuedAt time.Time
	// since is the instant at which a pass first found that content.
	since time.Time
	// held are the credentials in the content.
	held []held
	// renewed are the credentials that Renewed reported and that no pass has used yet.
	renewed []held
	// renewAt is the instant of the next call for the credentials.
	renewAt time.Time
	// edited is set while the selection may differ from the places.
	edited bool
	// behind is set while some places may hold older content than the newest, until a pass over all places begins.
	behind bool
	// covered is set once a pass has covered the target, as it is now, in all its namespaces. setAt is the number of the
	// last pass that began before the target was set.
	covered bool
	setAt   int

	appointment *appointment
}

// A place records the published secret of a target in a namespace.
type place struct {
	content   credentials.Fingerprint // Zero if nothing is published.
	desired   bool                    // The content is what the pass found to be desired.
	expiresAt time.Time
	problems  []Problem
	pass      int // The number of the last pass that recorded it.
}

// unsolvedRetry is the wait before a problem without a RetryAt is tried again. Its cause, such as a secret of another
// owner, is not watched.
const unsolvedRetry = 5 * time.Minute

// A placeStatus holds the problems of a namespace that belong to no target in it.
type placeStatus struct {
	problems    []Problem
	appointment *appointment
	// until is the number of the last pass that may have begun before the visit was requested.
	until int
}

// noteContent records the findings of a pass about the content of a target.
func (s *Syncer) noteContent(w *want, problems, warnings []Problem) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := w.record
	if !s.current(r) {
		return
	}
	r.status.problems, r.status.warnings, r.status.renewAt = problems, warnings, w.renewAt
	for _, p := range problems {
		r.status.renewAt = earlier(r.status.renewAt, p.RetryAt)
	}
	for _, p := range r.Profiles { // A warning is due at its time even if nothing else is.
		if at := p.Login.ExpiresAt.Add(-s.warnBefore()); !p.Login.ExpiresAt.IsZero() && at.After(time.Now()) {
			r.status.renewAt = earlier(r.status.renewAt, at)
		}
	}
	if !w.contentUnknown {
		missed := func(h held) bool { return !h.in(w.held) }
		if slices.ContainsFunc(r.status.renewed, missed) { // It was renewed after this pass had fetched it.
			r.status.renewAt = time.Now()
		}
		r.status.renewed = nil
		if w.changed = r.status.content != w.content; w.changed {
			r.status.since = time.Now()
		}
		r.status.content, r.status.issuedAt = w.content, w.issuedAt
		s.index.hold(r, w.held)
	}
	s.reschedule(r)
}

// current reports whether the record belongs to a target of the current list. The mutex is held.
func (s *Syncer) current(r *record) bool { return s.index != nil && s.index.byName[r.Name] == r }

// knew reports whether the record belongs to a target of the current list that was set before the pass began. The mutex
// is held.
func (s *Syncer) knew(w work, r *record) bool { return s.current(r) && w.pass > r.status.setAt }

// reschedule sets the instant of the next look at the target. The mutex is held.
func (s *Syncer) reschedule(r *record) {
	at := r.status.renewAt
	for _, retry := range r.status.retries {
		at = earlier(at, retry)
	}
	if r.status.edited || r.status.behind { // A pass over some of its namespaces does not change that.
		at = earlier(at, time.Now())
	}
	if r.status.appointment == nil {
		r.status.appointment = &appointment{record: r}
	}
	s.agenda.set(r.status.appointment, at)
}

// notePlace records the state of a namespace after a pass: what is published in it for the targets of the pass, and
// its problems. It drops the place of each target that no longer selects the namespace.
func (s *Syncer) notePlace(w work, ns Namespace, found map[*record]place, problems []Problem, again time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range w.records(ns.Name) {
		if !s.knew(w, r) {
			continue
		}
		p, is := found[r]
		if !is {
			if _, was := r.status.places[ns.Name]; was {
				delete(r.status.places, ns.Name)
				s.retry(r, ns.Name, time.Time{})
			}
			continue
		}
		p.pass = w.pass
		retry := time.Time{}
		for _, problem := range p.problems {
			retry = earlier(retry, retryOf(problem))
		}
		if p.desired && p.content != r.status.content {
			retry = earlier(retry, time.Now()) // A concurrent pass has found a newer credential.
		}
		if r.status.places == nil {
			r.status.places = make(map[string]*place, 1)
		}
		if have := r.status.places[ns.Name]; have != nil {
			*have = p
		} else {
			r.status.places[ns.Name] = &p
		}
		s.retry(r, ns.Name, retry)
	}
	if w.names != nil { // The other problems of the namespace stay.
		if len(problems) == 0 && again.IsZero() {
			return
		}
		if have := s.places[ns.Name]; have != nil {
			again = earlier(again, have.appointment.at)
			for _, p := range have.problems {
				if !slices.ContainsFunc(problems, func(found Problem) bool { return found.Name == p.Name }) {
					problems = append(problems, p)
				}
			}
		}
	}
	s.notePlaceProblems(w, ns.Name, problems, again)
}

func retryOf(p Problem) time.Time {
	if p.RetryAt.IsZero() {
		return time.Now().Add(unsolvedRetry)
	}
	return p.RetryAt
}

// retry sets the instant of the next attempt in a place of the target; a zero at cancels it. The mutex is held.
func (s *Syncer) retry(r *record, namespace string, at time.Time) {
	if at.IsZero() {
		if _, is := r.status.retries[namespace]; !is {
			return
		}
		delete(r.status.retries, namespace)
	} else {
		if r.status.retries == nil {
			r.status.retries = make(map[string]time.Time, 1)
		}
		r.status.retries[namespace] = at
	}
	s.reschedule(r)
}

// notePlaceProblems records problems that belong to no target, and the instant of the next look at the namespace,
// which may be set without problems. The mutex is held.
func (s *Syncer) notePlaceProblems(w work, namespace string, problems []Problem, again time.Time) {
	for _, p := range problems {
		again = earlier(again, retryOf(p))
	}
	have := s.places[namespace]
	if have != nil && w.pass <= have.until {
		again = earlier(again, have.appointment.at) // The pass may have looked too early.
	}
	if have == nil && again.IsZero() {
		return
	}
	s.schedule(namespace, again)
	if s.places[namespace].problems = problems; again.IsZero() {
		delete(s.places, namespace)
	}
}

// visit makes the whole namespace due for a pass that begins later. The mutex is held.
func (s *Syncer) visit(namespace string) {
	s.schedule(namespace, time.Now())
	s.places[namespace].until = s.passes
}

// visitAll makes all namespaces due for a pass that begins later. The mutex is held.
func (s *Syncer) visitAll() { s.fullAt, s.allUntil = time.Now(), s.passes }

// revisit makes the namespaces in which the pass attempted changes due once more, if it may have used a list of
// targets, a target or a key that has been replaced since. No event leads to another pass over them, because a Cluster
// can recognize the changes as the Syncer's own.
func (s *Syncer) revisit(w work, attempted map[string]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.index == nil || w.own && w.revision == s.revision {
		return
	}
	for namespace := range attempted {
		s.visit(namespace)
	}
}

// schedule sets the instant of the next look at the whole namespace. The mutex is held.
func (s *Syncer) schedule(namespace string, at time.Time) {
	have := s.places[namespace]
	if have == nil {
		have = &placeStatus{appointment: &appointment{namespace: namespace}}
		if s.places == nil {
			s.places = make(map[string]*placeStatus)
		}
		s.places[namespace] = have
	}
	s.agenda.set(have.appointment, at)
}

// noteEnd records that a pass finished, or why it did not.
func (s *Syncer) noteEnd(w work, made map[*record]*want, gone []string, result *Result, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, namespace := range gone {
		for _, r := range w.records(namespace) {
			if _, was := r.status.places[namespace]; was && s.current(r) {
				delete(r.status.places, namespace)
				s.retry(r, namespace, time.Time{})
			}
		}
		s.notePlaceProblems(w, namespace, nil, time.Time{})
	}
	switch {
	case err != nil && w.full():
		s.fullAt = result.NextAt
		return
	case err != nil:
		s.fullAt = earlier(s.fullAt, result.NextAt)
		return
	case w.full():
		s.complete, s.fullAt, s.general = true, time.Time{}, nil
		for _, p := range result.Problems {
			if p.Target == "" && p.Namespace == "" { // Of the cluster as a whole.
				s.general = append(s.general, p)
				s.fullAt = earlier(s.fullAt, p.RetryAt)
			}
		}
		if w.pass <= s.allUntil {
			s.fullAt = time.Now() // The pass may have looked too early.
		}
		s.sweep(w)
	}
	for _, r := range w.edited {
		if w.about(r.Name) {
			r.status.covered = r.status.covered || s.knew(w, r)
		}
	}
	if w.full() {
		for _, r := range w.index.byName {
			r.status.covered = r.status.covered || s.knew(w, r)
		}
	}
	for r, want := range made {
		if want.changed && s.current(r) {
			s.spread(r)
		}
	}
	result.NextAt = s.nextAt()
}

// spread makes a target due if some of its places hold other content than the newest, because no pass over all of them
// has found that content. The mutex is held.
func (s *Syncer) spread(r *record) {
	for namespace, p := range r.status.places {
		if _, retried := r.status.retries[namespace]; p.content != r.status.content && !retried {
			r.status.behind = true
			s.reschedule(r)
			return
		}
	}
}

// sweep drops the places that a full pass did not find. The mutex is held.
func (s *Syncer) sweep(w work) {
	for _, r := range w.index.byName {
		if !s.knew(w, r) {
			continue
		}
		for namespace, p := range r.status.places {
			if p.pass < w.pass {
				delete(r.status.places, namespace)
				s.retry(r, namespace, time.Time{})
			}
		}
	}
}

// NextAt returns the instant at which [Syncer.SyncDue] has work if nothing happens before; zero if never.
func (s *Syncer) NextAt() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.nextAt()
}

// nextAt returns the instant at which a pass is due. The mutex is held.
func (s *Syncer) nextAt() time.Time {
	if !s.complete && !s.fullAt.IsZero() {
		return s.fullAt // Until that pass succeeds, no other is made.
	}
	return earlier(s.fullAt, s.agenda.next())
}

// due returns the passes that are due, and removes their appointments from the agenda. They cover the targets and
// namespaces whose instant has come; or it returns one pass over everything.
func (s *Syncer) due(now time.Time) []work {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.complete || !s.fullAt.IsZero() && !now.Before(s.fullAt) {
		return []work{s.newWork(nil, nil)}
	}
	names, namespaces := make(map[string]bool), make(map[string]bool)
	searched := make(map[string]bool) // Edited targets that may select any namespace.
	whole := make(map[string]bool)
	var edited []*record
	for at := s.agenda.next(); !at.IsZero() && !now.Before(at); at = s.agenda.next() {
		a := s.agenda[0]
		s.agenda.set(a, time.Time{})
		if a.record == nil {
			whole[a.namespace] = true
			continue
		}
		r := a.record
		if r.status.edited {
			edited = append(edited, r)
			if r.byPattern() {
				searched[r.Name], r.status.edited, r.status.behind = true, false, false
				continue
			}
		}
		names[r.Name] = true
		due := r.status.edited || r.status.behind || !r.status.renewAt.IsZero() && !now.Before(r.status.renewAt)
		for namespace := range r.status.places {
			if retry, is := r.status.retries[namespace]; due || is && !now.Before(retry) {
				namespaces[namespace] = true
			}
		}
		r.status.behind = false
		if r.status.edited {
			r.status.edited = false
			for _, namespace := range r.Namespaces.Names {
				namespaces[namespace] = true
			}
			if len(r.Namespaces.Names)+len(r.status.places) == 0 {
				r.status.covered = true // It needs no pass.
			}
		}
	}
	var works []work
	if len(namespaces) > 0 {
		works = append(works, s.newWork(names, sortedKeys(namespaces)))
	}
	if len(searched) > 0 {
		works = append(works, s.newWork(searched, nil))
	}
	for i := range works {
		works[i].edited = edited
	}
	if len(whole) > 0 {
		works = append(works, s.newWork(nil, sortedKeys(whole)))
	}
	return works
}

func sortedKeys(set map[string]bool) []string {
	keys := make([]string, 0, len(set))
	for key := range set {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// newWork returns a pass over the Syncer's own targets. The mutex is held.
func (s *Syncer) newWork(names map[string]bool, namespaces []string) work {
	s.passes++
	return work{index: s.index, names: names, namespaces: namespaces, own: true, pass: s.passes, revision: s.revision}
}

// Renewed records that a cache has issued a credential, so that the targets that hold it are due at once:
//
//	cache.Hooks = cache.Hooks.Join(credentials.Hooks{Issued: syncer.Renewed})
//
// It needs [Syncer.Lookup]. It returns at once; [Syncer.SyncDue] makes the pass. Without Renewed, a pass finds a new
// credential some seconds after it was issued.
func (s *Syncer) Renewed(e credentials.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.index == nil {
		return
	}
	for r := range s.index.holders[e.Key] {
		renewed := held{e.Key, e.IssuedAt}
		if renewed.in(r.status.held) {
			continue // A pass has already used it.
		}
		older := func(h held) bool { return h.key == e.Key }
		r.status.renewed = append(slices.DeleteFunc(r.status.renewed, older), renewed)
		r.status.renewAt = time.Now()
		s.reschedule(r)
	}
}

// Problems returns the problems of a target in all its namespaces, whichever of them the last passes covered. They
// include the problems of service accounts in its namespaces and of the cluster, because any of them may concern the
// target's secret. Complete is true once a pass over all namespaces has finished and a pass has covered the target in
// all its namespaces since it was set or edited.
func (s *Syncer) Problems(target string) (problems []Problem, complete bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	problems = slices.Clone(s.general)
	if s.index == nil || s.index.byName[target] == nil {
		return problems, false
	}
	r := s.index.byName[target]
	if slices.Contains(s.index.duplicates, target) {
		problems = append(problems, Problem{Target: target, Err: errDuplicate})
	}
	problems = append(problems, r.status.problems...)
	for namespace := range r.status.retries {
		problems = append(problems, r.status.places[namespace].problems...)
	}
	if len(s.places) > 0 {
		for namespace := range r.status.places {
			if have := s.places[namespace]; have != nil {
				problems = append(problems, have.problems...)
			}
		}
	}
	return problems, s.complete && r.status.covered
}

// Warnings returns the warnings of a target: logins that expire soon (see [Syncer.WarnBefore]), and profiles that are
// left out (see [Syncer.Mirrored]).
func (s *Syncer) Warnings(target string) []Problem {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.index == nil || s.index.byName[target] == nil {
		return nil
	}
	return slices.Clone(s.index.byName[target].status.warnings)
}

package inject

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/regcred/regcred/credentials"
)

// A Rollout reports the progress of a rotation: which published secrets of some targets, over namespaces and clusters,
// hold the newest credentials. It holds no secret. Its String method returns a short text.
type Rollout struct {
	// Newest is the number of secrets that hold the newest credentials. NewestIn has it for each cluster.
	Newest   int
	NewestIn map[string]int
	// Older lists the secrets that hold older credentials, ordered by expiry.
	Older []Place // Their Err is set if there is a problem.
	// Missing are the places that need a secret and have none.
	Missing []Place
	// Problems are the problems of the targets, and of the clusters that have them.
	Problems []Problem
	// ExpiresAt is the earliest expiry of the secrets. Zero means that none expires, or that there is none.
	ExpiresAt time.Time
	// Complete is true if a full pass has finished in each cluster.
	Complete bool
}

// A Place is a secret of a target in a namespace of a cluster.
type Place struct {
	// Cluster is the name of the Syncer in the map of [RolloutOf].
	Cluster           string
	Namespace, Target string
	// ExpiresAt is the expiry of the published secret. Zero means that it does not expire, or that the expiry is
	// unknown.
	ExpiresAt time.Time
	// Err is the reason why the place does not hold the newest credentials. Nil means that a pass is about to change
	// it.
	Err error
}

// RolloutOf returns the rollout of some targets in the clusters of these Syncers, as found by their last passes. The
// function which selects the targets; if nil, all targets are selected. The Syncers are those of [SyncEach], or of
// several kube.Controllers. The keys of the map name the clusters in the report. The newest credentials are determined
// over all clusters, so that a disconnected cluster is reported as older. For credentials without an issue time, such
// as passwords, the newest are those that a pass found last. Whole secrets are compared: if the Syncers differ in
// [Syncer.Mirrored], a target with such a profile has different secrets, and those of all but one group of clusters
// count as older. Request a rollout for each group with the same Mirrored.
func RolloutOf(syncers map[string]*Syncer, which func(Target) bool) Rollout {
	type newest struct {
		content         credentials.Fingerprint
		issuedAt, since time.Time
	}
	best := make(map[string]newest)
	for _, s := range syncers {
		s.each(which, func(r *record) {
			have, is := best[r.Name]
			if r.status.content == noContent || is && cmp.Or(r.status.issuedAt.Compare(have.issuedAt), r.status.since.Compare(have.since)) < 0 {
				return
			}
			best[r.Name] = newest{r.status.content, r.status.issuedAt, r.status.since}
		})
	}
	out := Rollout{NewestIn: make(map[string]int, len(syncers)), Complete: true}
	for cluster, s := range syncers {
		out.NewestIn[cluster] = 0
		s.each(which, func(r *record) {
			out.Problems = append(out.Problems, r.status.problems...)
			for namespace, p := range r.status.places {
				out.Problems = append(out.Problems, p.problems...)
				out.ExpiresAt = earlier(out.ExpiresAt, p.expiresAt)
				place := Place{Cluster: cluster, Namespace: namespace, Target: r.Name, ExpiresAt: p.expiresAt}
				if all := slices.Concat(p.problems, r.status.problems); len(all) > 0 {
					place.Err = all[0].Err
				}
				switch {
				case p.content == best[r.Name].content && p.content != noContent:
					out.Newest++
					out.NewestIn[cluster]++
				case p.content != noContent:
					out.Older = append(out.Older, place)
				case place.Err != nil || r.status.content != noContent: // Otherwise access is anonymous and needs no secret.
					out.Missing = append(out.Missing, place)
				}
			}
		})
		s.mu.RLock()
		out.Complete = out.Complete && s.complete
		out.Problems = append(out.Problems, s.general...)
		for _, have := range s.places {
			out.Problems = append(out.Problems, have.problems...)
		}
		s.mu.RUnlock()
	}
	sort := func(places []Place) {
		slices.SortFunc(places, func(a, b Place) int {
			if never := cmp.Compare(zeroOne(a.ExpiresAt), zeroOne(b.ExpiresAt)); never != 0 {
				return never
			}
			return cmp.Or(a.ExpiresAt.Compare(b.ExpiresAt), cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Target, b.Target))
		})
	}
	sort(out.Older)
	sort(out.Missing)
	return out
}

// zeroOne makes places that never expire sort last.
func zeroOne(t time.Time) int {
	if t.IsZero() {
		return 1
	}
	return 0
}

// Rollout returns the rollout in the one cluster of s; see [RolloutOf].
func (s *Syncer) Rollout(which func(Target) bool) Rollout {
	return RolloutOf(map[string]*Syncer{"": s}, which)
}

// each calls f for the record of each target that the function which selects; if which is nil, of every target.
func (s *Syncer) each(which func(Target) bool, f func(r *record)) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.index == nil {
		return
	}
	for _, r := range s.index.byName {
		if which == nil || which(r.Target) {
			f(r)
		}
	}
}

// String returns the number of secrets with the newest credentials and a line for each other place, with the expiry of
// an older secret and the reason.
func (r Rollout) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %d secrets hold the newest credentials", r.Newest, r.Newest+len(r.Older)+len(r.Missing))
	if !r.Complete {
		b.WriteString(", as far as is known yet")
	}
	b.WriteString("\n")
	line := func(p Place, text string) {
		name := p.Namespace + "/" + p.Target
		if p.Cluster != "" {
			name = p.Cluster + ": " + name
		}
		if p.Err != nil {
			text += ": " + p.Err.Error()
		}
		fmt.Fprintf(&b, "  %s %s\n", name, text)
	}
	for _, p := range r.Older {
		until := "holds older ones"
		if !p.ExpiresAt.IsZero() {
			until += " until " + p.ExpiresAt.UTC().Format(time.RFC3339)
		}
		line(p, until)
	}
	for _, p := range r.Missing {
		line(p, "holds none")
	}
	return b.String()
}

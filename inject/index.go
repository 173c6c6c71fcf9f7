package inject

import (
	"cmp"
	"errors"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/regcred/regcred/credentials"
)

// An index finds targets by name, by a namespace that they may select, and by a credential that they hold, so that a
// pass over a part does not look at all of them. The caller locks.
type index struct {
	byName   map[string]*record
	named    map[string][]*record // Those that select by names alone, by namespace, in the order of the targets.
	patterns []*record            // Those that have a pattern, or are invalid, in the order of the targets.
	holders  map[credentials.Key]map[*record]bool
	last     int // The order of the last one.
	// duplicates are the names of targets that were dropped because an earlier target has the same name.
	duplicates []string
}

// A record is a target with the findings of earlier passes about it. The mutex of the Syncer guards all fields except
// Target, order and err.
type record struct {
	Target
	order int
	err   error // Why the target is invalid, or nil.

	status status
}

func newIndex(targets []Target) *index {
	x := &index{
		byName: make(map[string]*record, len(targets)),
		named:  make(map[string][]*record, len(targets)),
	}
	for _, t := range targets {
		if x.byName[t.Name] != nil {
			x.duplicates = append(x.duplicates, t.Name)
			continue
		}
		x.last++
		x.add(&record{Target: t, order: x.last, err: t.Validate()})
	}
	return x
}

var errDuplicate = errors.New("two targets have that name; the first one counts")

// add inserts a record whose name is not in the index yet.
func (x *index) add(r *record) {
	x.byName[r.Name] = r
	byOrder := func(a, b *record) int { return cmp.Compare(a.order, b.order) }
	insert := func(list []*record) []*record {
		at, _ := slices.BinarySearchFunc(list, r, byOrder)
		return slices.Insert(list, at, r)
	}
	if r.byPattern() {
		x.patterns = insert(x.patterns)
		return
	}
	for _, name := range r.Namespaces.Names {
		if !slices.Contains(x.named[name], r) { // A name may be listed twice.
			x.named[name] = insert(x.named[name])
		}
	}
}

func (x *index) remove(r *record) {
	delete(x.byName, r.Name)
	same := func(other *record) bool { return other == r }
	if r.byPattern() {
		x.patterns = slices.DeleteFunc(x.patterns, same)
	} else {
		for _, name := range r.Namespaces.Names {
			if x.named[name] = slices.DeleteFunc(x.named[name], same); len(x.named[name]) == 0 {
				delete(x.named, name)
			}
		}
	}
	x.hold(r, nil)
}

// hold records the credentials that a record holds, with their issue times.
func (x *index) hold(r *record, held map[credentials.Key]time.Time) {
	for key := range r.status.held {
		if _, still := held[key]; !still {
			if delete(x.holders[key], r); len(x.holders[key]) == 0 {
				delete(x.holders, key)
			}
		}
	}
	for key := range held {
		if x.holders == nil {
			x.holders = make(map[credentials.Key]map[*record]bool)
		}
		if x.holders[key] == nil {
			x.holders[key] = make(map[*record]bool, 1)
		}
		x.holders[key][r] = true
	}
	r.status.held = held
}

func (r *record) byPattern() bool {
	return r.err != nil || slices.ContainsFunc(r.Namespaces.Names, isPattern)
}

// in returns the records that select the namespace, in the order of the targets. An invalid record counts as selecting
// every namespace.
func (x *index) in(ns Namespace) []*record {
	named := x.named[ns.Name]
	found := make([]*record, 0, len(named)+min(len(x.patterns), 8))
	for _, list := range [][]*record{named, x.patterns} {
		for _, r := range list {
			if r.err != nil || r.Namespaces.Selects(ns.Name, ns.Labels) {
				found = append(found, r)
			}
		}
	}
	if len(named) > 0 && len(x.patterns) > 0 {
		slices.SortFunc(found, func(a, b *record) int { return cmp.Compare(a.order, b.order) })
	}
	return found
}

func isPattern(name string) bool { return strings.ContainsAny(name, `*?[\`) }

func matchesAny(patterns []string, name string) bool {
	if slices.Contains(patterns, name) {
		return true
	}
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		if !isPattern(pattern) {
			return false
		}
		ok, _ := path.Match(pattern, name)
		return ok
	})
}

package inject

import (
	"cmp"
	"errors"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
)

// An index finds targets by name, by a namespace that they may select, and by a credential that they hold, so that a
// pass over a part does not look at all of them. The caller locks.
type index struct {
	owner    map[string]string // The labels of the owner.
	byName   map[string]*record
	named    map[string][]*record // Those that select by names alone, by namespace, in the order of the targets.
	patterns []*record            // Those that have a pattern, or are invalid, in the order of the targets.
	holders  map[credentials.Key]map[*record]bool
	last     int // The order of the last one.
	// duplicates are the names of targets that were dropped because an earlier target has the same name.
	duplicates []string
	// listed is true if the targets are a list that was passed to Sync. Otherwise SetTarget has added them one by one,
	// and there may be others.
	listed bool
	// plausible is set once a pass over all namespaces has found the list plausible; see Syncer.judge.
	plausible bool
}

// A record is a target with the findings of earlier passes about it. The mutex of the Syncer guards all fields except
// Target, order and err.
type record struct {
	Target
	order int
	err   error // Why the target is invalid, or nil.

	// labels are the labels of the target and of the owner. profiles lists the names of the profiles.
	labels   map[string]string
	profiles string

	status status
}

func newRecord(t Target, order int, owner map[string]string) *record {
	r := &record{Target: t, order: order, err: t.Validate(), labels: owner}
	if len(t.Labels) > 0 {
		r.labels = maps.Clone(t.Labels)
		maps.Copy(r.labels, owner)
	}
	r.profiles = profileNames(t.Profiles)
	return r
}

// newIndex returns an index of the targets, which a Syncer with these labels publishes.
func newIndex(targets []Target, owner map[string]string) *index {
	x := &index{
		owner:  owner,
		byName: make(map[string]*record, len(targets)),
		named:  make(map[string][]*record, len(targets)),
	}
	for _, t := range targets {
		if x.byName[t.Name] != nil {
			x.duplicates = append(x.duplicates, t.Name)
			continue
		}
		x.last++
		x.add(newRecord(t, x.last, owner))
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

// A held is a credential in a secret: its key in the cache, and its issue time.
type held struct {
	key      credentials.Key
	issuedAt time.Time
}

// in reports whether the list has the same credential. If its issue time is unknown, it is taken for another one.
func (h held) in(list []held) bool {
	return !h.issuedAt.IsZero() && slices.ContainsFunc(list, func(other held) bool {
		return other.key == h.key && other.issuedAt.Equal(h.issuedAt)
	})
}

func holds(list []held, key credentials.Key) bool {
	return slices.ContainsFunc(list, func(h held) bool { return h.key == key })
}

// hold records the credentials that a record holds.
func (x *index) hold(r *record, list []held) {
	for _, h := range r.status.held {
		if !holds(list, h.key) {
			if delete(x.holders[h.key], r); len(x.holders[h.key]) == 0 {
				delete(x.holders, h.key)
			}
		}
	}
	for _, h := range list {
		if holds(r.status.held, h.key) {
			continue
		}
		if x.holders == nil {
			x.holders = make(map[credentials.Key]map[*record]bool)
		}
		if x.holders[h.key] == nil {
			x.holders[h.key] = make(map[*record]bool, 1)
		}
		x.holders[h.key][r] = true
	}
	r.status.held = list
}

// replace replaces the record old by r, which has the same name and inherits its order and its findings.
func (x *index) replace(old, r *record) {
	r.order = old.order
	x.inherit(r, old)
	x.remove(old)
	x.add(r)
}

// inherit moves the findings about the record old of a target to its new record.
func (x *index) inherit(r, old *record) {
	r.status = old.status
	old.status = status{}
	if r.status.appointment != nil {
		r.status.appointment.record = r
	}
	for _, h := range r.status.held {
		if same := x.holders[h.key]; same[old] {
			delete(same, old)
			same[r] = true
		}
	}
}

// same reports whether both records have the same target. Functions are not compared.
func (r *record) same(other *record) bool {
	selection := func(a, b Selection) bool { return slices.Equal(a.Names, b.Names) && slices.Equal(a.Except, b.Except) }
	return selection(r.Namespaces, other.Namespaces) && selection(r.Accounts, other.Accounts) &&
		maps.Equal(r.Labels, other.Labels) && maps.Equal(r.Annotations, other.Annotations) &&
		slices.EqualFunc(r.Profiles, other.Profiles, func(a, b registry.Profile) bool { return a.Fingerprint() == b.Fingerprint() })
}

// byLabels reports whether the target selects by a function.
func (r *record) byLabels() bool { return r.Namespaces.Labels != nil || r.Accounts.Labels != nil }

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

package inject

import (
	"cmp"
	"path"
	"slices"
	"strings"
)

// wants are what all targets want. They are found by namespace, for a platform may have a target for each of thousands.
type wants struct {
	named map[string][]*want // Those that select by names alone.
	other []*want            // Those that have a pattern, or whose selection cannot be relied on.
}

// add puts one in. It must be called in the order of the targets.
func (w *wants) add(one *want) {
	if one.invalid || slices.ContainsFunc(one.Namespaces.Names, isPattern) {
		w.other = append(w.other, one)
		return
	}
	if w.named == nil {
		w.named = make(map[string][]*want)
	}
	for _, name := range one.Namespaces.Names {
		if have := w.named[name]; len(have) == 0 || have[len(have)-1] != one { // A name may stand twice.
			w.named[name] = append(have, one)
		}
	}
}

// in returns those that select the namespace, in the order of the targets, and those whose selection cannot be relied on.
func (w *wants) in(ns Namespace) []*want {
	named := w.named[ns.Name]
	found := make([]*want, 0, len(named)+len(w.other))
	for _, list := range [][]*want{named, w.other} {
		for _, one := range list {
			if one.invalid || one.Namespaces.Selects(ns.Name, ns.Labels) {
				found = append(found, one)
			}
		}
	}
	if len(named) > 0 && len(w.other) > 0 {
		slices.SortFunc(found, func(a, b *want) int { return cmp.Compare(a.order, b.order) })
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

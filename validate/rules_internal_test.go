package validate

import (
	"slices"
	"testing"
)

// The order of the rules decides. A rule that matches nothing because an earlier rule matches all of it is a mistake.
func TestNoRuleIsShadowed(t *testing.T) {
	for i, r := range verdictRules {
		for j, earlier := range verdictRules[:i] {
			if earlier.covers(r) {
				t.Errorf("rule %d (%+v) never applies: rule %d (%+v) matches first", i, r, j, earlier)
			}
		}
	}
}

func TestCovers(t *testing.T) {
	every := rule{}
	for _, r := range verdictRules[:len(verdictRules)-1] {
		if !every.covers(r) || !r.covers(r) || r.covers(every) {
			t.Errorf("%+v", r)
		}
	}
}

// covers reports whether r matches every response that other matches.
func (r rule) covers(other rule) bool {
	return includes(r.vendors, other.vendors) && includes(r.steps, other.steps) && includes(r.status, other.status) &&
		includes(r.codes, other.codes) && includes(r.says, other.says) &&
		(r.bearer == "" || r.bearer == other.bearer) && (r.auth == "" || r.auth == other.auth) &&
		(!r.html || other.html) && (r.sender == anybody || r.sender == other.sender)
}

// includes reports whether every value that list b allows is allowed by list a. A nil list allows every value.
func includes[T comparable](a, b []T) bool {
	return a == nil || b != nil && !slices.ContainsFunc(b, func(v T) bool { return !slices.Contains(a, v) })
}

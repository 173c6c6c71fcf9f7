package accounts

import (
	"fmt"
	"slices"
	"strings"
)

// An Action is an operation on a repository. The names come from distribution's token specification.
type Action string

// The actions. A client that pushes requests Push and Pull.
const (
	Pull   Action = "pull"
	Push   Action = "push"
	Delete Action = "delete"
)

// A Rule grants some actions on some repositories.
type Rule struct {
	// Repositories is a pattern for names of repositories. The part "*" matches exactly one part, and "**" any number
	// of parts, including none: "team/*" matches team/app but not team/app/base, "team/**" matches team, team/app and
	// team/app/base, and "**" matches every repository. Within a part, * is no wildcard.
	Repositories string `json:"repositories"`
	// Actions are the granted actions. If empty, the rule grants nothing.
	Actions []Action `json:"actions"`
}

// Allows reports whether the rule grants the action on the repository.
func (r Rule) Allows(action Action, repository string) bool {
	return slices.Contains(r.Actions, action) && Match(r.Repositories, repository)
}

// Validate returns the first problem, or nil.
func (r Rule) Validate() error {
	if err := ValidPattern(r.Repositories); err != nil {
		return err
	}
	for _, a := range r.Actions {
		if a != Pull && a != Push && a != Delete {
			return fmt.Errorf("action %q is not pull, push or delete", a)
		}
	}
	if len(r.Actions) == 0 {
		return fmt.Errorf("rule for %q has no action", r.Repositories)
	}
	return nil
}

// maxPattern is the longest name of a repository that clients accept, including the host.
const maxPattern = 255

// ValidPattern returns the problem of a pattern, or nil; see [Rule].
func ValidPattern(pattern string) error {
	if len(pattern) > maxPattern {
		return fmt.Errorf("pattern is longer than %d characters", maxPattern)
	}
	for part := range strings.SplitSeq(pattern, "/") {
		if part != "*" && part != "**" && !validPart(part) {
			return fmt.Errorf("pattern %q has a part that is no name, * or **", pattern)
		}
	}
	return nil
}

// validPart rejects only parts that no repository name can have.
func validPart(s string) bool {
	letter := func(c byte) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' }
	if s == "" || !letter(s[0]) || !letter(s[len(s)-1]) {
		return false
	}
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789._-") == ""
}

// Match reports whether the pattern of a [Rule] matches the name of a repository. An invalid name, such as
// team/../other, matches nothing.
func Match(pattern, repository string) bool {
	name := strings.Split(repository, "/")
	for _, part := range name {
		if !validPart(part) {
			return false
		}
	}
	return pattern == "**" || matchParts(strings.Split(pattern, "/"), name)
}

// matchParts backtracks to the last ** only. That is enough, because an earlier one could not match more. So its time
// is at most the product of the lengths.
func matchParts(pattern, name []string) bool {
	p, n, star, mark := 0, 0, -1, 0
	for n < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == "**":
			star, mark = p, n
			p++
		case p < len(pattern) && (pattern[p] == "*" || pattern[p] == name[n]):
			p++
			n++
		case star >= 0:
			mark++
			p, n = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == "**" {
		p++
	}
	return p == len(pattern)
}

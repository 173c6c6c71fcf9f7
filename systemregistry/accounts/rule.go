package accounts

import (
	"fmt"
	"slices"
	"strings"
)

// An Action is what one does to a repository. The names are those of the token specification of distribution.
type Action string

// The actions. A client that pushes asks for Push and Pull.
const (
	Pull   Action = "pull"
	Push   Action = "push"
	Delete Action = "delete"
)

// A Rule gives the right to some actions on some repositories.
type Rule struct {
	// Repositories is a pattern for names of repositories. A part "*" stands for any one part, "**" for any number of
	// parts, none included: "team/*" is team/app and not team/app/base, "team/**" is team, team/app and team/app/base,
	// "**" is every repository. Within a part, * is no wildcard.
	Repositories string `json:"repositories"`
	// Actions are what may be done. None means that the rule gives no right.
	Actions []Action `json:"actions"`
}

// Allows reports whether the rule gives the right to do action to the repository.
func (r Rule) Allows(action Action, repository string) bool {
	return slices.Contains(r.Actions, action) && Match(r.Repositories, repository)
}

// Validate reports the first problem.
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

// maxPattern is the longest name of a repository that clients take, host included.
const maxPattern = 255

// ValidPattern reports what is wrong with a pattern; see [Rule].
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

// validPart is narrower than the rule for a part of a repository's name only where no such name exists.
func validPart(s string) bool {
	letter := func(c byte) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' }
	if s == "" || !letter(s[0]) || !letter(s[len(s)-1]) {
		return false
	}
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789._-") == ""
}

// Match reports whether the pattern of a [Rule] matches the name of a repository. What can be no name, such as
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

// matchParts goes back to the last ** only, which is enough: an earlier one could match nothing more. So its time is
// the product of the lengths at worst.
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

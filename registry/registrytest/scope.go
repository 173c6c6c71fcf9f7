package registrytest

import (
	"slices"
	"strings"
)

// A scope is a scope of a token request: repository:team/app:pull,push.
type scope struct {
	kind    string
	name    string
	actions []string
}

// parseScope parses a scope according to https://distribution.github.io/distribution/spec/auth/scope/. The name may
// contain colons.
func parseScope(s string) (scope, bool) {
	kind, rest, _ := strings.Cut(s, ":")
	i := strings.LastIndexByte(rest, ':')
	if i < 0 {
		return scope{}, false
	}
	kind, _, _ = strings.Cut(kind, "(") // repository(plugin)
	return scope{kind, rest[:i], strings.Split(rest[i+1:], ",")}, true
}

func (s scope) String() string { return s.kind + ":" + s.name + ":" + strings.Join(s.actions, ",") }

// grant returns the part of the scope that the login has a right to.
func (r *Registry) grant(l login, s scope) scope {
	granted := scope{kind: s.kind, name: s.name}
	for _, action := range s.actions {
		switch {
		case s.kind == "registry" && s.name == "catalog":
			if r.mayList(l) {
				granted.actions = append(granted.actions, action)
			}
		case s.kind != "repository":
		case action == "*":
			for _, each := range []string{"pull", "push"} {
				if r.grants(l, each, s.name) {
					granted.actions = append(granted.actions, each)
				}
			}
		case r.grants(l, action, s.name):
			granted.actions = append(granted.actions, action)
		}
	}
	slices.Sort(granted.actions)
	granted.actions = slices.Compact(granted.actions)
	return granted
}

func (r *Registry) grants(l login, action, repository string) bool {
	if !r.may(l, action, repository) {
		return false
	}
	return !r.Dialect.token.knowsRepositories || r.exists(repository) || r.may(l, "push", repository)
}

func (r *Registry) mayList(l login) bool {
	switch r.Dialect.catalog.who {
	case catalogForAll:
		return true
	case catalogForAdmins:
		return !l.anonymous() && l.account.Admin
	}
	return false
}

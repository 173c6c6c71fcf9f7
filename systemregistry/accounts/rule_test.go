package accounts_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/systemregistry/accounts"
)

func TestMatch(t *testing.T) {
	tests := map[string]struct {
		pattern  string
		yes, not []string
	}{
		"a name":             {"team/app", []string{"team/app"}, []string{"team", "team/app/base", "team/apps", "xteam/app", ""}},
		"one part":           {"team/*", []string{"team/app", "team/b"}, []string{"team", "team/app/base", "teams/app"}},
		"any parts":          {"team/**", []string{"team", "team/app", "team/app/base"}, []string{"teams", "team-b/app", "other/team"}},
		"all":                {"**", []string{"a", "a/b", "a/b/c"}, []string{""}},
		"in the middle":      {"a/**/z", []string{"a/z", "a/b/z", "a/b/c/z"}, []string{"a", "z", "a/z/b", "a/bz"}},
		"twice":              {"**/a/**/b", []string{"a/b", "x/a/y/b", "a/a/b/b"}, []string{"a", "b", "b/a"}},
		"a star in a part":   {"te*m/app", nil, []string{"team/app"}},
		"a path that climbs": {"team/**", nil, []string{"team/../other", "../team/app", "team/app/..", "team//app", "team/app/"}},
		"no name at all":     {"**", nil, []string{"", "/", "..", "a/../b", "A/b", "a b"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for _, repository := range tt.yes {
				require.True(t, accounts.Match(tt.pattern, repository), repository)
			}
			for _, repository := range tt.not {
				require.False(t, accounts.Match(tt.pattern, repository), repository)
			}
		})
	}
}

func TestValidPattern(t *testing.T) {
	for _, good := range []string{"**", "*", "team/**", "team/*/app", "a.b/c_d/e-f", "a/**/b"} {
		require.NoError(t, accounts.ValidPattern(good), good)
	}
	for _, bad := range []string{"", "/", "team/", "/team", "te*m", "Team", "team//app", "team/..", "../team", "team app", "team/***", strings.Repeat("a/", 200) + "a"} {
		require.Error(t, accounts.ValidPattern(bad), bad)
	}
}

// matchSlowly returns the same as Match by a direct recursion, in exponential time.
func matchSlowly(pattern, name []string) bool {
	switch {
	case len(pattern) == 0:
		return len(name) == 0
	case pattern[0] == "**":
		return matchSlowly(pattern[1:], name) || len(name) > 0 && matchSlowly(pattern, name[1:])
	default:
		return len(name) > 0 && (pattern[0] == "*" || pattern[0] == name[0]) && matchSlowly(pattern[1:], name[1:])
	}
}

func FuzzMatch(f *testing.F) {
	f.Add("a/**/b/*/**", "a/x/b/c/d")
	f.Add("**/a/**/a/**", "a/a")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if len(pattern) > 20 || len(name) > 30 || accounts.ValidPattern(pattern) != nil || strings.Trim(name, "abc/") != "" || strings.Contains("/"+name+"/", "//") {
			return
		}
		if got, want := accounts.Match(pattern, name), matchSlowly(strings.Split(pattern, "/"), strings.Split(name, "/")); got != want {
			t.Errorf("Match(%q, %q) = %t, want %t", pattern, name, got, want)
		}
	})
}

func TestTenantBoundsRules(t *testing.T) {
	all := accounts.Rule{Repositories: "**", Actions: []accounts.Action{accounts.Pull}}
	a := accounts.Account{Name: "ann", Tenant: "team", Rules: []accounts.Rule{all}}
	require.Error(t, a.Validate(), "a rule outside of the tenant")
	require.True(t, a.Allows(accounts.Pull, "team/app"), "though it was stored somehow")
	for _, other := range []string{"other/app", "team-b/app", "teams", ""} {
		require.False(t, a.Allows(accounts.Pull, other), other)
	}
	require.False(t, a.Allows(accounts.Push, "team/app"))
}

package runtimes

import (
	"fmt"
	"testing"

	"github.com/regcred/regcred/internal/scenario"
)

// TestPods compares the verdicts on pods with several secrets, and the logins that are tried, with what a kubelet and
// each runtime do. TestVerdicts has pods too, beside other deviations.
func TestPods(t *testing.T) {
	o := newOracle(t)
	entry := func(key, login string) scenario.Secret {
		return scenario.Secret{Entries: []scenario.SecretEntry{{Key: key, Login: login}}}
	}
	path := scenario.Host + "/team/app"
	pods := map[string][]scenario.Secret{
		"right after wrong":              {entry("", "wrong"), entry("", "")},
		"wrong after right":              {entry("", ""), entry("", "wrong")},
		"wrong, but more specific":       {entry("", ""), entry(path, "wrong")},
		"only wrong":                     {entry("", "wrong"), entry(path, "wrong")},
		"for another registry":           {entry(scenario.OtherHost, "")},
		"without a login":                {entry("", "none")},
		"without a login, then right":    {entry(path, "none"), entry("", "")},
		"an identity token":              {entry("", "token")},
		"one cannot be decoded":          {entry("", ""), {Broken: true}},
		"for another, cannot be decoded": {{Broken: true}},
		"empty":                          {{}},
		"the same login twice":           {entry("", ""), entry(path, "")},
		"the same wrong login twice":     {entry("", "wrong"), entry("", "wrong")},
	}
	for name, pod := range pods {
		for _, registry := range []scenario.Scenario{{}, {Public: true}, {Auth: "basic"}, {Auth: "open"}} {
			s := registry
			s.Pod = pod
			t.Run(fmt.Sprintf("%s at %s", name, registry), func(t *testing.T) {
				if found := o.disagreements(t, s, name); len(found) > 0 {
					t.Errorf("%v\n%s", found, o.report(t, s))
				}
			})
		}
	}
}

package accounts_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/systemregistry/accounts"
)

func TestSubjects(t *testing.T) {
	rules := []accounts.Rule{{Repositories: "**", Actions: []accounts.Action{accounts.Pull}}}
	for _, tc := range []struct {
		pattern, subject string
		ok               bool
		tenant           string
	}{
		{"system:serviceaccount:shop:puller", "system:serviceaccount:shop:puller", true, ""},
		{"system:serviceaccount:shop:puller", "system:serviceaccount:shop:pullers", false, ""},
		{"system:serviceaccount:shop:*", "system:serviceaccount:shop:puller", true, ""},
		{"system:serviceaccount:shop:*", "system:serviceaccount:shop:a:b", false, ""},
		{"system:serviceaccount:shop:*", "system:serviceaccount:shop2:puller", false, ""},
		{"system:serviceaccount:team-*:p*r", "system:serviceaccount:team-a:puller", true, ""},
		{"system:serviceaccount:team-*:p*r", "system:serviceaccount:ateam-a:puller", false, ""},
		{"system:serviceaccount:{tenant}:puller", "system:serviceaccount:shop:puller", true, "shop"},
		{"system:serviceaccount:ns-{tenant}:*", "system:serviceaccount:ns-shop:x", true, "shop"},
		{"system:serviceaccount:ns-{tenant}-x:*", "system:serviceaccount:ns-x:x", false, ""},
		{"system:serviceaccount:{tenant}:puller", "system:serviceaccount::puller", false, ""},
		{"system:serviceaccount:{tenant}:puller", "system:serviceaccount:..:puller", false, ""},
		{"repo:{tenant}/*:ref:refs/heads/main", "repo:shop/app:ref:refs/heads/main", true, "shop"},
		{"repo:{tenant}/*:ref:refs/heads/main", "repo:shop/app:ref:refs/heads/mine", false, ""},
		{"repo:*:x", "repo:shop/app:x", false, ""},
		{"*", "a b", false, ""},
		{"*", "line\nfeed", false, ""},
		{"*", strings.Repeat("a", 401), false, ""},
	} {
		i := accounts.Issuer{URL: "https://issuer.example.com/x", Subjects: []accounts.Subject{{Pattern: tc.pattern, Rules: rules}}}
		got, ok := i.Account(tc.subject)
		require.Equal(t, tc.ok, ok, "%s %s", tc.pattern, tc.subject)
		if ok {
			require.Equal(t, tc.subject+"@issuer.example.com", got.Name)
			require.Equal(t, tc.tenant, got.Tenant)
			require.True(t, got.Allows(accounts.Pull, "shop/app"))
			require.Equal(t, tc.tenant == "", got.Allows(accounts.Pull, "other/app"), "the tenant bounds the rules")
		}
	}
}

func TestIssuerProblems(t *testing.T) {
	good := accounts.Issuer{URL: "https://issuer.example.com", Audience: "https://registry.example.com"}
	require.NoError(t, good.Validate())
	for want, change := range map[string]func(*accounts.Issuer){
		"not https":            func(i *accounts.Issuer) { i.URL = "http://issuer.example.com" },
		"its keys":             func(i *accounts.Issuer) { i.KeysURL = "http://issuer.example.com/keys" },
		"no audience":          func(i *accounts.Issuer) { i.Audience = "" },
		"pattern is empty":     func(i *accounts.Issuer) { i.Subjects = []accounts.Subject{{}} },
		"more than one tenant": func(i *accounts.Issuer) { i.Subjects = []accounts.Subject{{Pattern: "{tenant}:x", Tenant: "a"}} },
		"in the same part":     func(i *accounts.Issuer) { i.Subjects = []accounts.Subject{{Pattern: "{tenant}*:x"}} },
		"not in tenant": func(i *accounts.Issuer) {
			i.Subjects = []accounts.Subject{{Pattern: "x", Tenant: "a", Rules: []accounts.Rule{{Repositories: "b", Actions: []accounts.Action{accounts.Pull}}}}}
		},
	} {
		i := good
		change(&i)
		require.ErrorContains(t, i.Validate(), want)
	}
	i := good
	i.URL = "http://127.0.0.1:1"
	require.NoError(t, i.Validate())
}

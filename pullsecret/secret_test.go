package pullsecret_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/regcred/regcred/field"
	"github.com/regcred/regcred/pullsecret"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

var update = flag.Bool("update", false, "write the golden files again")

// golden compares with a file in testdata. The bytes must not change unnoticed: clusters hold them, and every secret of
// every user would be written again.
func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", file)
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, got, 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got))
}

func example(t testing.TB) pullsecret.Secret {
	return pullsecret.Secret{
		Name:        "regcred",
		Namespace:   "shop",
		Labels:      map[string]string{"app.kubernetes.io/managed-by": "regcred", "empty": ""},
		Annotations: map[string]string{"example.com/profiles": "hub,ecr", "Example.com/note": "no\ttab: \"quoted\" \u00e9\u2028\x7f \\ #1"},
		Config: build(t,
			entry("AWS", "token", "111122223333.dkr.ecr.eu-west-1.amazonaws.com"), entry("me", "dckr_pat_1", "docker.io"), entry("robot$shop", "r", "registry.example.com:5000/shop")),
	}
}

func TestManifests(t *testing.T) {
	s := example(t)
	asJSON, err := s.JSON()
	require.NoError(t, err)
	asYAML, err := s.YAML()
	require.NoError(t, err)
	golden(t, "config.json", s.Config.Reveal())
	golden(t, "secret.json", asJSON)
	golden(t, "secret.yaml", asYAML)

	var fromJSON, fromYAML any
	require.NoError(t, json.Unmarshal(asJSON, &fromJSON))
	require.NoError(t, yaml.Unmarshal(asYAML, &fromYAML))
	require.Equal(t, fromJSON, fromYAML, "both say the same")

	small := pullsecret.Secret{Name: "a"}
	asYAML, err = small.YAML()
	require.NoError(t, err)
	golden(t, "empty.yaml", asYAML)
}

func TestManifestsFailWhereValidateDoes(t *testing.T) {
	_, err := pullsecret.Secret{}.JSON()
	require.EqualError(t, err, pullsecret.Secret{}.Validate().Error())
	_, err = pullsecret.Secret{}.YAML()
	require.EqualError(t, err, pullsecret.Secret{}.Validate().Error())
}

// Many tools read JSON as YAML, which does not allow everything that JSON does, and treats some characters as line
// breaks.
func TestJSONIsYAML(t *testing.T) {
	for text, want := range map[string]string{
		"next\u0085line": `next\u0085line`, "mark\ufeff": `mark\ufeff`, "\u007f": `\u007f`, "\u2028": `\u2028`, "\u00e9": "\u00e9",
	} {
		manifest, err := pullsecret.Secret{Name: "a", Annotations: map[string]string{"a": text}}.JSON()
		require.NoError(t, err)
		require.Contains(t, string(manifest), `"annotations":{"a":"`+want+`"}`)
	}
}

func TestSecretValidate(t *testing.T) {
	long := func(n int) string { return strings.Repeat("a", n) }
	label := func(key, value string) pullsecret.Secret {
		return pullsecret.Secret{Name: "a", Labels: map[string]string{key: value}}
	}
	annotation := func(key, value string) pullsecret.Secret {
		return pullsecret.Secret{Name: "a", Annotations: map[string]string{key: value}}
	}
	tests := map[string]struct {
		secret pullsecret.Secret
		want   string // The invalid field; empty means that the secret is valid.
	}{
		"an example":                      {example(t), ""},
		"a name":                          {pullsecret.Secret{Name: "a.b-1"}, ""},
		"a long name":                     {pullsecret.Secret{Name: long(253)}, ""},
		"no name":                         {pullsecret.Secret{}, "name"},
		"too long a name":                 {pullsecret.Secret{Name: long(254)}, "name"},
		"upper case":                      {pullsecret.Secret{Name: "A"}, "name"},
		"underscore":                      {pullsecret.Secret{Name: "a_b"}, "name"},
		"hyphen at the end":               {pullsecret.Secret{Name: "a-"}, "name"},
		"empty part":                      {pullsecret.Secret{Name: "a..b"}, "name"},
		"a letter that is not ASCII":      {pullsecret.Secret{Name: "\u00e9"}, "name"},
		"a namespace":                     {pullsecret.Secret{Name: "a", Namespace: long(63)}, ""},
		"dot in the namespace":            {pullsecret.Secret{Name: "a", Namespace: "a.b"}, "namespace"},
		"too long a namespace":            {pullsecret.Secret{Name: "a", Namespace: long(64)}, "namespace"},
		"a label":                         {label("example.com/A_b.c-d", "A_b.c-d"), ""},
		"a label without a key":           {label("", "x"), "labels"},
		"a label with an empty domain":    {label("/a", "x"), "labels"},
		"a label with an empty name":      {label("a/", "x"), "labels"},
		"two slashes":                     {label("a/b/c", "x"), "labels"},
		"upper case in a label's domain":  {label("Example.com/a", "x"), "labels"},
		"too long a key":                  {label(long(64), "x"), "labels"},
		"a long value":                    {label("a", long(63)), ""},
		"too long a value":                {label("a", long(64)), "labels[a]"},
		"a value with a space":            {label("a", "x y"), "labels[a]"},
		"a value that ends with a dot":    {label("a", "x."), "labels[a]"},
		"annotations take text":           {annotation("Example.com/a", "any text\n"), ""},
		"annotations have keys too":       {annotation("a b", ""), "annotations"},
		"not UTF-8":                       {annotation("a", "\xff"), "annotations[a]"},
		"annotations just small enough":   {annotation("a", long(256<<10-1)), ""},
		"annotations too large":           {annotation("a", long(256<<10)), "annotations"},
		"a config that is just too large": {pullsecret.Secret{Name: "a", Config: build(t, entry("u", long(1<<20), "h.io"))}, "config"},
		"a large config":                  {pullsecret.Secret{Name: "a", Config: build(t, entry("u", long(780_000), "h.io"))}, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			err := test.secret.Validate()
			if test.want == "" {
				require.NoError(t, err)
				return
			}
			var invalid *field.Errors
			require.ErrorAs(t, err, &invalid)
			require.Len(t, invalid.Fields, 1)
			require.Equal(t, test.want, invalid.Fields[0].Field)
		})
	}
	all := pullsecret.Secret{Name: "A", Namespace: "B", Labels: map[string]string{"c": "d e"}}
	require.EqualError(t, all.Validate(), "pull secret \"A\": 3 problems:\n"+
		"\tname is \"A\": expected lower-case letters, digits, hyphens and dots, at most 253, with a letter or digit at both ends of each part\n"+
		"\tnamespace is \"B\": expected lower-case letters, digits and hyphens, at most 63, with a letter or digit at both ends\n"+
		"\tlabels[c] is \"d e\": expected at most 63 letters, digits, hyphens, underscores and dots, with a letter or digit at both ends; or nothing")
}

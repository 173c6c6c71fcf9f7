package pullsecret_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/regcred/regcred/pullsecret"
	"github.com/regcred/regcred/registry"
	"github.com/stretchr/testify/require"
)

func image(t testing.TB, name string) registry.Image {
	t.Helper()
	i, err := registry.ParseImage(name)
	require.NoError(t, err)
	return i
}

func parse(t testing.TB, text string) pullsecret.Config {
	t.Helper()
	c, err := pullsecret.Parse([]byte(text))
	require.NoError(t, err)
	return c
}

func TestMerge(t *testing.T) {
	const ours = `{"auths":{"h.io":{"auth":"dTpw"}}}`
	tests := map[string]struct {
		existing string
		owned    []string
		want     string
	}{
		"into nothing":                         {`{}`, nil, ours},
		"into null":                            {`null`, nil, ours},
		"beside a foreign entry":               {`{"auths":{"f.io":{"auth":"Zjpm"}}}`, nil, `{"auths":{"f.io":{"auth":"Zjpm"},"h.io":{"auth":"dTpw"}}}`},
		"over our old one":                     {`{"auths":{"h.io":{"auth":"bzpsZA==","email":"x"}}}`, []string{"h.io"}, ours},
		"what we owned goes":                   {`{"auths":{"gone.io":{"auth":"dTpw"}}}`, []string{"gone.io", "never.io"}, ours},
		"nothing changes, nor does the format": {"{\n  \"auths\": {\"h.io\": {\"auth\": \"dTpw\"}}\n}\n", nil, "{\n  \"auths\": {\"h.io\": {\"auth\": \"dTpw\"}}\n}\n"},
		"unknown fields and long numbers": {
			`{"x":12345678901234567890.10,"auths":{"f.io":{"auth":"Zjpm","n":1e400,"deep":[{"a":null}]}},"HttpHeaders":{"A":"b"}}`, nil,
			`{"HttpHeaders":{"A":"b"},"auths":{"f.io":{"auth":"Zjpm","n":1e400,"deep":[{"a":null}]},"h.io":{"auth":"dTpw"}},"x":12345678901234567890.10}`},
		"auths in any case":                  {`{"Auths":{"f.io":{"auth":"Zjpm"}}}`, nil, `{"auths":{"f.io":{"auth":"Zjpm"},"h.io":{"auth":"dTpw"}}}`},
		"auths twice":                        {`{"auths":{"a.io":{}},"auths":{"b.io":{}}}`, nil, `{"auths":{"a.io":{},"b.io":{},"h.io":{"auth":"dTpw"}}}`},
		"auths and then null":                {`{"auths":{"a.io":{}},"AUTHS":null}`, nil, ours},
		"another spelling, same login":       {`{"auths":{"https://h.io":{"auth":"dTpw"}}}`, nil, `{"auths":{"h.io":{"auth":"dTpw"},"https://h.io":{"auth":"dTpw"}}}`},
		"another spelling that we owned":     {`{"auths":{"https://h.io":{"auth":"Zjpm"}}}`, []string{"https://h.io"}, ours},
		"as kubectl writes it":               {`{"auths":{"h.io":{"username":"u","password":"p","email":"x","auth":"dTpw"}}}`, nil, `{"auths":{"h.io":{"username":"u","password":"p","email":"x","auth":"dTpw"}}}`},
		"as kubectl writes it, without auth": {`{"auths":{"h.io":{"username":"u","password":"p"}}}`, nil, `{"auths":{"h.io":{"username":"u","password":"p"}}}`},
		"fields that disagree":               {`{"auths":{"h.io":{"password":"old","auth":"dTpw"}}}`, []string{"h.io"}, ours},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			existing, ours := parse(t, test.existing), build(t, entry("u", "p", "h.io"))
			got, err := pullsecret.Merge(existing, ours, test.owned...)
			require.NoError(t, err)
			require.Equal(t, test.want, string(got.Reveal()))
			again, err := pullsecret.Merge(got, ours, ours.Keys()...)
			require.NoError(t, err)
			require.True(t, got.Equal(again), "merging again changes nothing")
			require.Equal(t, 0, got.Match(image(t, "h.io/a"))[0].Entry, "what is ours leads back to its entry")
		})
	}
}

func TestMergeDoesNotReplaceForeignEntries(t *testing.T) {
	existing := parse(t, `{"auths":{"h.io":{"auth":"Zjpm"},"i.io":{"username":"f"},"j.io":{"auth":"dTpw"}}}`)
	ours := build(t, entry("u", "p", "h.io", "i.io", "j.io"))
	_, err := pullsecret.Merge(existing, ours)
	require.ErrorContains(t, err, "merge pull secret: invalid: another owner has a different login for h.io; hint: ")
	require.ErrorContains(t, err, "merge pull secret: invalid: another owner has a different login for i.io; hint: ")
	require.NotContains(t, err.Error(), "j.io")
	require.Equal(t, registry.ErrInvalid, registry.CodeOf(err))
	var conflict *pullsecret.ConflictError
	require.ErrorAs(t, err, &conflict)
	require.Equal(t, "h.io", conflict.Key)

	taken, err := pullsecret.Merge(existing, ours, "h.io", "i.io")
	require.NoError(t, err)
	require.True(t, taken.Equal(ours))
}

func TestMergeSeesOtherSpellings(t *testing.T) {
	for _, theirs := range []string{"https://h.io", "http://h.io", "https://h.io/v2/", "h.io/"} {
		existing := parse(t, `{"auths":{"`+theirs+`":{"auth":"Zjpm"}}}`)
		_, err := pullsecret.Merge(existing, build(t, entry("u", "p", "h.io")))
		var conflict *pullsecret.ConflictError
		require.ErrorAs(t, err, &conflict, theirs)
		require.Equal(t, theirs, conflict.Key)
	}
}

func TestMergeOfOtherOrigins(t *testing.T) {
	ours := build(t, entry("u", "p", "h.io"))
	got, err := pullsecret.Merge(pullsecret.Config{}, ours)
	require.NoError(t, err)
	require.True(t, got.Equal(ours))

	old, err := pullsecret.ParseDockercfg([]byte(`{"f.io":{"auth":"Zjpm"},"auths":{"auth":"eDp5"}}`))
	require.NoError(t, err)
	got, err = pullsecret.Merge(old, ours)
	require.NoError(t, err)
	require.JSONEq(t, `{"auths":{"f.io":{"auth":"Zjpm"},"auths":{"auth":"eDp5"},"h.io":{"auth":"dTpw"}}}`, string(got.Reveal()), "in the newer form")

	soon := entry("v", "q", "i.io")
	soon.Credential.ExpiresAt = time.Now().Add(time.Hour)
	got, err = pullsecret.Merge(build(t, soon), ours)
	require.NoError(t, err)
	require.Equal(t, soon.Credential.ExpiresAt, got.ExpiresAt(), "expiries of both are known")
	require.Equal(t, -1, got.Match(image(t, "i.io/a"))[0].Entry)

	got, err = pullsecret.Merge(got, build(t), "h.io", "i.io")
	require.NoError(t, err)
	require.True(t, got.Equal(pullsecret.Config{}))
}

// FuzzMerge checks the contract of Merge with arbitrary existing configs.
func FuzzMerge(f *testing.F) {
	f.Add(`{"auths":{"f.io":{"auth":"Zjpm","n":1e400}},"x":[1,{"y":null}]}`, "h.io,f.io")
	f.Add(`{"AUTHS":{"h.io":null},"auths":{"h.io":{}},"\u0041uths":{}}`, "h.io")
	f.Add(`null`, "")
	f.Fuzz(func(t *testing.T, text, owned string) {
		existing, err := pullsecret.Parse([]byte(text))
		if err != nil {
			return
		}
		ours, keys := build(t, entry("u", "p", "h.io", "i.io/a")), strings.Split(owned, ",")
		got, err := pullsecret.Merge(existing, ours, keys...)
		if err != nil {
			require.ErrorAs(t, err, new(*pullsecret.ConflictError))
			return
		}
		again, err := pullsecret.Merge(got, ours, keys...)
		require.NoError(t, err)
		require.True(t, got.Equal(again), "merging again changes nothing")

		before, after := decode(t, existing), decode(t, got)
		for _, key := range slices.Concat(keys, ours.Keys()) {
			delete(before.auths, key)
			delete(after.auths, key)
		}
		require.Equal(t, before, after, "what is foreign means what it meant")

		rest, err := pullsecret.Merge(got, pullsecret.Config{}, slices.Concat(keys, ours.Keys())...)
		require.NoError(t, err)
		require.Equal(t, before, decode(t, rest), "what was ours can be taken out again")
	})
}

type decoded struct {
	auths map[string]any
	other map[string]any
}

// decode reads a config without this package, with numbers as written.
func decode(t testing.TB, c pullsecret.Config) decoded {
	t.Helper()
	var top struct {
		Auths map[string]any `json:"auths"`
	}
	d := decoded{other: make(map[string]any)}
	for _, into := range []any{&top, &d.other} {
		decoder := json.NewDecoder(strings.NewReader(string(c.Reveal())))
		decoder.UseNumber()
		require.NoError(t, decoder.Decode(into))
	}
	maps.DeleteFunc(d.other, func(name string, _ any) bool { return strings.EqualFold(name, "auths") })
	if d.auths = top.Auths; d.auths == nil {
		d.auths = make(map[string]any)
	}
	if d.other == nil {
		d.other = make(map[string]any)
	}
	return d
}

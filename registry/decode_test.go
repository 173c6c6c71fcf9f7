package registry_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/registry"
)

func ExampleDecodeProfiles() {
	profiles, err := registry.DecodeProfiles([]byte(`{"profiles": [
		{"name": "hub", "kind": "dockerhub", "login": {"anonymous": true}},
		{"name": "team", "kind": "custom", "endpoint": "ghcr.io/team", "login": {"username": "jo", "password": "s3cret"}}
	]}`))
	fmt.Println(len(profiles), profiles[1].Endpoint, profiles[1].Login.Password, err)

	_, err = registry.DecodeProfiles([]byte(`{"name": "team", "kind": "custom", "endpiont": "ghcr.io"}`))
	fmt.Println(err)
	// Output:
	// 2 ghcr.io/team [redacted] <nil>
	// profiles: endpiont is not a field of a profile: expected name, tenant, kind, endpoint, hosts, login or transport, and what belongs into them
}

func TestDecodeProfiles(t *testing.T) {
	for in, want := range map[string]int{
		`{"name":"a"}`:                        1,
		`[{"name":"a"}]`:                      1,
		` [{"name":"a"},{"name":"a"}]` + "\n": 2,
		`[{"name":"a","login":{"fields":{"a":"1","A":"2"}}}]`: 1,
		`[]`: 0,
		`{"profiles":[{"name":"a"},{"name":"a"}]}`:    2,
		"\ufeff" + `{"profiles":[{"name":"a"}]}`:      1,
		`{"name":"a","login":{"password":null}}`:      1,
		`{"name":"a","transport":{"clientKey":"\n"}}`: 1,
	} {
		profiles, err := registry.DecodeProfiles([]byte(in))
		require.NoError(t, err, in)
		require.Len(t, profiles, want, in)
		for _, p := range profiles {
			require.Equal(t, "a", p.Name)
		}
	}
}

func TestDecodeProfilesFails(t *testing.T) {
	for in, want := range map[string]string{
		``:                           "profiles: end before the JSON does",
		` `:                          "profiles: end before the JSON does",
		`{"name":"a"`:                "profiles: end before the JSON does",
		`{"name":"hunter2",}`:        "profiles: is not JSON at byte 19",
		`name: a`:                    "profiles: is not JSON at byte",
		`"hunter2"`:                  "is of type string: expected an object in { }",
		`12`:                         "is of type number",
		`{"name":"a"} {"name":"b"}`:  "behind the end",
		`{"name":"a"} x`:             "behind the end",
		`[{"name":"a"}] []`:          "behind the end",
		`{"profiles":[],"name":"a"}`: "name is not a field",
		`{"profiles":{"name":"a"}}`:  "profiles is of type object: expected a list in [ ]",
		`{"name":"a","name":"b"}`:    "name stands twice",
		`[{"name":"a"},{"login":{"username":"a","aws":{"roles":[{"arn":"a"},{"arn":"a","arn":"b"}]}}}]`: "arn stands twice",
		`{"profiles":[],"profiles":[{"name":"a"}]}`:                                                     "profiles stands twice",
		`{"login":{"fields":{"hunter":"2","hunter":"3"}}}`:                                              "hunter stands twice",
		`{"pasword":"hunter2"}`:                        "pasword is not a field",
		`[{"login":{"pass":"hunter2"}}]`:               "pass is not a field",
		`{"login":{"aws":{"x":1}}}`:                    "x is not a field",
		`{"name":12}`:                                  `name is of type number: expected text in quotes`,
		`{"hosts":"hunter2"}`:                          "hosts is of type string: expected a list in [ ]",
		`{"hosts":[7]}`:                                "hosts",
		`{"login":"hunter2"}`:                          "login is of type string: expected an object in { }",
		`{"login":{"password":72632}}`:                 `login.password is of type number: expected text in quotes, also if it is all digits: "12345"`,
		`{"login":{"password":["hunter2"]}}`:           "login.password is of type array",
		`{"login":{"fields":{"a":{"hunter2":1}}}}`:     "login.fields is of type object",
		`{"login":{"anonymous":"hunter2"}}`:            "login.anonymous is of type string: expected true or false",
		`{"login":{"expiresAt":"hunter2"}}`:            "cannot be read: expected instants as in 2027-01-31T00:00:00Z",
		`{"login":{"expiresAt":72632}}`:                "cannot be read",
		`{"profiles":[{"transport":{"clientKey":1}}]}`: "clientKey is of type number",
	} {
		t.Run(in, func(t *testing.T) {
			profiles, err := registry.DecodeProfiles([]byte(in))
			require.ErrorContains(t, err, want)
			require.NotEmpty(t, fieldsOf(t, err))
			require.NotContains(t, err.Error(), "hunter2")
			require.NotContains(t, err.Error(), "72632")
			require.Nil(t, profiles)
		})
	}
}

func FuzzDecodeProfiles(f *testing.F) {
	for _, seed := range []string{
		`{"name":"a","login":{"password":"hunter2hunter2"}}`, `[{"name":"a"}]`, `{"profiles":[{"hosts":["a"]}]}`, `null`, `[null]`, `{"profiles":null}`,
		`{"login":{"expiresAt":"hunter2hunter2"}}`, `{"transport":{"plainHTTP":"hunter2hunter2"}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		profiles, err := registry.DecodeProfiles(data)
		if err != nil {
			require.NotContains(t, strings.ReplaceAll(err.Error(), "hunter2hunter2 is not a field", ""), "hunter2hunter2")
			return
		}
		for _, p := range profiles {
			_ = p.Validate() // Must not panic, whatever was read.
			_, _ = p.Warnings(), p.Fingerprint()
		}
	})
}

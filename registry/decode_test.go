package registry_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/field"
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
	// profiles: endpiont is not a field of a profile: expected endpoint
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
		``:                                       "profiles: the input is empty: expected a profile or a list of profiles",
		` `:                                      "profiles: the input is empty: expected a profile or a list of profiles",
		`{"name":"a"`:                            "profiles: the input ends before the JSON does: expected complete JSON",
		`{"name":"hunter2",}`:                    "profiles: is not JSON at byte 19: expected the name of a field in quotes",
		`name: a`:                                "profiles: is not JSON at byte 2: expected JSON; package registry/profilefile reads YAML",
		"- name: a\n  kind: b":                   "profiles: line 1: is not JSON at byte 2: expected JSON; package registry/profilefile reads YAML",
		`{"login":{"password":{"env":"TOKEN"}}}`: "login.password is {env: ...}, which only package registry/profilefile looks up: expected the text itself",
		`{"endpoint":{"file":"a"}}`:              "endpoint is {file: ...}, which only package registry/profilefile looks up: expected the text itself",
		`"hunter2"`:                              "is of type string: expected an object in { }",
		`12`:                                     "is of type number",
		`{"name":"a"} {"name":"b"}`:              "profiles: the input has data after the end of the JSON: expected no data after the end",
		`{"name":"a"} x`:                         "after the end",
		`[{"name":"a"}] []`:                      "after the end",
		`{"profiles":[],"name":"a"}`:             "name is not a field",
		`{"profiles":{"name":"a"}}`:              "profiles is of type object: expected a list in [ ]",
		`{"name":"a","name":"b"}`:                "name is repeated in one object",
		`[{"name":"a"},{"login":{"username":"a","aws":{"roles":[{"arn":"a"},{"arn":"a","arn":"b"}]}}}]`: "[1].login.aws.roles[1].arn is repeated",
		`{"profiles":[],"profiles":[{"name":"a"}]}`:                                                     "profiles is repeated",
		`{"login":{"fields":{"hunter":"2","hunter":"3"}}}`:                                              "login.fields.hunter is repeated",
		`{"pasword":"hunter2"}`:                    "pasword is not a field",
		`[{"login":{"passwrod":"hunter2"}}]`:       "[0].login.passwrod is not a field of a profile: expected password",
		`{"profiles":[{"login":{"aws":{"x":1}}}]}`: "profiles[0].login.aws.x is not a field",
		`{"Name":"hunter2"}`:                       "Name is not a field of a profile: expected name",
		"{\"name\":\"hunter2\xff\"}":               "are not text in UTF-8",
		`null`:                                     "is of type null: expected an object",
		`[null]`:                                   "[0] is of type null",
		`{"profiles":null}`:                        "profiles is of type null: expected a list",
		`{"login":{"google":{"credentials":["hunter2"]}}}`:             "login.google.credentials is of type array",
		`{"login":{"google":{"credentials":{"a":"hunter2","a":"b"}}}}`: "login.google.credentials holds a twice",
		`{"login":{"password":{"type":"hunter2"}}}`:                    "login.password is of type object",
		strings.Repeat("[", 200) + strings.Repeat("]", 200):            "have more than 100 levels",
		`{"name":12}`:                                  `name is of type number: expected text in quotes`,
		`{"hosts":"hunter2"}`:                          "hosts is of type string: expected a list in [ ]",
		`{"hosts":[7]}`:                                "hosts",
		`{"login":"hunter2"}`:                          "login is of type string: expected an object in { }",
		`{"login":{"password":72632}}`:                 `login.password is of type number: expected text in quotes, also if it is all digits: "12345"`,
		`{"login":{"password":["hunter2"]}}`:           "login.password is of type array",
		`{"login":{"fields":{"a":{"hunter2":1}}}}`:     "login.fields.a is of type object",
		`{"login":{"anonymous":"hunter2"}}`:            "login.anonymous is of type string: expected true or false",
		`{"login":{"expiresAt":"hunter2"}}`:            "login.expiresAt cannot be read: expected an instant in quotes, such as 2027-01-31T00:00:00Z",
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

// A text of several lines has the line of each problem.
func TestDecodeProfilesReportsLines(t *testing.T) {
	for in, want := range map[string]string{
		"\n[\n{\"name\": \"a\",\n \"knid\": \"b\"}]":         "profiles: line 4: [0].knid is not a field of a profile: expected kind",
		"[{\"name\": \"a\"},\n{\"hosts\": [\n\"a\",\n\n1]}]": "profiles: line 5: [1].hosts[1] is of type number",
		"{\"name\":\n\n12}":                                      "profiles: line 3: name is of type number",
		"{\n\"login\": {\n\"settings\":\n[\n]}}":                 "profiles: line 4: login.settings is of type array",
		"\ufeff{\"name\": \"a\\nb\",\n\"name\": \"b\"}":          "profiles: line 2: name is repeated in one object",
		"{\"name\": \"a\",\r\n\"kind\": \"b\"\r\n\"hosts\": []}": "profiles: line 2: is not JSON at byte 29: expected a comma or } after the value",
		"{\"name\": \"a\"}\n{\"name\": \"b\"}\n":                 "profiles: line 2: the input has data after the end of the JSON",
		"{\"name\": \"a\",\n\"kind\": \"b\"\n\n":                 "profiles: line 2: the input ends before the JSON does",
	} {
		_, err := registry.DecodeProfiles([]byte(in))
		require.ErrorContains(t, err, want, in)
	}
	_, err := registry.DecodeProfiles([]byte("{\"knid\": \"b\"}\n"))
	require.ErrorContains(t, err, "profiles: knid is not a field") // One line, and its end.
}

// All problems of all profiles are reported at once.
func TestDecodeProfilesReportsAll(t *testing.T) {
	_, err := registry.DecodeProfiles([]byte(`{"profiles": [
		{"name": "a", "login": {"passwrod": "hunter2", "anonymous": "yes"}},
		{"name": "b", "login": {"google": {"credentails": {}}}, "hosts": [1, "b", 2]}
	]}`))
	var found []string
	invalid, ok := errors.AsType[*field.Errors](err)
	require.True(t, ok)
	for _, f := range invalid.Fields {
		found = append(found, f.Field+": "+f.Want)
	}
	require.Equal(t, []string{
		"profiles[0].login.passwrod: password",
		"profiles[0].login.anonymous: true or false",
		"profiles[1].login.google.credentails: credentials",
		`profiles[1].hosts[0]: text in quotes, also if it is all digits: "12345"`,
		`profiles[1].hosts[2]: text in quotes, also if it is all digits: "12345"`,
	}, found)

	_, err = registry.DecodeProfiles([]byte("[" + strings.Repeat("1,", 1000) + "1]"))
	require.Len(t, fieldsOf(t, err), 101)
	require.ErrorContains(t, err, "more than 100 problems")
}

// A front end may send the key of a Google service account as the JSON object that it is.
func TestDecodeGoogleCredentialsAsObject(t *testing.T) {
	profiles, err := registry.DecodeProfiles([]byte(
		`{"name": "a", "login": {"google": {"credentials": { "type": "service_account", "a<b": [1, 2.50, true, null, "\n\u00fc"] }}}}`))
	require.NoError(t, err)
	require.Equal(t, `{"type":"service_account","a<b":[1,2.50,true,null,"\nü"]}`, profiles[0].Login.Google.Credentials.Reveal())
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
			_ = p.Validate() // Must not panic for any decoded profile.
			_, _ = p.Warnings(), p.Fingerprint()
		}
	})
}

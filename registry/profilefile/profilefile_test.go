package profilefile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/field"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/profilefile"
)

// lookup has a variable and a few files.
var lookup = profilefile.Lookup{
	Env: func(name string) (string, bool) {
		text, ok := map[string]string{"TOKEN": "hunter2", "EMPTY": "", "LARGE": strings.Repeat("x", profilefile.MaxSize/2+1)}[name]
		return text, ok
	},
	File: func(path string) ([]byte, error) {
		if text, ok := map[string]string{"token": "hunter2\r\n", "lines": "hunter2\n\n", "odd": "\xff", "empty": "\n"}[path]; ok {
			return []byte(text), nil
		}
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	},
}

func TestDecode(t *testing.T) {
	const quoted = "{name: a, login: {username: u, password: "
	for in, password := range map[string]string{
		"name: a\nlogin:\n  username: u\n  password: hunter2\n":                                "hunter2",
		"- name: a\n  login: {username: u, password: hunter2}":                                 "hunter2",
		"profiles:\n- name: a\n  login: {username: u, password: hunter2}":                      "hunter2",
		"\ufeffname: a\nlogin: {username: u, password: hunter2}":                               "hunter2",
		"# A comment.\n---\nname: a\nlogin: {username: u, password: x}\n":                      "x",
		"{\n\t\"name\": \"a\",\n\t\"login\": {\"username\": \"u\",\t\"password\": \"a\\tb\"}}": "a\tb",
		quoted + "{env: TOKEN}}}":   "hunter2",
		quoted + "{file: token}}}":  "hunter2",
		quoted + "{file: lines}}}":  "hunter2\n",
		quoted + "'{env: TOKEN}'}}": "{env: TOKEN}",
		quoted + "'12345'}}":        "12345",
		quoted + "!!str 12345}}":    "12345",
		quoted + "2027-01-31}}":     "2027-01-31",
		quoted + "no}}":             "no",
		quoted + "}}":               "",
	} {
		profiles, err := profilefile.Decode([]byte(in), lookup)
		require.NoError(t, err, in)
		require.Len(t, profiles, 1, in)
		require.Equal(t, "a", profiles[0].Name)
		require.Equal(t, "u", profiles[0].Login.Username)
		require.Equal(t, password, profiles[0].Login.Password.Reveal(), in)
	}
}

func TestDecodeAll(t *testing.T) {
	profiles, err := profilefile.Decode([]byte(`
- name: shop
  kind: custom
  endpoint: registry.example.com:5000/shop
  hosts: [mirror.example.com]
  login: {username: robot, password: {file: token}, expiresAt: 2027-01-31T00:00:00Z}
- name: aws
  kind: ecr
  endpoint: 123456789012.dkr.ecr.eu-central-1.amazonaws.com
  login: {aws: {accessKeyID: AKIAEXAMPLE000000000, secretAccessKey: {env: TOKEN}, noInstanceMetadata: true}}
- name: own
  kind: mine
  endpoint: registry.example.com
  login: {fields: {key: {env: TOKEN}}}
`), lookup)
	require.NoError(t, err)
	require.Len(t, profiles, 3)
	for _, p := range profiles {
		require.NoError(t, p.Validate())
	}
	require.Equal(t, registry.ECR, profiles[1].Kind)
	require.Equal(t, "hunter2", profiles[1].Login.AWS.SecretAccessKey.Reveal())
	require.True(t, profiles[1].Login.AWS.NoInstanceMetadata)
	require.Equal(t, 2027, profiles[0].Login.ExpiresAt.Year())

	profiles, err = profilefile.Decode([]byte("[]"), profilefile.Lookup{})
	require.NoError(t, err)
	require.Empty(t, profiles)
}

func TestDecodeFails(t *testing.T) {
	for in, want := range map[string]string{
		"":                                         "line 1: is empty: expected a profile or a list of profiles",
		"# hunter2":                                "line 1: is empty: expected a profile or a list of profiles",
		"name: a\npassword: [hunter2":              "line 2: cannot be read: did not find expected ',' or ']'",
		"name: a\nkind: \"hunter2":                 "line 2: cannot be read: found unexpected end of stream",
		"\xffhunter2":                              "line 1: cannot be read: invalid leading UTF-8 octet",
		"name: *hunter2":                           "line 1: cannot be read: expected YAML or JSON",
		"name: a\nkind: b\nname: hunter2":          "line 3: name is repeated in one object: expected it once",
		"name: a\n---\nname: b":                    "line 2: is after the end of the first document",
		"name: a\n---\n[hunter2":                   "is after the end of the first document",
		"hunter2":                                  "line 1: is of type string: expected an object in { }",
		"- hunter2":                                "line 1: [0] is of type string: expected an object in { }",
		"name: a\npasswort: hunter2":               "line 2: passwort is not a field of a profile",
		"- login:\n    password: 72632":            `line 2: [0].login.password is of type number: expected text in quotes, also if it is all digits: "12345"`,
		"hosts: [.inf]":                            "line 1: hosts[0] is of type number",
		"login: {password: true}":                  "line 1: login.password is of type bool",
		"login: {password: !!bool hunter2}":        "line 1: login.password is an alias or has a tag",
		"login: {password: !secret hunter2}":       "line 1: login.password is an alias or has a tag",
		"login: {password: !!binary aHVudGVyMg==}": "line 1: login.password is an alias or has a tag",
		"- &a {name: a}\n- *a":                     "line 2: [1] is an alias or has a tag",
		"&a [*a]":                                  "line 1: [0] is an alias or has a tag",
		"login:\n  <<: {username: u}":              "line 2: login has a field whose name is not text",
		"login: {1: a}":                            "line 1: login has a field whose name is not text",
		"login: {[a]: a}":                          "line 1: login has a field whose name is not text",

		"login:\n  password: {env: NONE}":               "line 2: login.password is {env: NONE}, which is not set or empty",
		"login: {password: {env: EMPTY}}":               "line 1: login.password is {env: EMPTY}, which is not set or empty",
		"login: {password: {file: empty}}":              "login.password is {file: empty}, which is not set or empty",
		"login: {password: {file: none}}":               "login.password cannot be looked up: open none: file does not exist",
		"login: {password: {file: odd}}":                "login.password is {file: odd}, which is not UTF-8 text",
		"hosts: [{env: LARGE}, {env: LARGE}]":           "hosts[1] is {env: LARGE}, with which all such values together have more than 1048576 bytes",
		"login: {env: TOKEN}":                           "line 1: login.env is not a field of a profile",
		"profiles: {env: TOKEN}":                        "line 1: profiles is of type object: expected a list in [ ]",
		"login: {azure: {managedIdentity: {env: A}}}":   "line 1: login.azure.managedIdentity is of type object: expected true or false",
		"login: {password: {env: [a]}}":                 "line 1: login.password is of type object",
		"name: {env: TOKEN, file: token}":               "line 1: name is of type object",
		strings.Repeat("a: b\n", profilefile.MaxSize/5): "line 2: a is repeated", // Quadratic comparison took seconds for a hundredth.
		strings.Repeat("#", profilefile.MaxSize+1):      "line 1: starts a file of more than 1048576 bytes",
	} {
		profiles, err := profilefile.Decode([]byte(in), lookup)
		require.ErrorContains(t, err, want, in)
		require.Nil(t, profiles)
		_, ok := errors.AsType[*field.Errors](err)
		require.True(t, ok, in)
		for _, secret := range []string{"hunter2", "72632", "aHVudGVyMg"} {
			require.NotContains(t, err.Error(), secret)
		}
	}
	_, err := profilefile.Decode([]byte("login: {password: {file: none}}"), lookup)
	require.ErrorIs(t, err, fs.ErrNotExist)
	for _, where := range []string{"env", "file"} {
		_, err := profilefile.Decode([]byte("login: {password: {"+where+": token}}"), profilefile.Lookup{})
		require.EqualError(t, err, "line 1: login.password is {"+where+": ...}, which this program does not look up: expected the text itself")
	}
}

// A file that cannot be parsed has the line of the mistake, and its cause.
func TestDecodeUnreadable(t *testing.T) {
	for in, want := range map[string]string{
		// JSON.
		"[\n {\"name\": \"a\",\n  \"kind\": \"b\"\n  \"endpoint\": \"hunter2\"}\n]": "line 3: is not JSON at byte 34: expected a comma or } after the value",
		"[\n\t{\"name\": \"a\"}\n\t{\"name\": \"hunter2\"}\n]":                      "line 2: is not JSON at byte 19: expected a comma or ] after the value",
		"\ufeff{\n\"name\" \"hunter2\"}":                                            "line 2: is not JSON at byte 10: expected a colon after the name of the field",
		"{\"name\": \"a\", \n\t\"kind\": ]}":                                        "line 2: is not JSON at byte 25: expected a value",
		"{\n\"login\": {\n\"password\": \"hunter2\"\n":                              "line 3: the input ends before the JSON does: expected complete JSON",
		"{\"name\": \"a\",\n\"login\": \"hunter2\nhunter2\" ]}":                     "line 2: is not JSON at byte 32: expected \\n for a line end",
		`{"name": "a" "hunter2"}`:                                                   "line 1: is not JSON at byte 14: expected a comma or }",
		// YAML in braces and brackets.
		"[{name: a,\n kind: b]":                          "line 2: cannot be read: did not find expected ',' or '}'",
		"{\"name\": a,\n \"kind\": hunter2":              "line 2: cannot be read: did not find expected ',' or '}'",
		"{\"name\": \"a\", # hunter2\n \"kind\": [\"b\"": "line 2: cannot be read: did not find expected ',' or ']'",
		// YAML.
		"- name: a\n  kind: b\n\tendpoint: hunter2\n":                            "line 3: cannot be read: found a tab character that violates indentation",
		"- name: a\n  kind: b\n  login:\n\t  username: a\n":                      "line 4: cannot be read: found character that cannot start any token",
		"- name: a\n  kind: b\n  endpoint: c\n  login: {a: hunter2\n- name: b\n": "line 4: cannot be read: did not find expected ',' or '}'",
		"- name: a\n  kind: b\n endpoint: hunter2\n- name: b\n":                  "line 3: cannot be read: did not find expected '-' indicator",
		"name: \"hunter2\nkind: b\nendpoint: c\n":                                "line 1: cannot be read: found unexpected end of stream",
		"name: a\nlogin:\n  username: u\n   password: hunter2\n":                 "line 4: cannot be read: mapping values are not allowed in this context",
		"name: a\nkind hunter2\nendpoint: c\n":                                   "line 2: cannot be read: could not find expected ':'",
		"name: a\nendpoint: h\nlogin: {password: @hunter2}\nb: c\n":              "line 3: cannot be read: found character that cannot start any token",
	} {
		_, err := profilefile.Decode([]byte(in), lookup)
		require.ErrorContains(t, err, want, in)
		require.NotContains(t, err.Error(), "hunter2")
	}
}

// All problems are reported at once, each with its line and its full path.
func TestDecodeReportsAll(t *testing.T) {
	_, err := profilefile.Decode([]byte(`
- name: shop
  kind: custom
  login:
    username: robot
    passwrod: hunter2
- name: aws
  login: {password: {env: NONE}}
  transport:
    caBundle: {file: none}
    plainHTTP: "no"
`), lookup)
	require.EqualError(t, err, `4 problems:
	line 6: [0].login.passwrod is not a field of a profile: expected password
	line 8: [1].login.password is {env: NONE}, which is not set or empty
	line 10: [1].transport.caBundle cannot be looked up: open none: file does not exist
	line 11: [1].transport.plainHTTP is of type string: expected true or false`)
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestDecodeGoogleCredentialsAsObject(t *testing.T) {
	profiles, err := profilefile.Decode([]byte(`
name: a
login:
  google:
    credentials:
      type: external_account
      service_account_impersonation: {token_lifetime_seconds: 600}
`), lookup)
	require.NoError(t, err)
	require.Equal(t, `{"type":"external_account","service_account_impersonation":{"token_lifetime_seconds":600}}`,
		profiles[0].Login.Google.Credentials.Reveal())
	_, err = profilefile.Decode([]byte("login: {google: {credentials: {a: .inf}}}"), lookup)
	require.EqualError(t, err, "line 1: login.google.credentials holds a number that JSON does not have")
}

// An object with the only member file or env refers to a text where a text is expected. Elsewhere it is an object.
func TestDecodeObjectsThatLookLikeReferences(t *testing.T) {
	profiles, err := profilefile.Decode([]byte(`
- name: a
  login:
    federated:
      subject: {file: /var/run/secrets/tokens/registry}
      exchange: {password: {username: {env: TOKEN}}}
- name: b
  login: {google: {credentials: {type: external_account, credential_source: {file: token}}}}
- name: c
  login: {google: {credentials: {file: token}}}
- name: d
  login: {federated: {subject: {file: {file: token}}}}
- name: e
  login: {settings: {file: f}, fields: {env: e}}
`), lookup)
	require.NoError(t, err)
	require.Equal(t, "/var/run/secrets/tokens/registry", profiles[0].Login.Federated.Subject.File)
	require.Equal(t, "hunter2", profiles[0].Login.Federated.Exchange.Password.Username)
	require.Equal(t, `{"type":"external_account","credential_source":{"file":"token"}}`, profiles[1].Login.Google.Credentials.Reveal())
	require.Equal(t, "hunter2", profiles[2].Login.Google.Credentials.Reveal())
	require.Equal(t, "hunter2", profiles[3].Login.Federated.Subject.File)
	require.Equal(t, "f", profiles[4].Login.Settings["file"])
	require.Equal(t, "e", profiles[4].Login.Fields["env"].Reveal())

	profiles, err = profilefile.Decode([]byte(`{login: {federated: {subject: {file: path}}}}`), profilefile.Lookup{})
	require.NoError(t, err)
	require.Equal(t, "path", profiles[0].Login.Federated.Subject.File)
}

func TestRead(t *testing.T) {
	t.Setenv("REGCRED_TEST_TOKEN", "hunter2")
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	absolute := write("password", "hunter3\n")
	path := write("profiles.yaml", `
- {name: a, login: {username: {file: password}, password: {env: REGCRED_TEST_TOKEN}}}
- {name: b, login: {password: {file: `+absolute+`}}}
`)
	profiles, err := profilefile.Read(path)
	require.NoError(t, err)
	require.Equal(t, "hunter3", profiles[0].Login.Username)
	require.Equal(t, "hunter2", profiles[0].Login.Password.Reveal())
	require.Equal(t, "hunter3", profiles[1].Login.Password.Reveal())

	_, err = profilefile.Read(filepath.Join(dir, "none"))
	require.ErrorIs(t, err, fs.ErrNotExist)
	bad := write("bad.yaml", "name: 12")
	_, err = profilefile.Read(bad)
	require.ErrorContains(t, err, bad+": line 1: name is of type number")
	_, err = profilefile.Read(write("large.yaml", "#"+strings.Repeat("x", 10*profilefile.MaxSize)))
	require.ErrorContains(t, err, "more than 1048576 bytes")
	write("endless", strings.Repeat("x", 10*profilefile.MaxSize))
	_, err = profilefile.Read(write("names.yaml", "name: {file: endless}"))
	require.ErrorContains(t, err, "name is {file: endless}, with which all such values together have more than 1048576 bytes")
}

// Valid JSON has the same meaning as in registry.DecodeProfiles, and no error contains a value.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		"- name: a\n  login: {username: u, password: {env: A}}", "name: a\nlogin: {password: hunter2hunter2}\n---\n", "profiles: [{name: a}]",
		`{"profiles":[{"name":"a","hosts":["b"]}]}`, "&a [*a]", "name: {file: b}", "{\t\"name\": \"a\"}", "? [a]\n: b", "login: !!binary x", "a: hunter2hunter2: b",
	} {
		f.Add([]byte(seed))
	}
	all := profilefile.Lookup{
		Env:  func(string) (string, bool) { return "hunter2hunter2", true },
		File: func(string) ([]byte, error) { return []byte("hunter2hunter2"), nil },
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		profiles, err := profilefile.Decode(data, all)
		if err != nil && !strings.Contains(string(data), "hunter2") { // Errors contain the names of fields and variables.
			require.NotContains(t, err.Error(), "hunter2hunter2")
		}
		if err != nil {
			require.Nil(t, profiles)
			return
		}
		again, err := registry.DecodeProfiles(data)
		if err != nil || strings.Contains(string(data), "\\") { // YAML does not have all escapes of JSON.
			return
		}
		require.Len(t, profiles, len(again))
		for i := range profiles {
			require.Equal(t, again[i].Fingerprint(), profiles[i].Fingerprint())
		}
	})
}

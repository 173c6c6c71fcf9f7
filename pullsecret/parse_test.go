package pullsecret_test

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/pullsecret"
	"github.com/regcred/regcred/registry"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

func TestParseReadsAsAKubelet(t *testing.T) {
	tests := map[string]struct{ entry, username, password string }{
		"auth":                       {`{"auth":"dTpw"}`, "u", "p"},
		"auth before the others":     {`{"username":"x","password":"y","auth":"dTpw"}`, "u", "p"},
		"the others":                 {`{"username":"x","password":"y"}`, "x", "y"},
		"names in any case":          {`{"Username":"x","PASSWORD":"y"}`, "x", "y"},
		"unpadded":                   {`{"auth":"dTpwcQ"}`, "u", "pq"},
		"padded":                     {`{"auth":"dTpwcQ=="}`, "u", "pq"},
		"cut at the first colon":     {`{"auth":"dTpwOnE="}`, "u", "p:q"},
		"no user name":               {`{"auth":"OnA="}`, "", "p"},
		"line break within the text": {`{"auth":"dT\npw"}`, "u", "p"},
		"null":                       {`null`, "", ""},
		"nulls":                      {`{"username":null,"auth":null,"password":"y"}`, "", "y"},
		"identity token":             {`{"username":"x","identitytoken":"t"}`, "x", ""},
		"unknown fields":             {`{"auth":"dTpw","x":[{}]}`, "u", "p"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			for _, c := range []func() (pullsecret.Config, error){
				func() (pullsecret.Config, error) {
					return pullsecret.Parse([]byte(`{"auths":{"h.io":` + test.entry + `}}`))
				},
				func() (pullsecret.Config, error) {
					return pullsecret.ParseDockercfg([]byte(`{"h.io":` + test.entry + `}`))
				},
			} {
				c, err := c()
				require.NoError(t, err)
				m := c.Match(image(t, "h.io/a"))
				require.Len(t, m, 1)
				require.Equal(t, test.username, m[0].Credential.Username)
				require.Equal(t, test.password, m[0].Credential.Password.Reveal())
				require.True(t, m[0].Credential.ExpiresAt.IsZero())
			}
		})
	}
}

func TestParseReturnsWhatItWasGiven(t *testing.T) {
	const text = " {\"auths\" : {\"h.io\": {}}, \"x\": 1e999}\n"
	require.Equal(t, text, string(parse(t, text).Reveal()))
	require.Equal(t, len(text), parse(t, text).Size())
}

func TestParseRefuses(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"nothing":              {``, "is empty"},
		"not JSON":             {`{"auths":{"canary":x}}`, "not JSON, at byte 20"},
		"more than one value":  {`{}{}`, "not JSON, at byte 3"},
		"not an object":        {`["canary"]`, "not a JSON object of entries"},
		"auths not an object":  {`{"auths":"canary"}`, "not a JSON object of entries"},
		"entry not an object":  {`{"auths":{"h.io":"canary"}}`, `entry "h.io": is not a JSON object`},
		"number as a password": {`{"auths":{"h.io":{"password":1234567}}}`, `entry "h.io": "password" is not a string`},
		"e-mail not a text":    {`{"auths":{"h.io":{"email":["canary"]}}}`, `entry "h.io": "email" is not a string`},
		"auth not base64":      {`{"auths":{"h.io":{"auth":"canary!"}}}`, `entry "h.io": "auth" is not base64`},
		"auth of the URL kind": {`{"auths":{"h.io":{"auth":"dTo_Pz8_"}}}`, `entry "h.io": "auth" is not base64`},
		"auth without a colon": {`{"auths":{"h.io":{"auth":"Y2FuYXJ5"}}}`, `entry "h.io": "auth" is not the base64 of a user name`},
		"the first in order":   {`{"auths":{"z.io":{"auth":"!"},"a.io":{"auth":"!"}}}`, `entry "a.io"`},
		"a login in the key":   {`{"auths":{"u:canary@h.io":{"auth":"!"}}}`, `entry "[redacted]@h.io"`},
		"headers not text":     {`{"auths":{},"HttpHeaders":{"a":1}}`, `"HttpHeaders" is not an object of strings`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := pullsecret.Parse([]byte(test.text))
			require.ErrorIs(t, err, registry.ErrInvalid)
			require.ErrorContains(t, err, test.want)
			for _, secret := range []string{"canary", "Y2FuYXJ5", "1234567"} {
				require.NotContains(t, err.Error(), secret)
			}
		})
	}
	_, err := pullsecret.ParseDockercfg([]byte(`{"h.io":{"auth":"!"}}`))
	require.ErrorContains(t, err, `entry "h.io": "auth" is not base64`)
}

func TestConfigDoesNotLeak(t *testing.T) {
	const password = "canary-password"
	built := build(t, entry("u", password, "h.io"))
	parsed := parse(t, string(built.Reveal()))
	built.Match(image(t, "h.io/a")) // Builds the index.
	for _, c := range []pullsecret.Config{built, parsed} {
		secret := pullsecret.Secret{Name: "s", Config: c}
		match := parsed.Match(image(t, "h.io/a"))
		hidden := struct{ c pullsecret.Config }{c}
		var text bytes.Buffer
		for _, v := range []any{c, &c, secret, &secret, hidden, []any{c}, map[string]any{"c": c}, match} {
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
				fmt.Fprintf(&text, verb+"\n", v)
			}
			for _, handler := range []slog.Handler{slog.NewTextHandler(&text, nil), slog.NewJSONHandler(&text, nil)} {
				slog.New(handler).Info("x", "v", v)
			}
		}
		for _, leak := range []string{password, "dTpjYW5hcnktcGFzc3dvcmQ"} {
			require.NotContains(t, text.String(), leak)
		}
		for name, encode := range map[string]func(any) error{
			"json": func(v any) error { _, err := json.Marshal(v); return err },
			"yaml": func(v any) error { _, err := yaml.Marshal(v); return err },
			"gob":  func(v any) error { return gob.NewEncoder(&text).Encode(v) },
		} {
			require.Error(t, encode(c), name)
			require.Error(t, encode(secret), name)
		}
		_, err := json.Marshal(secret)
		require.True(t, errors.Is(err, credentials.ErrSecretEncoded))
	}
}

// FuzzParse looks for configs that are parsed and cannot be used.
func FuzzParse(f *testing.F) {
	f.Add(`{"auths":{"https://index.docker.io/v1/":{"auth":"dTpw"},"*.io/a":{"username":"u","password":"p"}}}`)
	f.Add(`{"auths":{"%25:\u0000":null,"[::1]":{},"h.io:443/v1/v2/":{"Auth":"dTpw"}},"HttpHeaders":{"a":"b"},"credsStore":"x"}`)
	f.Fuzz(func(t *testing.T, text string) {
		c, err := pullsecret.Parse([]byte(text))
		if err != nil {
			require.ErrorIs(t, err, registry.ErrInvalid)
			return
		}
		require.Equal(t, text, string(c.Reveal()))
		for _, i := range []registry.Image{{Host: "docker.io", Repository: "library/nginx"}, {Host: "h.io", Repository: "a/b"}, {Host: "%", Repository: "?"}, {}} {
			for _, m := range c.Match(i) {
				require.Contains(t, c.Keys(), m.Key)
			}
		}
		for _, finding := range c.Lint(c.ExpiresAt()) {
			require.NotEmpty(t, finding.Rule)
		}
	})
}

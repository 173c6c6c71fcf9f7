package gcr_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/field"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/providers/gcr"
	"github.com/regcred/regcred/registry"
)

func TestValidate(t *testing.T) {
	key := newGoogle().NewKey(puller).Reveal()
	changed := func(changes map[string]any) credentials.Login {
		var file map[string]any
		require.NoError(t, json.Unmarshal([]byte(key), &file))
		maps.Copy(file, changes)
		text, err := json.Marshal(file)
		require.NoError(t, err)
		return googleLogin(credentials.GoogleLogin{Credentials: credentials.NewSecret(string(text))})
	}
	text := func(s string) credentials.Login {
		return googleLogin(credentials.GoogleLogin{Credentials: credentials.NewSecret(s)})
	}
	basic := func(username, password string) credentials.Login {
		return credentials.Login{Username: username, Password: credentials.NewSecret(password)}
	}
	const file = "login.google.credentials"
	for name, test := range map[string]struct {
		login credentials.Login
		field string // Empty if valid.
		text  string
	}{
		"key":                         {login: text(key)},
		"key with a mark of Windows":  {login: text("\ufeff" + key)},
		"key in base64":               {login: text(base64.StdEncoding.EncodeToString([]byte(key)))},
		"key in base64 for URLs":      {login: text(base64.RawURLEncoding.EncodeToString([]byte(key)))},
		"key in base64 of many lines": {login: text(base64.StdEncoding.EncodeToString([]byte(key))[:76] + "\n" + base64.StdEncoding.EncodeToString([]byte(key))[76:] + "\n")},
		"key with an older token URL": {login: changed(map[string]any{"token_uri": "https://accounts.google.com/o/oauth2/token"})},
		"key as user name":            {login: basic("_json_key", key)},
		"key as user name, base64":    {login: basic("_json_key_base64", base64.StdEncoding.EncodeToString([]byte(key)))},
		"anonymous":                   {login: credentials.Login{Anonymous: true}},
		"ambient":                     {login: credentials.Login{Ambient: true}},
		"impersonation":               {login: googleLogin(credentials.GoogleLogin{Impersonate: "p@example.com.project.iam.gserviceaccount.com"})},
		"impersonation of a default":  {login: googleLogin(credentials.GoogleLogin{Impersonate: "123-compute@developer.gserviceaccount.com"})},

		"not JSON":                {text("hello"), file, "is neither a JSON object nor the base64 form of one"},
		"half of a key":           {text(key[:len(key)/2]), file, "was it cut"},
		"half of base64":          {text(base64.StdEncoding.EncodeToString([]byte(key[:800]))), file, "is not JSON at byte"},
		"a novel":                 {text("{" + strings.Repeat(" ", 40<<10) + "}"), file, "is longer than"},
		"an empty object":         {text("{}"), file + ".type", "is missing"},
		"an OAuth client":         {text(`{"installed":{"client_id":"x"}}`), file + ".type", "an OAuth client"},
		"the login of a person":   {text(`{"type":"authorized_user","refresh_token":"x"}`), file + ".type", "the login of a person"},
		"nested impersonation":    {text(`{"type":"impersonated_service_account"}`), file + ".type", "name the account in impersonate"},
		"a number for a text":     {text(`{"type":12}`), file, "has a number in type"},
		"no key":                  {changed(map[string]any{"private_key": ""}), file + ".private_key", "is missing"},
		"no PEM":                  {changed(map[string]any{"private_key": "MIIE"}), file + ".private_key", "is not PEM"},
		"escaped twice":           {changed(map[string]any{"private_key": `-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\n`}), file + ".private_key", "escaped twice"},
		"no key ID":               {changed(map[string]any{"private_key_id": ""}), file + ".private_key_id", "is missing"},
		"address of a person":     {changed(map[string]any{"client_email": "ann@example.com"}), file + ".client_email", "does not belong to a service account"},
		"token URL of another":    {changed(map[string]any{"token_uri": "https://evil.example/token"}), file + ".token_uri", "evil.example"},
		"token URL in clear":      {changed(map[string]any{"token_uri": "http://oauth2.googleapis.com/token"}), file + ".token_uri", "http:"},
		"another universe":        {changed(map[string]any{"universe_domain": "s3nsapis.fr"}), file + ".universe_domain", "s3nsapis.fr"},
		"bad key as user name":    {basic("_json_key", `{"type":"service_account"}`), "login.password.client_email", "service account"},
		"user and password":       {basic("ann", "secret"), "login", "is a user name and password"},
		"pasted token":            {basic("oauth2accesstoken", "ya29.x"), "login", "ends within the hour"},
		"AWS":                     {credentials.Login{AWS: &credentials.AWSLogin{}}, "login", "form aws"},
		"fields":                  {credentials.Login{Fields: map[string]credentials.Secret{"a": {}}}, "login", "fields"},
		"impersonated person":     {googleLogin(credentials.GoogleLogin{Impersonate: "ann@example.com"}), "login.google.impersonate", "ann@example.com"},
		"impersonation of a path": {googleLogin(credentials.GoogleLogin{Impersonate: "../x@y.gserviceaccount.com"}), "login.google.impersonate", "../x"},
		"delegate":                {googleLogin(credentials.GoogleLogin{Impersonate: puller, Delegates: []string{middle, "bob"}}), "login.google.delegates[1]", "bob"},
	} {
		t.Run(name, func(t *testing.T) {
			err := providers.Validate(gcr.Provider{}, registry.Profile{Name: "a", Kind: registry.GCR, Endpoint: home, Login: test.login})
			if test.field == "" {
				require.NoError(t, err)
				return
			}
			invalid, ok := errors.AsType[*field.Errors](err)
			require.True(t, ok, "%v", err)
			for _, f := range invalid.Fields {
				if f.Field == test.field {
					require.Contains(t, f.Error(), test.text)
					return
				}
			}
			t.Errorf("no problem in %s: %v", test.field, err)
		})
	}
}

// Whatever a credentials JSON contains, validation terminates, makes no network call and shows no key.
func FuzzCredentials(f *testing.F) {
	f.Add(`{"type":"service_account","client_email":"a@b.iam.gserviceaccount.com","private_key_id":"1","private_key":"-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\n"}`)
	f.Add(external(map[string]any{"file": "/token"}, nil).Google.Credentials.Reveal())
	f.Add(external(map[string]any{"url": "http://a/", "format": map[string]string{"type": "json"}}, nil).Google.Credentials.Reveal())
	f.Add("eyJ0eXBlIjoic2VydmljZV9hY2NvdW50In0=")
	f.Add(`{"type":"external_account","credential_source":{"executable":{"command":"id"}}}`)
	f.Add("{")
	f.Fuzz(func(t *testing.T, text string) {
		p := registry.Profile{Name: "a", Kind: registry.GCR, Endpoint: home, Login: googleLogin(credentials.GoogleLogin{Credentials: credentials.NewSecret(text)})}
		err := gcr.Provider{SubjectTokens: []string{"/token"}}.Validate(p)
		if err != nil && len(text) > 400 {
			require.NotContains(t, err.Error(), text[:400])
		}
	})
}

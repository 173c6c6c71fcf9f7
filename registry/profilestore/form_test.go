package profilestore_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/profilestore"
)

func TestFromForm(t *testing.T) {
	p, err := profilestore.FromForm("acme", []byte(`{"name": "shop", "kind": "custom", "endpoint": "ghcr.io/acme",
		"login": {"username": "robot", "password": "s3cret"}}`), nil)
	require.NoError(t, err)
	require.Equal(t, "acme", p.Tenant)
	require.Equal(t, "s3cret", p.Login.Password.Reveal())

	for body, want := range map[string]string{
		`{"name":"a","tenant":"other"}`:             "tenant is set: expected nothing: the tenant comes from the session",
		`{"tenant":""}`:                             "tenant is set",
		`{"login":{"password":{"redacted":true}}}`:  "login.password is redacted, and no such secret is stored",
		`{"login":{"password":{"redacted":false}}}`: "login.password is of type object",
		`{"login":{"passwrod":"hunter2"}}`:          "login.passwrod is not a field",
		`{"login":{"password":["hunter2"]}}`:        "login.password is of type array",
		`null`:                                      "is null",
	} {
		_, err := profilestore.FromForm("acme", []byte(body), nil)
		require.ErrorContains(t, err, want, body)
		require.NotContains(t, err.Error(), "hunter2")
	}
}

// A form that is sent back unchanged results in the stored profile, for every field.
func TestFormKeepsEverySecret(t *testing.T) {
	p, _ := full(counter())
	p.Kind, p.Endpoint, p.Hosts = registry.Custom, "ghcr.io", nil
	again, err := profilestore.FromForm(p.Tenant, profilestore.Redacted(p), &p)
	require.NoError(t, err)
	require.Equal(t, p, again)

	_, err = profilestore.FromForm("other", profilestore.Redacted(p), &p)
	require.ErrorIs(t, err, registry.ErrDenied)
}

// A kept secret is not sent to another destination.
func TestKeptSecretStaysWhereItIs(t *testing.T) {
	secret := credentials.NewSecret("hunter2")
	stored := registry.Profile{
		Name: "shop", Kind: registry.Custom, Endpoint: "harbor.example.com/a", Hosts: []string{"mirror.example.com"},
		Login:     credentials.Login{Username: "robot", Password: secret},
		Transport: registry.TransportConfig{Proxy: "http://proxy.example.com:3128"},
	}
	own := registry.Profile{
		Name: "own", Kind: "own", Endpoint: "registry.example.com",
		Login: credentials.Login{
			Fields:   map[string]credentials.Secret{"a": secret, "url": credentials.NewSecret("https://issuer.example.com")},
			Settings: map[string]string{"issuer": "https://issuer.example.com"},
		},
	}
	basic := own
	basic.Login = credentials.Login{Username: "robot", Password: secret, Settings: own.Login.Settings}
	for _, test := range []struct {
		stored   registry.Profile
		old, new string
		want     string // "" if the change is harmless.
	}{
		{stored, `"name":"shop"`, `"name":"store"`, ""},
		{stored, `harbor.example.com/a`, `https://harbor.example.com/b`, ""},
		{stored, `,"hosts":["mirror.example.com"]`, ``, ""},
		{stored, `"robot"`, `"other"`, ""},
		{stored, `harbor.example.com/a`, `evil.example.com/a`, "the endpoint changed"},
		{stored, `harbor.example.com/a`, `http://harbor.example.com/a`, "the endpoint changed"},
		{stored, `mirror.example.com`, `evil.example.com`, "the endpoint changed"},
		{stored, `mirror.example.com`, ``, "the endpoint changed"},
		{stored, `"custom"`, `"own"`, "the kind changed"},
		{stored, `proxy.example.com`, `evil.example.com`, "the proxy changed"},
		{stored, `"proxy":`, `"caBundle":"x","proxy":`, "the CA bundle changed"},
		{stored, `"proxy":`, `"plainHTTP":true,"proxy":`, "plain HTTP changed"},
		{own, `"issuer":"https://issuer`, `"issuer":"https://evil`, "the settings changed"},
		{basic, `"issuer":"https://issuer`, `"issuer":"https://evil`, "the settings changed"},
		{own, `"url":{"redacted":true}`, `"url":"https://evil.example.com"`, "another of the fields changed"},
		{own, `"url":{"redacted":true}`, `"more":"https://evil.example.com"`, "another of the fields changed"},
	} {
		shown := profilestore.Redacted(test.stored)
		body := bytes.Replace(shown, []byte(test.old), []byte(test.new), 1)
		require.NotEqual(t, string(shown), string(body), test.old)
		p, err := profilestore.FromForm("", body, &test.stored)
		if test.want == "" {
			require.NoError(t, err)
			require.True(t, p.Login.Password.Equal(secret))
			continue
		}
		require.ErrorContains(t, err, "was entered for another destination: expected the secret again, because "+test.want, "%s", body)
		require.Zero(t, p.Name)

		// A user who enters the secret may make the change.
		entered := bytes.ReplaceAll(body, []byte(`{"redacted":true}`), []byte(`"hunter2"`))
		_, err = profilestore.FromForm("", entered, &test.stored)
		require.NoError(t, err)
	}
}

func FuzzFromForm(f *testing.F) {
	stored := registry.Profile{
		Name: "shop", Kind: registry.Custom, Endpoint: "harbor.example.com",
		Login: credentials.Login{Username: "robot", Password: credentials.NewSecret("hunter2hunter2")},
	}
	f.Add(profilestore.Redacted(stored))
	f.Add([]byte(`{"endpoint":"evil.example.com","login":{"password":{"redacted":true}}}`))
	f.Add([]byte(`{"endpoint":"harbor.example.com","hosts":["evil.example.com"],"kind":"custom","login":{"password":{"redacted":true}}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		p, err := profilestore.FromForm("", body, &stored)
		if err != nil {
			require.NotContains(t, err.Error(), "hunter2hunter2")
			return
		}
		if p.Login.Password.Equal(stored.Login.Password) {
			endpoints, err := p.Endpoints()
			require.NoError(t, err)
			for _, e := range endpoints {
				require.Equal(t, "harbor.example.com", e.Host)
			}
			require.Empty(t, p.Transport.Proxy+p.Transport.CABundle)
		}
	})
}

package pullsecret_test

import (
	"testing"
	"time"

	"github.com/regcred/regcred/pullsecret"
	"github.com/stretchr/testify/require"
)

func TestLint(t *testing.T) {
	type finding struct {
		key    string
		rule   pullsecret.Rule
		breaks bool
	}
	auth := func(keys ...string) string {
		text := `{"auths":{`
		for i, key := range keys {
			if i > 0 {
				text += ","
			}
			text += `"` + key + `":{"auth":"` + []string{"dTpw", "dTpx", "dTpy"}[i%3] + `"}`
		}
		return text + `}}`
	}
	tests := map[string]struct {
		config string
		want   []finding
	}{
		"nothing to say":    {auth("https://index.docker.io/v1/", "ghcr.io", "h.io:5000/team", "*.azurecr.io", "docker.io/team", "localhost", "http://h.io/v2/", "[::1]:5000"), nil},
		"nothing in it":     {`{}`, nil},
		"null":              {`null`, nil},
		"not a URL":         {auth("h.io:port"), []finding{{"h.io:port", pullsecret.NeverMatches, true}}},
		"no host":           {auth(""), []finding{{"", pullsecret.NeverMatches, true}}},
		"space":             {auth("ghcr.io "), []finding{{"ghcr.io ", pullsecret.NeverMatches, true}}},
		"path with a glob":  {auth("ghcr.io/team/*"), []finding{{"ghcr.io/team/*", pullsecret.NeverMatches, true}}},
		"path with a tag":   {auth("ghcr.io/team/app:1"), []finding{{"ghcr.io/team/app:1", pullsecret.NeverMatches, true}}},
		"upper-case path":   {auth("ghcr.io/Team"), []finding{{"ghcr.io/Team", pullsecret.NeverMatches, true}}},
		"two slashes":       {auth("ghcr.io//team"), []finding{{"ghcr.io//team", pullsecret.NeverMatches, true}}},
		"version, no slash": {auth("https://h.io/v2"), []finding{{"https://h.io/v2", pullsecret.NeverMatches, true}}},
		"bare IPv6":         {auth("[::1]"), []finding{{"[::1]", pullsecret.NeverMatches, true}}},
		"one word":          {auth("registry"), []finding{{"registry", pullsecret.NeverMatches, true}}},
		"star alone":        {auth("*"), []finding{{"*", pullsecret.NeverMatches, true}}},
		"upper-case host":   {auth("GHCR.io"), []finding{{"GHCR.io", pullsecret.NeverMatches, true}}},
		"port 443":          {auth("https://h.io:443"), []finding{{"https://h.io:443", pullsecret.DefaultPort, false}}},

		"Hub without slash":      {auth("https://index.docker.io/v1"), []finding{{"https://index.docker.io/v1", pullsecret.DockerHubKey, true}}},
		"Hub by a path of index": {auth("index.docker.io/team"), []finding{{"index.docker.io/team", pullsecret.DockerHubKey, true}}},
		"Hub by its API":         {auth("registry-1.docker.io"), []finding{{"registry-1.docker.io", pullsecret.DockerHubKey, true}}},
		"Hub by its web site":    {auth("https://hub.docker.com/u/team"), []finding{{"https://hub.docker.com/u/team", pullsecret.DockerHubKey, true}}},
		"Hub as images name it":  {auth("docker.io"), []finding{{"docker.io", pullsecret.DockerHubKey, false}}},
		"Hub by a short index":   {auth("index.docker.io"), []finding{{"index.docker.io", pullsecret.DockerHubKey, false}}},
		"Hub in upper case":      {auth("docker.io/Team"), []finding{{"docker.io/Team", pullsecret.NeverMatches, true}}},

		"no password":           {`{"auths":{"h.io":{"username":"u"}}}`, []finding{{"h.io", pullsecret.NoPassword, true}}},
		"no user name":          {`{"auths":{"h.io":{"auth":"OnA="}}}`, []finding{{"h.io", pullsecret.NoPassword, true}}},
		"empty entry":           {`{"auths":{"h.io":{}}}`, []finding{{"h.io", pullsecret.NoPassword, true}}},
		"identity token":        {`{"auths":{"h.io":{"auth":"dTo=","identitytoken":"t"}}}`, []finding{{"h.io", pullsecret.IdentityToken, true}}},
		"identity token beside": {`{"auths":{"h.io":{"auth":"dTpw","registrytoken":"t"}}}`, []finding{{"h.io", pullsecret.IdentityToken, false}}},
		"line break":            {`{"auths":{"h.io":{"auth":"dTpwCg=="}}}`, []finding{{"h.io", pullsecret.LineBreak, true}}},
		"auth wins":             {`{"auths":{"h.io":{"auth":"dTpw","password":"q"}}}`, []finding{{"h.io", pullsecret.AuthWins, false}}},
		"auth says the same":    {`{"auths":{"h.io":{"auth":"dTpw","password":"p","username":"u"}}}`, nil},
		"unpadded":              {`{"auths":{"h.io":{"auth":"dTpwcQ"}}}`, []finding{{"h.io", pullsecret.Unpadded, false}}},
		"helpers only":          {`{"credHelpers":{"h.io":"ecr-login"}}`, []finding{{"", pullsecret.CredentialHelper, true}}},
		"store beside":          {`{"credsStore":"desktop","auths":{"h.io":{"auth":"dTpw"}}}`, []finding{{"", pullsecret.CredentialHelper, false}}},
		"no store":              {`{"credsStore":"","credHelpers":{},"auths":{"h.io":{"auth":"dTpw"}}}`, nil},

		"overlap":                   {auth("h.io/team", "h.io/team-b"), []finding{{"h.io/team", pullsecret.PrefixOverlap, false}}},
		"overlap behind others":     {auth("h.io/te", "h.io/te/x", "h.io/team"), []finding{{"h.io/te", pullsecret.PrefixOverlap, false}}},
		"no overlap: parts":         {auth("h.io/team", "h.io/team/app"), nil},
		"no overlap: slash":         {auth("h.io/team/", "h.io/team-b"), nil},
		"no overlap: host":          {auth("h.io/team", "i.io/team-b"), nil},
		"no overlap: one login":     {`{"auths":{"h.io/a":{"auth":"dTpw"},"h.io/ab":{"auth":"dTpw"}}}`, nil},
		"same key":                  {auth("h.io", "https://h.io"), []finding{{"https://h.io", pullsecret.SameKey, false}}},
		"same key and login":        {`{"auths":{"h.io":{"auth":"dTpw"},"http://h.io":{"auth":"dTpw"}}}`, nil},
		"a login in a key is kept":  {auth("u:canary@h.io "), []finding{{"[redacted]@h.io ", pullsecret.NeverMatches, true}}},
		"several, sorted by key":    {`{"auths":{"z.io":{},"a.io":{}}}`, []finding{{"a.io", pullsecret.NoPassword, true}, {"z.io", pullsecret.NoPassword, true}}},
		"a password is not printed": {`{"auths":{"h.io":{"auth":"dTpjYW5hcnkK","password":"canary2"}}}`, []finding{{"h.io", pullsecret.AuthWins, false}, {"h.io", pullsecret.LineBreak, true}}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c, err := pullsecret.Parse([]byte(test.config))
			require.NoError(t, err)
			var got []finding
			for _, f := range c.Lint(time.Now()) {
				require.NotEmpty(t, f.Message)
				require.NotEmpty(t, f.Hint)
				require.NotContains(t, f.String(), "canary")
				got = append(got, finding{f.Key, f.Rule, f.Fatal})
			}
			require.Equal(t, test.want, got)
		})
	}
}

func TestLintOfBuild(t *testing.T) {
	e := entry("u", "p", "docker.io", "ghcr.io/team", "h.io:5000")
	e.Credential.ExpiresAt = time.Now().Add(time.Hour)
	c := build(t, e)
	require.Empty(t, c.Lint(time.Now()), "what is built is clean")
	findings := c.Lint(e.Credential.ExpiresAt)
	require.Len(t, findings, 3)
	require.Equal(t, pullsecret.Expired, findings[0].Rule)
	require.Empty(t, pullsecret.Config{}.Lint(time.Now()))
}

// A key that Lint reports as never matching must match nothing. A key that Lint accepts must match the image with that
// name.
func TestLintAgreesWithMatch(t *testing.T) {
	for _, key := range []string{"ghcr.io ", "ghcr.io/team/*", "ghcr.io/Team", "ghcr.io//team", "https://ghcr.io/v2", "ghcr.io/team/app:1"} {
		require.Empty(t, foreign(t, key).Match(image(t, "ghcr.io/team/app:1")), key)
	}
}

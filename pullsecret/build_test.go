package pullsecret_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	dockerconfig "github.com/docker/cli/cli/config"
	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/pullsecret"
	"github.com/regcred/regcred/registry"
	"github.com/stretchr/testify/require"
)

// entry returns an entry for a profile that is named after its first endpoint.
func entry(username, password string, endpoints ...string) pullsecret.Entry {
	kind := registry.Custom
	if endpoints[0] == "docker.io" {
		kind = registry.DockerHub
	}
	return pullsecret.Entry{
		Profile:    registry.Profile{Name: endpoints[0], Kind: kind, Endpoint: endpoints[0], Hosts: endpoints[1:]},
		Credential: credentials.Credential{Username: username, Password: credentials.NewSecret(password)},
	}
}

func anonymous(endpoint string) pullsecret.Entry {
	e := entry("", "", endpoint)
	e.Credential.Anonymous = true
	return e
}

func build(t testing.TB, entries ...pullsecret.Entry) pullsecret.Config {
	t.Helper()
	c, err := pullsecret.Build(entries...)
	require.NoError(t, err)
	return c
}

func TestBuildWrites(t *testing.T) {
	tests := map[string]struct {
		entries []pullsecret.Entry
		want    string
	}{
		"nothing": {nil, `{"auths":{}}`},
		"one":     {[]pullsecret.Entry{entry("u", "p", "ghcr.io")}, `{"auths":{"ghcr.io":{"auth":"dTpw"}}}`},
		"Docker Hub under the key of docker login": {
			[]pullsecret.Entry{entry("u", "p", "docker.io")}, `{"auths":{"https://index.docker.io/v1/":{"auth":"dTpw"}}}`},
		"one credential for several hosts": {
			[]pullsecret.Entry{entry("u", "p", "b.example.com", "a.example.com:5000/team")},
			`{"auths":{"a.example.com:5000/team":{"auth":"dTpw"},"b.example.com":{"auth":"dTpw"}}}`},
		"several logins for one host, by path": {
			[]pullsecret.Entry{entry("u", "1", "h.io/a"), entry("u", "2", "h.io/b"), entry("u", "3", "h.io")},
			`{"auths":{"h.io":{"auth":"dToz"},"h.io/a":{"auth":"dTox"},"h.io/b":{"auth":"dToy"}}}`},
		"the same login twice":    {[]pullsecret.Entry{entry("u", "p", "h.io"), entry("u", "p", "h.io")}, `{"auths":{"h.io":{"auth":"dTpw"}}}`},
		"anonymous":               {[]pullsecret.Entry{anonymous("mcr.microsoft.com"), entry("u", "p", "h.io")}, `{"auths":{"h.io":{"auth":"dTpw"}}}`},
		"IPv6 with a port":        {[]pullsecret.Entry{entry("u", "p", "[::1]:5000")}, `{"auths":{"[::1]:5000":{"auth":"dTpw"}}}`},
		"a password with a colon": {[]pullsecret.Entry{entry("u", "p:q", "h.io")}, `{"auths":{"h.io":{"auth":"dTpwOnE="}}}`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := build(t, test.entries...)
			require.Equal(t, test.want, string(c.Reveal()))
			require.Equal(t, len(test.want), c.Size())
			slices.Reverse(test.entries)
			require.Equal(t, test.want, string(build(t, test.entries...).Reveal()), "the order of the entries changes nothing")
		})
	}
}

func TestBuildIsReadByDocker(t *testing.T) {
	c := build(t, entry("me", "pass:word", "docker.io"), entry("AWS", strings.Repeat("x", 2000), "111122223333.dkr.ecr.eu-west-1.amazonaws.com"))
	file, err := dockerconfig.LoadFromReader(strings.NewReader(string(c.Reveal())))
	require.NoError(t, err)
	hub, err := file.GetAuthConfig("https://index.docker.io/v1/")
	require.NoError(t, err)
	require.Equal(t, "me", hub.Username)
	require.Equal(t, "pass:word", hub.Password)
	ecr, err := file.GetAuthConfig("111122223333.dkr.ecr.eu-west-1.amazonaws.com")
	require.NoError(t, err)
	require.Equal(t, "AWS", ecr.Username)
	require.Len(t, ecr.Password, 2000)
}

func TestBuildRefuses(t *testing.T) {
	expired := entry("u", "p", "h.io")
	expired.Credential.ExpiresAt = time.Now().Add(-time.Minute)
	tests := map[string]struct {
		entry pullsecret.Entry
		want  string
		code  registry.Code
	}{
		"an expired credential":       {expired, `for profile "h.io": expired: credential is expired`, registry.ErrExpired},
		"an empty credential":         {entry("u", "", "h.io"), `for profile "h.io": invalid: credential is empty`, registry.ErrInvalid},
		"an endpoint that is none":    {entry("u", "p", "h.io/Team"), "upper-case", registry.ErrInvalid},
		"a user name with a colon":    {entry("u:v", "p", "h.io"), "the user name has a colon", registry.ErrInvalid},
		"IPv6 without a port":         {entry("u", "p", "[::1]"), "add the port", registry.ErrUnsupported},
		"IPv6 among the other hosts":  {entry("u", "p", "h.io", "[::1]"), "add the port", registry.ErrUnsupported},
		"a second login for one host": {entry("u", "secret-canary", "good.io"), `profiles "good.io" and "good.io" have different logins for good.io`, registry.ErrInvalid},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := pullsecret.Build(entry("u", "p", "good.io"), test.entry)
			require.ErrorContains(t, err, test.want)
			require.Equal(t, test.code, registry.CodeOf(err))
			require.NotContains(t, err.Error(), "canary")
		})
	}
	_, err := pullsecret.Build(entry("u", "1", "h.io", "z.io"), entry("u", "2", "i.io", "z.io"))
	var conflict *pullsecret.ConflictError
	require.ErrorAs(t, err, &conflict)
	require.Equal(t, pullsecret.ConflictError{Key: "z.io", Profiles: []string{"h.io", "i.io"}}, *conflict)
	require.EqualError(t, conflict, `profiles "h.io" and "i.io" have different logins for z.io`)
}

func TestSplit(t *testing.T) {
	entries := []pullsecret.Entry{
		entry("u", "1", "h.io"), entry("u", "2", "h.io", "i.io"), entry("u", "1", "h.io"), entry("u", "3", "h.io"), entry("u", "4", "i.io"), entry("u", "5", "j.io"),
	}
	configs, err := pullsecret.Split(entries...)
	require.NoError(t, err)
	var texts []string
	for _, c := range configs {
		texts = append(texts, string(c.Reveal()))
	}
	require.Equal(t, []string{
		`{"auths":{"h.io":{"auth":"dTox"},"i.io":{"auth":"dToy"},"j.io":{"auth":"dTo1"}}}`,
		`{"auths":{"h.io":{"auth":"dToy"},"i.io":{"auth":"dTo0"}}}`,
		`{"auths":{"h.io":{"auth":"dToz"}}}`,
	}, texts)

	image, err := registry.ParseImage("h.io/app")
	require.NoError(t, err)
	var tried []int
	for _, m := range pullsecret.MatchAll(image, configs...) {
		tried = append(tried, m.Entry)
	}
	require.Equal(t, []int{0, 1, 3}, tried, "the order of the entries")

	configs, err = pullsecret.Split()
	require.NoError(t, err)
	require.Len(t, configs, 1)
	require.Empty(t, configs[0].Keys())
}

func TestConfigOfBuild(t *testing.T) {
	soon, late := time.Now().Add(time.Hour), time.Now().Add(2*time.Hour)
	a, b, never := entry("u", "1", "b.io"), entry("u", "2", "a.io"), entry("u", "3", "c.io")
	a.Credential.ExpiresAt, b.Credential.ExpiresAt = late, soon
	c := build(t, a, b, never)
	require.Equal(t, []string{"a.io", "b.io", "c.io"}, c.Keys())
	require.Equal(t, soon, c.ExpiresAt())
	require.Zero(t, build(t, never).ExpiresAt())
	require.True(t, c.Equal(build(t, b, a, never)))
	require.False(t, c.Equal(build(t, b, a)))
	require.True(t, pullsecret.Config{}.Equal(build(t)))
	require.JSONEq(t, `{"auths":{}}`, string(pullsecret.Config{}.Reveal()))
	require.Empty(t, pullsecret.Config{}.Match(registry.Image{Host: "a.io", Repository: "x"}))
}

func TestHashIsTheSameInEveryProcess(t *testing.T) {
	c := build(t, entry("u", "p", "ghcr.io"))
	require.Equal(t, "4b8724f6fd9f", c.Hash(nil)[:12])
	require.Len(t, c.Hash(nil), 32)
	require.NotEqual(t, c.Hash(nil), c.Hash([]byte("key")))
	require.NotEqual(t, c.Hash(nil), build(t, entry("u", "q", "ghcr.io")).Hash(nil))
	parsed, err := pullsecret.Parse(c.Reveal())
	require.NoError(t, err)
	require.Equal(t, c.Hash(nil), parsed.Hash(nil))
}

// FuzzBuild compares the written text with the entries that encoding/json and this package read from it.
func FuzzBuild(f *testing.F) {
	f.Add("ghcr.io", "user", "password")
	f.Add("docker.io", "u", "p:q")
	f.Add("[::1]:5000/a", "AWS", "\x00\xff")
	f.Fuzz(func(t *testing.T, endpoint, username, password string) {
		c, err := pullsecret.Build(entry(username, password, endpoint))
		if err != nil {
			return
		}
		require.True(t, json.Valid(c.Reveal()))
		require.Len(t, c.Reveal(), c.Size())
		parsed, err := pullsecret.Parse(c.Reveal())
		require.NoError(t, err)
		require.Equal(t, c.Keys(), parsed.Keys())
		e, err := registry.ParseEndpoint(endpoint)
		require.NoError(t, err)
		matches := parsed.Match(registry.Image{Host: e.Host, Repository: strings.TrimPrefix(e.Path+"/app", "/"), Tag: "1"})
		require.Len(t, matches, 1)
		require.Equal(t, username, matches[0].Credential.Username)
		require.Equal(t, password, matches[0].Credential.Password.Reveal())
	})
}

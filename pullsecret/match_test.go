package pullsecret_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/regcred/regcred/pullsecret"
	"github.com/regcred/regcred/registry"
	"github.com/stretchr/testify/require"
)

// foreign returns a config as another tool may have written it.
func foreign(t testing.TB, keys ...string) pullsecret.Config {
	t.Helper()
	auths := make(map[string]any)
	for _, key := range keys {
		auths[key] = map[string]string{"username": "user of " + key, "password": "p"}
	}
	data, err := json.Marshal(map[string]any{"auths": auths})
	require.NoError(t, err)
	c, err := pullsecret.Parse(data)
	require.NoError(t, err)
	return c
}

func matchedKeys(matches []pullsecret.Match) []string {
	var keys []string
	for _, m := range matches {
		keys = append(keys, m.Key)
	}
	return keys
}

// The cases are the rules. internal/kubeletmatch proves that they are the kubelet's own.
func TestMatch(t *testing.T) {
	tests := map[string]struct {
		keys  []string
		image string
		want  []string
	}{
		"host":                          {[]string{"ghcr.io", "quay.io"}, "ghcr.io/a/b:1", []string{"ghcr.io"}},
		"scheme and version are cut":    {[]string{"https://ghcr.io/v2/"}, "ghcr.io/a", []string{"https://ghcr.io/v2/"}},
		"version without a slash stays": {[]string{"https://ghcr.io/v2"}, "ghcr.io/a", nil},
		"version before a path":         {[]string{"ghcr.io/v1/a"}, "ghcr.io/a/b", []string{"ghcr.io/v1/a"}},
		"port is text":                  {[]string{"h.io", "h.io:443", "h.io:5000"}, "h.io:443/a", []string{"h.io:443"}},
		"case of the host":              {[]string{"ghcr.io"}, "GHCR.io/a", nil},
		"path before host":              {[]string{"h.io", "h.io/a", "h.io/a/b", "h.io/c"}, "h.io/a/b/c", []string{"h.io/a/b", "h.io/a", "h.io"}},
		"path is a plain prefix":        {[]string{"h.io/team"}, "h.io/team-b/app", []string{"h.io/team"}},
		"slash at the end of a path":    {[]string{"h.io/team/"}, "h.io/team-b/app", nil},
		"path behind the image":         {[]string{"h.io/a", "h.io/b"}, "h.io/a-1", []string{"h.io/a"}},
		"glob is one label":             {[]string{"*.io", "*.*.io"}, "a.b.io/x", []string{"*.*.io"}},
		"glob with letters":             {[]string{"re*.example.com:5000"}, "reg.example.com:5000/x", []string{"re*.example.com:5000"}},
		"glob sorts before host":        {[]string{"*.io/a", "h.io", "h.io/a"}, "h.io/a", []string{"h.io/a", "h.io", "*.io/a"}},
		"question mark ends the key":    {[]string{"h?.io"}, "hx.io/a", nil},
		"Docker Hub":                    {[]string{"https://index.docker.io/v1/"}, "nginx", []string{"https://index.docker.io/v1/"}},
		"Docker Hub by its short name":  {[]string{"https://index.docker.io/v1/", "docker.io"}, "nginx", []string{"docker.io"}},
		"Docker Hub by its API":         {[]string{"registry-1.docker.io"}, "nginx", nil},
		"Docker Hub and a path":         {[]string{"docker.io/team", "https://index.docker.io/v1/"}, "team/app", []string{"docker.io/team"}},
		"localhost falls back to Hub":   {[]string{"https://index.docker.io/v1/"}, "localhost/app", []string{"https://index.docker.io/v1/"}},
		"several spellings":             {[]string{"h.io", "https://h.io", "http://h.io/v1/"}, "h.io/a", []string{"h.io", "http://h.io/v1/", "https://h.io"}},
		"IPv6":                          {[]string{"[::1]:5000", "[::1]"}, "[::1]:5000/a", []string{"[::1]:5000"}},
		"login in the key":              {[]string{"u:p@h.io"}, "h.io/a", []string{"u:p@h.io"}},
		"not a URL":                     {[]string{"h.io:port", "%zz", ""}, "h.io/a", nil},
		"escaped twice":                 {[]string{"h.io/%2561"}, "h.io/a", []string{"h.io/%2561"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			image, err := registry.ParseImage(test.image)
			require.NoError(t, err)
			require.Equal(t, test.want, matchedKeys(foreign(t, test.keys...).Match(image)))
		})
	}
}

func TestMatchLeadsBackToItsEntry(t *testing.T) {
	entries := []pullsecret.Entry{entry("u", "1", "z.io"), anonymous("y.io"), entry("u", "2", "h.io/team"), entry("u", "3", "a.io", "h.io")}
	c := build(t, entries...)
	matches := c.Match(registry.Image{Host: "h.io", Repository: "team/app"})
	require.Len(t, matches, 2)
	for i, want := range []int{2, 3} {
		require.Equal(t, want, matches[i].Entry)
		require.True(t, matches[i].Credential.Equal(entries[want].Credential))
	}
	require.Equal(t, -1, foreign(t, "h.io").Match(registry.Image{Host: "h.io", Repository: "a"})[0].Entry)
}

func TestMatchAll(t *testing.T) {
	a, b := foreign(t, "h.io", "https://index.docker.io/v1/"), foreign(t, "https://h.io", "h.io/a", "docker.io/team")
	image := func(s string) registry.Image {
		i, err := registry.ParseImage(s)
		require.NoError(t, err)
		return i
	}
	require.Equal(t, []string{"h.io/a", "h.io", "https://h.io"}, matchedKeys(pullsecret.MatchAll(image("h.io/a"), a, b)))
	require.Equal(t, []string{"h.io/a", "https://h.io", "h.io"}, matchedKeys(pullsecret.MatchAll(image("h.io/a"), b, pullsecret.Config{}, a)))
	require.Equal(t, []string{"docker.io/team"}, matchedKeys(pullsecret.MatchAll(image("team/app"), a, b)), "a match in any secret keeps from falling back")
	require.Equal(t, []string{"https://index.docker.io/v1/"}, matchedKeys(pullsecret.MatchAll(image("nginx"), a, b)))
	require.Empty(t, pullsecret.MatchAll(image("nginx")))
}

// TestMatchIsTheSameWithManyEntries compares the index with a search through all entries.
func TestMatchIsTheSameWithManyEntries(t *testing.T) {
	var keys []string
	for i := range 300 {
		keys = append(keys, fmt.Sprintf("h%d.io/%d/%d", i%3, i%7, i%11), fmt.Sprintf("h%d.io/%d", i%3, i))
	}
	slices.Sort(keys)
	keys = slices.Compact(keys)
	c := foreign(t, keys...)
	for i := range 400 {
		image := registry.Image{Host: fmt.Sprintf("h%d.io", i%4), Repository: fmt.Sprintf("%d/%d/x", i%13, i%17)}
		var want []string
		for _, key := range slices.Backward(keys) {
			if len(key) <= len(image.Name()) && image.Name()[:len(key)] == key {
				want = append(want, key)
			}
		}
		require.Equal(t, want, matchedKeys(c.Match(image)), image.Name())
	}
}

// The index is built by the first caller, and many callers may be concurrent.
func TestMatchAtTheSameTime(t *testing.T) {
	c := foreign(t, "h.io", "*.io", "h.io/a")
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if n := len(c.Match(registry.Image{Host: "h.io", Repository: "a/b"})); n != 3 {
				t.Errorf("%d matches", n)
			}
		})
	}
	group.Wait()
}

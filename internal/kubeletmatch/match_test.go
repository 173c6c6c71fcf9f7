package kubeletmatch_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/regcred/regcred/pullsecret"
	"github.com/stretchr/testify/require"
)

// The parts of random configs and images. They are near misses of each other, and of common names.
var (
	hosts = []string{
		"h.io", "H.io", "h.io:443", "h.io:5000", "h.io:", "a.h.io", "h", "localhost", "localhost:5000", "a.h.io:5000", "[::1]", "[::1]:5000", "10.0.0.1:5000",
		"docker.io", "index.docker.io", "registry-1.docker.io", "docker.io:443", "Docker.io", "UPPER",
	}
	patterns = []string{"*.io", "*.*.io", "*", "*.h.io:5000", "h.*", "?.io", "h?.io", "[h].io", "[a-h].io", "h.i[no]", "[", "h.[", "h.io:*", "h.io:50*", `h\.io`, "*.docker.io", "%68.io"}
	schemes  = []string{"", "", "", "https://", "http://", "HTTPS://", "oci://", "https:/", "//"}
	versions = []string{"", "", "", "/v1", "/v2", "/v1/", "/v2/", "/v2/v2/", "/v3/", "/V1/"}
	paths    = []string{"", "", "/", "/a", "/a/", "/a/b", "/a-b", "/a-b/c", "/aa", "/library", "/library/nginx", "/a/*", "/A", "/a%2Fb", "/%61", "/%2561", "//a", "/a?b", "/a#b", "/a b", "/a:1", "/%", "?x"}
	users    = []string{"", "", "", "", "u@", "u:p@", "@"}

	repositories = []string{"a", "a/b", "a-b/c", "aa", "aa/b", "library/nginx", "nginx", "v1/a", "v2/a", "v1", "b", "a/b/c", "1", "a/v1/b"}
	tags         = []string{"", "", ":1", ":latest", "@sha256:" + strings.Repeat("0", 64)}
)

func pick(r *rand.Rand, from []string) string { return from[r.IntN(len(from))] }

// A world is the set of hosts of one round. It is small, so that keys and images often match.
type world struct {
	*rand.Rand
	hosts []string
}

func newWorld(seed uint64) world {
	r := rand.New(rand.NewPCG(seed, 0))
	return world{r, []string{pick(r, hosts), pick(r, hosts)}}
}

func (w world) key() string {
	host := pick(w.Rand, w.hosts)
	switch w.IntN(8) {
	case 0:
		host = pick(w.Rand, patterns)
	case 1:
		host = pick(w.Rand, hosts)
	}
	if w.IntN(2) == 0 {
		return host + pick(w.Rand, paths)
	}
	return pick(w.Rand, schemes) + pick(w.Rand, users) + host + pick(w.Rand, versions) + pick(w.Rand, paths)
}

func (w world) image() string {
	host := pick(w.Rand, w.hosts) + "/"
	if w.IntN(8) == 0 {
		host = ""
	}
	return host + pick(w.Rand, repositories) + pick(w.Rand, tags)
}

// entry returns the JSON of an entry with a login that no other entry has.
func (w world) entry(n int) string {
	pair := fmt.Sprintf("u%d:%s", n, strings.Repeat("p", n%4))
	quoted := func(s string) string { b, _ := json.Marshal(s); return string(b) }
	switch w.IntN(40) {
	case 0:
		return `null`
	case 1:
		return `{}`
	case 2:
		return fmt.Sprintf(`{"Username":"u%d","PASSWORD":"p","identitytoken":"t"}`, n)
	case 3:
		return fmt.Sprintf(`{"username":"u%d","password":"p","auth":"","email":null,"x":1e999}`, n)
	case 4:
		return `{"auth":` + quoted(base64.RawStdEncoding.EncodeToString([]byte(pair))) + `}`
	case 5:
		return `{"auth":` + quoted(base64.URLEncoding.EncodeToString([]byte(pair+"???>>>"))) + `}`
	case 6:
		return `{"auth":` + quoted(base64.StdEncoding.EncodeToString([]byte(pair))+"\n") + `}`
	case 7:
		return `{"auth":` + quoted(" "+base64.StdEncoding.EncodeToString([]byte(pair))) + `}`
	}
	return `{"username":"x","password":"y","auth":` + quoted(base64.StdEncoding.EncodeToString([]byte(pair))) + `}`
}

func (w world) source(secret int) source {
	var entries []string
	for i := range w.IntN(8) {
		key, _ := json.Marshal(w.key())
		entries = append(entries, string(key)+":"+w.entry(secret*100+i))
	}
	object := "{" + strings.Join(entries, ",") + "}"
	switch w.IntN(12) {
	case 0:
		return source{object, true}
	case 1:
		return source{`{"AUTHS":{"h.io":{"auth":"dTpw"}},"HttpHeaders":{"a":"b"},"auths":` + object + `}`, false}
	}
	return source{`{"auths":` + object + `}`, false}
}

// TestAgreesOnNearMisses compares the results for many configs and images, the same ones in every run.
func TestAgreesOnNearMisses(t *testing.T) {
	n := 20_000
	if testing.Short() {
		n = 5_000
	}
	matched := 0
	for seed := range n {
		w := newWorld(uint64(seed))
		sources := make([]source, 1+w.IntN(2))
		for i := range sources {
			sources[i] = w.source(i)
		}
		matched += agree(t, []string{w.image(), w.image(), w.image(), w.image()}, sources...)
	}
	require.Greater(t, matched, n/2, "too few near misses are hits")
}

// TestAgreesOnEachKey compares the results for each possible key, alone, with each image.
func TestAgreesOnEachKey(t *testing.T) {
	images := []string{"nginx", "a/b"}
	for _, host := range hosts {
		for _, repository := range []string{"a", "a/b", "a-b/c", "nginx", "v1/a"} {
			images = append(images, host+"/"+repository)
		}
	}
	for _, host := range slices.Concat(hosts, patterns) {
		matched := 0
		for _, version := range versions {
			for _, path := range paths {
				key, err := json.Marshal(host + version + path)
				require.NoError(t, err)
				matched += agree(t, images, source{`{"auths":{` + string(key) + `:{"auth":"dTpw"}}}`, false})
			}
		}
		t.Logf("%s: %d matches", host, matched)
	}
}

// TestLintAgrees compares Lint's findings about keys with the kubelet: a key that Lint reports as never matching
// matches no image with a usual name, and a key without a finding matches some.
func TestLintAgrees(t *testing.T) {
	var images, odd []string // The repository of an odd one is named like a version of the API.
	for _, host := range hosts {
		if strings.ToLower(host) == host && host != "localhost" && host != "[::1]" { // Only the star matches these two.
			for _, repository := range []string{"a/b", "a-b/c", "aa/b", "library/nginx"} {
				images = append(images, host+"/"+repository)
			}
			odd = append(odd, host+"/v1/a", host+"/v2/a", host+"/v3/a", host+"/v1", host+"/v2", host+"/v3")
		}
	}
	for _, host := range slices.Concat(hosts, patterns) {
		for _, version := range versions {
			for _, path := range paths {
				name := host + version + path
				if version == "/v3/" {
					continue // A path like any other.
				}
				key, err := json.Marshal(name)
				require.NoError(t, err)
				s := source{`{"auths":{` + string(key) + `:{"auth":"dTpw"}}}`, false}
				c, err := parse(s)
				require.NoError(t, err)
				never, breaks := false, false
				for _, f := range c.Lint(time.Now()) {
					never = never || f.Rule == pullsecret.NeverMatches
					breaks = breaks || f.Fatal
				}
				matched := agree(t, images, s)
				if never {
					require.Zero(t, matched, name)
				}
				if !breaks && !strings.HasPrefix(name, "localhost") {
					require.NotZero(t, matched+agree(t, odd, s), name)
				}
			}
		}
	}
}

// FuzzAgree compares the results for two arbitrary secrets and an image.
func FuzzAgree(f *testing.F) {
	for seed := range uint64(40) {
		w := newWorld(seed)
		a, b := w.source(0), w.source(1)
		f.Add(a.text, a.bare, b.text, b.bare, w.image())
	}
	for _, text := range []string{
		`null`, `{}`, `{"auths":null}`, `{}{}`, `[]`, "\x00",
		`{"auths":{"h.io":{}},"Auths":null}`,
		`{"auths":{"h.io":{},"h.io":null}}`,
		`{"auths":{"h.io":{"auth":"dTpw","AUTH":null}}}`,
		`{"auths":{"h.io":{"password":"p","username":"u","password":null}}}`,
		`{"auth\u017f":{"h.io":{"auth":"dTpw"}}}`, // The long s is an s in any case.
		`{"auths":{"h.io":{"auth":"dTpw"}},"HTTPHEADERS":{"a":null}}`,
		`{"auths":{"h.io":{"auth":"dTpw"}},"HttpHeaders":{"a":1}}`,
	} {
		f.Add(text, false, `{"auths":{"h.io":{"auth":"dTpw"}}}`, false, "h.io/a")
	}
	f.Fuzz(func(t *testing.T, a string, aBare bool, b string, bBare bool, image string) {
		agree(t, []string{image}, source{a, aBare}, source{b, bBare})
	})
}

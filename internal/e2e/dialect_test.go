package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/registry/registrytest"
)

// A side is one of two registries that get the same requests.
type side struct {
	host      string
	tokenPath string // Empty if there are no tokens.
	tokens    map[string]string
}

// A reply has the parts of a response that are compared.
type reply struct {
	Status                            int
	Challenges                        []string
	Type, Version, Digest, Link, Path string // Path is the path of Location.
	Body                              string
}

// A question is one request, with one kind of login.
type question struct {
	method, path, login string
}

func (q question) String() string { return fmt.Sprintf("%s %s as %s", q.method, q.path, q.login) }

// missing is the digest of a blob that does not exist.
const missing = "sha256:0000000000000000000000000000000000000000000000000000000000000000"

// questions are the requests of clients to a registry that has the images team/app:1 and :2, which ann may pull and bob
// may not, other/app:1, which bob may pull and ann may not, and public/app:1.
func questions(digest string, tokens bool) []question {
	var all []question
	logins := []string{"nobody", "ann", "wrong"}
	if tokens {
		logins = append(logins, "token", "anonymous token", "bad token")
	}
	for _, login := range logins {
		for _, path := range []string{
			"/v2/", "/v2",
			"/v2/team/app/manifests/1", "/v2/team/app/manifests/" + digest, "/v2/team/app/manifests/gone", "/v2/team/app/manifests/" + missing,
			"/v2/team/gone/manifests/1", "/v2/other/app/manifests/1", "/v2/other/gone/manifests/1", "/v2/missing/app/manifests/1", "/v2/app/manifests/1",
			"/v2/public/app/manifests/1", "/v2/public/gone/manifests/1",
			"/v2/Team/App/manifests/1", "/v2/team/app/manifests/sha256:abc",
			"/v2/team/app/blobs/" + missing,
			"/v2/team/app/tags/list", "/v2/team/app/tags/list?n=1", "/v2/team/app/tags/list?n=1&last=1", "/v2/team/app/tags/list?last=2",
			"/v2/team/gone/tags/list", "/v2/other/app/tags/list", "/v2/public/app/tags/list",
			"/v2/_catalog",
		} {
			all = append(all, question{http.MethodGet, path, login})
		}
		all = append(all, question{http.MethodHead, "/v2/team/app/manifests/1", login}, question{http.MethodHead, "/v2/other/app/manifests/1", login})
		if tokens && !strings.Contains(login, "token") {
			const scope = "?service=registry&scope="
			for _, path := range []string{"", scope + url.QueryEscape("repository:team/app:pull"), scope + url.QueryEscape("repository:other/app:pull")} {
				all = append(all, question{http.MethodGet, "TOKEN" + path, login})
			}
		}
	}
	if tokens {
		all = append(all, question{http.MethodPost, "TOKEN", "ann"})
	}
	return all
}

// ask sends a question, without following redirects.
func (s *side) ask(t *testing.T, q question) reply {
	t.Helper()
	path := strings.Replace(q.path, "TOKEN", s.tokenPath, 1)
	req, err := http.NewRequestWithContext(t.Context(), q.method, "http://"+s.host+path, nil)
	require.NoError(t, err)
	req.Header.Set("Accept", "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json")
	switch q.login {
	case "ann":
		req.SetBasicAuth("ann", "right")
	case "wrong":
		req.SetBasicAuth("ann", "wrong")
	case "token", "anonymous token":
		req.Header.Set("Authorization", "Bearer "+s.tokens[q.login])
	case "bad token":
		req.Header.Set("Authorization", "Bearer nonsense")
	}
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	require.NoError(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	h := res.Header
	r := reply{
		Status: res.StatusCode, Challenges: h.Values("WWW-Authenticate"), Version: h.Get("Docker-Distribution-Api-Version"),
		Type: strings.ToLower(strings.ReplaceAll(h.Get("Content-Type"), " ", "")), Digest: h.Get("Docker-Content-Digest"), Link: h.Get("Link"), Body: strings.TrimSpace(string(body)),
	}
	if l, err := url.Parse(h.Get("Location")); err == nil {
		r.Path = l.Path
	}
	for _, text := range []*string{&r.Body, &r.Link, &r.Path} {
		*text = s.neutral(*text)
	}
	for i := range r.Challenges {
		r.Challenges[i] = s.neutral(r.Challenges[i])
	}
	if strings.HasPrefix(q.path, "TOKEN") && r.Status == http.StatusOK {
		r.Body = secret.ReplaceAllString(r.Body, `"$1":"..."`)
	}
	return r
}

var secret = regexp.MustCompile(`"(token|access_token|issued_at)":"[^"]*"`)

func (s *side) neutral(text string) string { return strings.ReplaceAll(text, s.host, "HOST") }

// login fetches the tokens.
func (s *side) login(t *testing.T, scopes ...string) {
	t.Helper()
	s.tokens = make(map[string]string)
	if s.tokenPath == "" {
		return
	}
	query := url.Values{"service": {"registry"}, "scope": scopes}
	for name, username := range map[string]string{"token": "ann", "anonymous token": ""} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.host+s.tokenPath+"?"+query.Encode(), nil)
		require.NoError(t, err)
		if username != "" {
			req.SetBasicAuth(username, "right")
		}
		res, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		var values struct{ Token string }
		require.NoError(t, json.NewDecoder(res.Body).Decode(&values))
		require.NoError(t, res.Body.Close())
		s.tokens[name] = values.Token
	}
}

// differs returns the differences of the replies that may affect a client, and whether only the texts differ.
func differs(real, fake reply) (matters []string, words bool) {
	add := func(what string, a, b any) {
		if !reflect.DeepEqual(a, b) {
			matters = append(matters, fmt.Sprintf("%s: %v, dialect: %v", what, a, b))
		}
	}
	add("status", real.Status, fake.Status)
	add("challenges", real.Challenges, fake.Challenges)
	add("digest", real.Digest, fake.Digest)
	add("link", real.Link, fake.Link)
	add("location", real.Path, fake.Path)
	add("code", codeOf(real.Body), codeOf(fake.Body))
	add("names", namesOf(real.Body), namesOf(fake.Body))
	if mediaType(real.Type) != mediaType(fake.Type) && real.Body != "" {
		add("type", real.Type, fake.Type)
	}
	return matters, real.Body != fake.Body || real.Type != fake.Type || real.Version != fake.Version
}

func mediaType(t string) string { m, _, _ := strings.Cut(t, ";"); return m }

func codeOf(body string) string {
	var e struct{ Errors []struct{ Code string } }
	if json.Unmarshal([]byte(body), &e) != nil || len(e.Errors) == 0 {
		return ""
	}
	return e.Errors[0].Code
}

func namesOf(body string) []string {
	var l struct{ Tags, Repositories []string }
	_ = json.Unmarshal([]byte(body), &l)
	return append(l.Tags, l.Repositories...)
}

// A known is an accepted difference between a registry and its dialect.
type known struct {
	path string // A regular expression of the path.
	why  string
}

// compare sends all questions to both sides. It fails the test for a relevant difference that is not known, and for a
// known one that no longer exists.
func compare(t *testing.T, real, fake *side, all []question, differences []known) {
	t.Helper()
	used := make([]bool, len(differences))
	same, words := 0, 0
	for _, q := range all {
		a, b := real.ask(t, q), fake.ask(t, q)
		matters, inWords := differs(a, b)
		i := slices.IndexFunc(differences, func(k known) bool { return regexp.MustCompile(k.path).MatchString(q.path + " as " + q.login) })
		switch {
		case len(matters) > 0 && i >= 0:
			used[i] = true
		case len(matters) > 0:
			t.Errorf("%s:\n  %s\n  real: %.300s\n  dialect: %.300s", q, strings.Join(matters, "\n  "), a.Body, b.Body)
		case inWords:
			words++
		default:
			same++
		}
	}
	t.Logf("of %d responses, %d are the same, and %d differ in words only", len(all), same, words)
	for i, k := range differences {
		require.True(t, used[i], "this difference is not there anymore: %s (%s)", k.path, k.why)
	}
}

// fakeOf serves a dialect with the accounts and images of every comparison.
func fakeOf(t *testing.T, r *registrytest.Registry, image v1.Image) *side {
	t.Helper()
	server, err := registrytest.StartPlainHTTP(r)
	require.NoError(t, err)
	t.Cleanup(server.Close)
	fill(t, server.Host, image)
	return &side{host: server.Host}
}

// comparedImages are the images of every comparison, with their owners.
var comparedImages = map[string]string{"team/app:1": "ann", "team/app:2": "ann", "public/app:1": "ann", "other/app:1": "bob"}

// fill pushes the images of every comparison.
func fill(t *testing.T, host string, image v1.Image) {
	t.Helper()
	for to, username := range comparedImages {
		pushImage(t, host, to, username, image)
	}
}

func newImage(t *testing.T) (v1.Image, string) {
	t.Helper()
	image, err := random.Image(64, 1)
	require.NoError(t, err)
	digest, err := image.Digest()
	require.NoError(t, err)
	return image, digest.String()
}

func TestGiteaDialect(t *testing.T) {
	real, fake, digest := giteaAndDialect(t, startGitea(t))
	real.login(t)
	fake.login(t)
	compare(t, real, fake, questions(digest, true), []known{
		{"/Team/App/.* as anonymous token", "Gitea looks for the owner before it looks at the name"},
	})
}

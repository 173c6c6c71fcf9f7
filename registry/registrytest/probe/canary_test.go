package probe

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
	"github.com/regcred/regcred/validate"
)

// canaries are names and secrets that must not be in a capture.
var canaries = map[string]string{
	"host":     "zqhost.zqdomain.example",
	"project":  "zqproject",
	"image":    "zq-image_one",
	"tag":      "zqtag-7f3a",
	"other":    "zqowner",
	"public":   "zqpublic",
	"user":     "zquser+robot$one",
	"password": "zq p@ss/w:rd%é",
	"token":    "zqtoken.eyJhbGciOiJIUzI1NiJ9",
	"digest":   "deadbeef01234567deadbeef01234567deadbeef01234567deadbeef01234567",
	"secret":   "AKIAZQCANARY12345678",
	"address":  "203.0.113.77",
	"e-mail":   "zqperson@zqcompany.example",
}

// encodings returns the forms in which a canary could be in a text, in lower case.
func encodings(s string) []string {
	forms := []string{s, url.QueryEscape(s), url.PathEscape(s), hex.EncodeToString([]byte(s))}
	for _, before := range []string{"", "a", "ab"} { // Base64 depends on the position.
		text := base64.StdEncoding.EncodeToString([]byte(before + s))
		forms = append(forms, text[len(before)*2:len(text)-4], base64.URLEncoding.EncodeToString([]byte(before + s))[len(before)*2:len(text)-4])
	}
	for _, part := range strings.FieldsFunc(s, func(c rune) bool { return strings.ContainsRune(" ./-_+$@:%", c) }) {
		if strings.HasPrefix(part, "zq") {
			forms = append(forms, part)
		}
	}
	for i := range forms {
		forms[i] = strings.ToLower(forms[i])
	}
	return forms
}

func requireNoCanary(t *testing.T, text string) {
	t.Helper()
	lower := strings.ToLower(text)
	for name, canary := range canaries {
		for _, form := range encodings(canary) {
			if i := strings.Index(lower, form); i >= 0 {
				require.FailNow(t, "canary found", "%s as %q in %.200q", name, form, text[max(0, i-80):])
			}
		}
	}
	require.NotContains(t, lower, "zq")
}

// A parrot is a registry that repeats all that it knows wherever it can, in each encoding in turn.
type parrot struct{ n int }

func (p *parrot) say(i int) string {
	names := slices.Sorted(maps.Keys(canaries))
	forms := encodings(canaries[names[i%len(names)]])
	plain := canaries[names[i%len(names)]]
	return append(forms, plain)[(i/len(names))%(len(forms)+1)]
}

func (p *parrot) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	p.n++
	n := p.n * 7
	next := func() string { n++; return strings.NewReplacer("\r", "", "\n", "").Replace(p.say(n)) }
	h := w.Header()
	if req.URL.Path == "/zqpath/token" {
		_ = json.NewEncoder(w).Encode(map[string]any{"token": canaries["token"], next(): next(), "scope": next(), "expires_in": 300})
		return
	}
	h.Add("WWW-Authenticate", `Bearer realm="https://`+canaries["host"]+`/zqpath/token",service="`+canaries["secret"]+`",`+
		strings.ReplaceAll(next(), " ", "")+`="`+next()+`",scope="repository:`+next()+`:pull",error="`+next()+`"`)
	h.Add("WWW-Authenticate", next()+` realm="`+next()+`"`)
	h.Set("Docker-Content-Digest", "sha256:"+canaries["digest"])
	h.Set("Docker-Distribution-Api-Version", next())
	h.Set("Link", "</v2/"+url.PathEscape(next())+"/tags/list?"+url.QueryEscape(next())+"="+url.QueryEscape(next())+`>; rel="`+next()+`"`)
	h.Set("Location", "https://"+canaries["host"]+"/"+url.PathEscape(next())+"?"+url.QueryEscape(next()))
	for _, name := range []string{"Retry-After", "Ratelimit-Limit", "Ratelimit-Remaining", "Docker-Ratelimit-Source", "Server", "X-Request-Id", "Set-Cookie"} {
		h.Set(name, next())
	}
	body := func() any {
		return map[string]any{
			"errors":       []any{map[string]any{"code": next(), "message": next() + " " + next(), "detail": map[string]any{next(): []any{next(), next()}}}},
			"code":         next(),
			next():         next(),
			"name":         next(),
			"tags":         []string{next(), next()},
			"repositories": []string{next()},
		}
	}
	switch p.n % 4 {
	case 0:
		h.Set("Content-Type", "text/plain; charset="+next())
		w.WriteHeader([]int{401, 403, 404, 200}[p.n/4%4])
		fmt.Fprintf(w, "%s %s/%s %q", next(), next(), next(), next())
	case 1:
		h.Set("Content-Type", "text/html")
		w.WriteHeader(403)
		fmt.Fprintf(w, "<html><title>%s</title>%s</html>", next(), next())
	default:
		h.Set("Content-Type", "application/vnd."+strings.ReplaceAll(next(), " ", "")+"+json")
		w.WriteHeader([]int{401, 403, 404, 200, 500}[p.n/4%5])
		_ = json.NewEncoder(w).Encode(body())
	}
}

func canaryTarget(host string) Target {
	image := func(project string) registry.Image {
		return registry.Image{Host: host, Repository: project + "/" + canaries["image"], Tag: canaries["tag"]}
	}
	return Target{
		Credential: credentials.Credential{Username: canaries["user"], Password: credentials.NewSecret(canaries["password"])},
		Image:      image(canaries["project"]), Other: image(canaries["other"]), Public: image(canaries["public"]),
	}
}

// requireRedacted compares a capture with a fake, and requires that no canary is in it and in the differences.
func requireRedacted(t *testing.T, c Capture, d registrytest.Dialect) {
	t.Helper()
	c.Dialect = d.Name
	text, err := c.Encode()
	require.NoError(t, err)
	requireNoCanary(t, string(text))
	_, err = Decode(text)
	require.NoError(t, err)
	comparison, err := c.Compare(t.Context(), d)
	require.NoError(t, err)
	for _, difference := range comparison.Differences {
		requireNoCanary(t, difference.String()+difference.Key()+fmt.Sprintf("%+v", difference))
	}
	requireNoCanary(t, fmt.Sprint(comparison.Assumed))
}

func TestCanary(t *testing.T) {
	t.Parallel()
	for start := range 6 {
		p := &parrot{n: start * 11}
		c, err := (&Probe{Checker: &validate.Checker{RoundTripper: registrytest.NewRoundTripper(p)}}).Run(t.Context(), canaryTarget(canaries["host"]))
		require.NoError(t, err)
		require.Greater(t, len(c.Exchanges), 30)
		requireRedacted(t, c, registrytest.Zot())
	}
	for _, d := range registrytest.Dialects() {
		target := canaryTarget(canaries["host"])
		r := &registrytest.Registry{Dialect: d, Accounts: []registrytest.Account{{
			Username: target.Credential.Username, Password: target.Credential.Password, Pull: []string{canaries["project"] + "/*"}, Admin: true,
		}}, Public: []string{target.Public.Repository}, RateLimit: registrytest.RateLimit{Limit: 1000}}
		for _, image := range []registry.Image{target.Image, target.Other, target.Public} {
			_, err := r.Add(image.Repository+":"+image.Tag, registrytest.Image{})
			require.NoError(t, err)
		}
		c, err := (&Probe{Checker: &validate.Checker{RoundTripper: r.RoundTripper()}, WrongLogin: WrongLoginAlways}).Run(t.Context(), target)
		require.NoError(t, err)
		requireRedacted(t, c, d)
	}
}

// A capture with a text that is not redacted is not decoded, so that none of them gets into testdata.
func TestDecodeRejectsNames(t *testing.T) {
	t.Parallel()
	r, target, err := newFake(registrytest.Quay(), Setup{Depth: 2, Login: true}, world{})
	require.NoError(t, err)
	c, err := probeFake(t.Context(), r, target)
	require.NoError(t, err)
	for name, change := range map[string]func(c *Capture){
		"body":      func(c *Capture) { c.Exchanges[0].Reply.Body = "acme" },
		"challenge": func(c *Capture) { c.Exchanges[0].Reply.Challenges = []string{`Basic realm="acme"`} },
		"code":      func(c *Capture) { c.Exchanges[0].Reply.Codes = []string{"ACME"} },
		"header":    func(c *Capture) { c.Exchanges[0].Reply.Headers = map[string]string{"Link": "</v2/acme>"} },
		"name":      func(c *Capture) { c.Exchanges[0].Reply.Headers = map[string]string{"X-Acme": "N"} },
		"question":  func(c *Capture) { c.Exchanges[0].Question = "acme" },
		"realm":     func(c *Capture) { c.TokenServer.Realm = "https://acme.example/token" },
		"type":      func(c *Capture) { c.Setup.MediaType = "application/acme" },
		"dialect":   func(c *Capture) { c.Dialect = "acme" },
		"software":  func(c *Capture) { c.Software = "https://acme.example" },
		"version":   func(c *Capture) { c.Version = 2 },
		"skipped":   func(c *Capture) { c.Skipped = []Skipped{{Question: "acme"}} },
		"accepted":  func(c *Capture) { c.Accepted = []Accepted{{Difference: "("}} },
		"reason":    func(c *Capture) { c.Skipped = []Skipped{{"ping", NoLogin, "acme"}} },
		"words":     func(c *Capture) { c.Skipped = []Skipped{{"ping", NoLogin, "the registry"}} },
		"pattern":   func(c *Capture) { c.Accepted = []Accepted{{"^(acme|ping)/", "it differs"}} },
		"long":      func(c *Capture) { c.Accepted = []Accepted{{"^ping/", strings.Repeat("so ", 100)}} },
		"lines":     func(c *Capture) { c.Accepted = []Accepted{{"^ping/", "one\ntwo"}} },
		"host":      func(c *Capture) { c.Accepted = []Accepted{{"^ping/", "registry.acme.example does"}} },
		"e-mail":    func(c *Capture) { c.Accepted = []Accepted{{"^ping/", "ask ann@acme"}} },
		"address":   func(c *Capture) { c.Accepted = []Accepted{{"^ping/", "that of 10.1.2.3"}} },
		"hash":      func(c *Capture) { c.Accepted = []Accepted{{"^ping/", "of deadbeef01234567"}} },
		"product":   func(c *Capture) { c.Software = "acme.example.com" },
		"server":    func(c *Capture) { c.Software = "Harbor 10.1.2.3" },
	} {
		text, err := c.Encode()
		require.NoError(t, err)
		changed, err := Decode(text)
		require.NoError(t, err)
		change(&changed)
		text, err = changed.Encode()
		require.NoError(t, err)
		_, err = Decode(text)
		require.Error(t, err, name)
		require.NotContains(t, err.Error(), "acme")
	}
	_, err = Decode([]byte(`{"version":1,"more":1}`))
	require.Error(t, err)
	_, err = Decode(make([]byte, maxCapture+1))
	require.Error(t, err)
}

// Redaction is stable: a redacted text stays as it is, and has only words of the vocabulary, gaps and marks.
func FuzzRedact(f *testing.F) {
	for _, seed := range []string{
		"", "unknown tag=1", "repository team/app not found", "eyJhbGciOiJIUzI1NiJ9.eyJ.V-x", "10.0.0.1:5000", "a%2Fb%", "{host} {acme}", "?N?", "N.N-a.?", "é\xff",
		`{"errors":[{"code":"DENIED"}]}`, "https://registry.example.com/v2/?x=y&n=10", "sha256:0123", "TeAm", "n-a-n.N",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r := &redactor{}
		r.know(gapHost, "registry.example.com")
		r.know(gapRepository, "team/app")
		r.know(gapProject, "team")
		once := r.text(s)
		if twice := r.text(once); twice != once {
			t.Fatalf("%q becomes %q and then %q", s, once, twice)
		}
		if !clean(once) {
			t.Fatalf("%q becomes %q", s, once)
		}
		rest := once
		for _, gap := range gapNames {
			rest = strings.ReplaceAll(rest, gap, " ")
		}
		for word := range strings.FieldsFuncSeq(rest, func(c rune) bool { return !isWordRune(c) }) {
			if !isPublic(word) && word != numberMark {
				t.Fatalf("%q becomes %q, which has %q", s, once, word)
			}
		}
	})
}

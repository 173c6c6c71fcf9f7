package validate_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/validate"
)

// echoForms are the ways in which a server writes a secret.
var echoForms = map[string]func(string) string{
	"plain":   func(s string) string { return s },
	"base64":  func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
	"escaped": url.QueryEscape,
	"start":   func(s string) string { return s[:min(len(s), 20)] },
	"end":     func(s string) string { return s[max(len(s)-20, 0):] },
	"capital": strings.ToUpper,
}

// An echo is a registry that writes the login or token that it received last into one place of its responses. {} is
// that text.
type echo struct {
	form   func(string) string
	header [2]string // Of each response; empty for none.
	status int       // Of the responses to requests with a login; zero means 200.
	body   string    // Of these responses. Empty means what the path requires.
	bearer bool      // The registry has a token server.
	at     string    // The part of the path for which the above applies. Empty means all.

	mu       sync.Mutex
	received string
}

func (e *echo) RoundTrip(req *http.Request) (*http.Response, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	w := httptest.NewRecorder()
	sent := req.Header.Get("Authorization") != ""
	if _, password, ok := req.BasicAuth(); ok {
		e.received = password
	} else if _, token, ok := strings.Cut(req.Header.Get("Authorization"), "Bearer "); ok {
		e.received = token
	}
	if req.Body != nil {
		body, _ := io.ReadAll(req.Body)
		form, _ := url.ParseQuery(string(body))
		e.received, sent = form.Get("password"), true
	}
	fill := func(text string) string { return strings.ReplaceAll(text, "{}", e.form(e.received)) }
	if !strings.HasSuffix(req.URL.Host, "example.com") {
		return nil, fmt.Errorf("dial tcp: lookup %s: no such host", req.URL.Host)
	}
	challenge := `Basic realm="x"`
	if e.bearer {
		challenge = `Bearer realm="https://a.example.com/token",service="x"`
	}
	if !sent && req.URL.Path != "/token" {
		w.Header().Set("WWW-Authenticate", challenge)
		w.WriteHeader(http.StatusUnauthorized)
		return w.Result(), nil
	}
	body := `{"schemaVersion":2,"mediaType":"` + manifestType + `"}`
	w.Header().Set("Content-Type", manifestType)
	if req.URL.Path == "/token" {
		body = `{"token":"tokentoken.` + strings.Repeat("tToOkKeEnN", 9) + `","access_token":"tokentoken.` + strings.Repeat("tToOkKeEnN", 9) + `"}`
	}
	status := http.StatusOK
	if sent && strings.Contains(req.URL.Path, e.at) {
		if e.header[0] != "" {
			w.Header().Set(e.header[0], fill(e.header[1]))
		}
		if e.status != 0 {
			status = e.status
		}
		if e.body != "" {
			body = fill(e.body)
		}
	}
	w.WriteHeader(status)
	if req.Method != http.MethodHead {
		_, _ = io.WriteString(w, body)
	}
	res := w.Result()
	res.ContentLength = int64(len(body))
	res.Request = req
	return res, nil
}

// TestEcho has servers that write what they received into each header and field that a check reads. No text of the
// result or of the error contains it.
func TestEcho(t *testing.T) {
	const digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	passwords := []string{"correct-horse-battery-staple-17", `ca/na+ry "l&gin" é<1> ca/na+ry "l&gin"`}
	servers := map[string]*echo{}
	for _, status := range []int{0, 401, 403} {
		for _, h := range [][2]string{
			{"WWW-Authenticate", `Bearer realm="{}"`}, {"WWW-Authenticate", `Bearer realm="https://a.example.com/{}",service="x"`},
			{"WWW-Authenticate", `Bearer realm="https://{}.example.com/token"`}, {"WWW-Authenticate", `Bearer realm="https://a.example.com/token",service="{}"`},
			{"WWW-Authenticate", `Bearer realm="https://a.example.com/token",scope="{}"`}, {"WWW-Authenticate", `{} realm="x"`},
			{"WWW-Authenticate", `Bearer error="{}",realm="https://a.example.com/token"`}, {"WWW-Authenticate", `Basic realm="{}"`},
			{"Content-Type", "{}"}, {"Docker-Content-Digest", "{}"}, {"Docker-Content-Digest", "sha256:{}"},
			{"Location", "{}"}, {"Location", "https://{}.example.com/"}, {"Location", "https://{}.example.org/"}, {"Location", "http://{}/"},
			{"Location", "{}://a.example.com"}, {"Location", "https://a.example.com/{}"}, {"Docker-Ratelimit-Source", "{}"},
			{"Retry-After", "{}"}, {"Link", `</v2/team/app/tags/list?last={}>; rel="next"`}, {"Link", `<https://{}/v2/x?last=1>; rel="next"`},
			{"Server", "{}"}, {"Date", "{}"}, {"Ratelimit-Limit", "{}"}, {"X", ""},
		} {
			e := &echo{header: h, status: status}
			if h[0] == "Location" {
				e.status = http.StatusTemporaryRedirect
			}
			servers[fmt.Sprintf("%d %s %s", e.status, h[0], h[1])] = e
		}
		for _, body := range []string{
			`{"errors":[{"code":"{}","message":"no","detail":"no"}]}`, `{"errors":[{"code":"DENIED","message":"for {}"}]}`,
			`{"errors":[{"code":"DENIED","message":"` + strings.Repeat("long ", 38) + `{}"}]}`,
			`{"errors":[{"code":"DENIED","message":"x","detail":{"errors":[{"code":"{}"}]}}]}`,
			`{"errors":[{"code":"DENIED","message":"not authorized to perform: ecr:{}"}]}`,
			`{"details":"{}"}`, `{"error":"{}","error_description":"{}"}`, `{"message":"{}"}`, `{}`, `<html>{}</html>`,
			`{"token":"{} {}","access_token":"{} {}"}`, `{"token":"x","access_token":"x","expires_in":"{}"}`,
			`{"schemaVersion":2,"mediaType":"{}"}`,
			`{"schemaVersion":2,"mediaType":"` + manifestType + `","config":{"mediaType":"{}","digest":"` + digest + `","size":2},"layers":[{"mediaType":"{}","digest":"` + digest + `","size":2}]}`,
			`{"schemaVersion":2,"mediaType":"` + manifestType + `","config":{"mediaType":"x","digest":"{}","size":2}}`,
			`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"` + manifestType +
				`","digest":"` + digest + `","size":2,"platform":{"os":"{}","architecture":"{}","variant":"{}","os.version":"{}"}}]}`,
			`{"os":"{}","architecture":"{}"}`,
		} {
			servers[fmt.Sprintf("%d %s", status, body)] = &echo{body: body, status: status}
		}
	}
	for k, name := range slices.Sorted(maps.Keys(servers)) {
		s := servers[name]
		synctest.Test(t, func(t *testing.T) { // Some requests are repeated after a pause.
			n := 0
			for _, form := range slices.Sorted(maps.Keys(echoForms)) {
				write := echoForms[form]
				at := []string{"/v2/", "/token", "/manifests/"}[(n+k)%3]
				e := &echo{form: write, header: s.header, status: s.status, body: s.body, bearer: at != "/v2/", at: at}
				e.check(t, fmt.Sprintf("%s, %s, at %s", name, form, at), passwords[n%len(passwords)])
				n++
			}
		})
	}
}

func (e *echo) check(t *testing.T, name, password string) {
	t.Helper()
	candidate := validate.Candidate{Name: "ann", Source: credentials.Static(credentials.Credential{Username: "ann", Password: credentials.NewSecret(password)})}
	secrets := []string{password, "tokentoken." + strings.Repeat("tToOkKeEnN", 9)}
	var forbidden []string
	for _, secret := range secrets {
		for _, write := range echoForms {
			form := strings.ToLower(write(secret))
			forbidden = append(forbidden, form, strings.ToLower(fmt.Sprintf("%q", form)), form[:20], form[len(form)-20:])
		}
	}
	clean := func(what string, v any, err error) {
		encoded, failed := json.Marshal(v)
		require.NoError(t, failed)
		report, failed := json.Marshal(registry.IssuesOf(err))
		require.NoError(t, failed)
		text := strings.ToLower(fmt.Sprintf("%+v %v %+v %#v %s %s %s", v, err, err, err, registry.HintOf(err), encoded, report))
		for _, f := range forbidden {
			if strings.Contains(text, f) {
				require.Failf(t, "a secret is in the result", "%s of %s: %s has %s", what, name, text, f)
			}
		}
	}
	checkers := []validate.Checker{{}, {Runtimes: []validate.Runtime{validate.CRIO, validate.Docker}},
		{Deep: true, Platforms: []validate.Platform{{OS: "linux", Architecture: "amd64"}}}}
	for i := range checkers {
		c := &checkers[i]
		c.RoundTripper, c.MaxWait, c.Realms = e, -1, []string{"b.example.com"}
		got, err := c.Image(t.Context(), image(t, "a.example.com/team/app:1"), candidate)
		clean("Image", got, err)
		if i > 0 {
			continue
		}
		got, err = c.Login(t.Context(), endpoint(t, "a.example.com"), candidate)
		clean("Login", got, err)
		_, err = collect(c.Tags(t.Context(), image(t, "a.example.com/team/app"), candidate))
		clean("Tags", "", err)
	}
}

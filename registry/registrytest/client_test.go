package registrytest

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A client behaves like any Docker client: it sends a request without a login, and then follows the challenge.
type client struct {
	http     http.RoundTripper
	base     string
	username string // Empty means no login.
	password string
	accept   string
}

func newClient(r *Registry, username, password string) client {
	return client{r.RoundTripper(), "https://registry.test", username, password, "application/vnd.oci.image.manifest.v1+json"}
}

// An outcome is the final response to a request.
type outcome struct {
	*http.Response
	part string // The part that responded: "token" or "registry".
	body string
}

// String returns the outcome as in a table: "registry 404 NAME_UNKNOWN".
func (o outcome) String() string {
	s := fmt.Sprintf("%s %d", o.part, o.StatusCode)
	var body struct{ Errors []struct{ Code string } }
	if json.Unmarshal([]byte(o.body), &body) == nil && len(body.Errors) > 0 {
		s += " " + body.Errors[0].Code
	}
	if m := regexp.MustCompile(`error="(\w+)"`).FindStringSubmatch(o.Header.Get("WWW-Authenticate")); m != nil {
		s += " " + m[1]
	}
	return strings.TrimSpace(s)
}

func (c client) send(t *testing.T, part, method, u string, edit func(*http.Request)) outcome {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, u, nil)
	require.NoError(t, err)
	if c.accept != "" {
		req.Header.Set("Accept", c.accept)
	}
	if edit != nil {
		edit(req)
	}
	res, err := c.http.RoundTrip(req)
	require.NoError(t, err)
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	return outcome{res, part, string(body)}
}

var challengeForm = regexp.MustCompile(`(?i)^(basic|bearer) realm="([^"]*)"(?:,service="([^"]*)")?`)

// ask sends a request and follows the challenge.
func (c client) ask(t *testing.T, method, path string) outcome {
	t.Helper()
	first := c.send(t, "registry", method, c.base+path, nil)
	m := challengeForm.FindStringSubmatch(first.Header.Get("WWW-Authenticate"))
	switch {
	case first.StatusCode != 401 || m == nil:
		return first
	case strings.EqualFold(m[1], "basic"):
		if c.username == "" {
			return first
		}
		return c.send(t, "registry", method, c.base+path, c.basic)
	}
	token := c.token(t, m[2], m[3], scopeOf(method, path)...)
	if token.StatusCode != 200 {
		return token
	}
	return c.send(t, "registry", method, c.base+path, bearer(token.text(t)))
}

func scopeOf(method, path string) []string {
	m := regexp.MustCompile(`^/v2/(.+)/(manifests|blobs|tags)/`).FindStringSubmatch(path)
	switch {
	case m == nil:
		return nil
	case method == "GET" || method == "HEAD":
		return []string{"repository:" + m[1] + ":pull"}
	}
	return []string{"repository:" + m[1] + ":pull,push"}
}

func (c client) basic(req *http.Request) { req.SetBasicAuth(c.username, c.password) }

func bearer(token string) func(*http.Request) {
	return func(req *http.Request) { req.Header.Set("Authorization", "Bearer "+token) }
}

func (c client) token(t *testing.T, realm, service string, scopes ...string) outcome {
	t.Helper()
	u := realm + "?" + url.Values{"service": {service}, "scope": scopes}.Encode()
	if c.username == "" {
		return c.send(t, "token", "GET", u, nil)
	}
	return c.send(t, "token", "GET", u, c.basic)
}

func (o outcome) text(t *testing.T) string {
	t.Helper()
	var body struct {
		Token       string
		AccessToken string `json:"access_token"`
	}
	require.NoError(t, json.Unmarshal([]byte(o.body), &body))
	require.NotEmpty(t, body.Token+body.AccessToken)
	if body.Token == "" {
		return body.AccessToken
	}
	return body.Token
}

func form(req *http.Request, body string) {
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Body = io.NopCloser(strings.NewReader(body))
}

// fieldsOf returns the field names of a token response, and the value of expires_in.
func fieldsOf(t *testing.T, body string) string {
	t.Helper()
	var fields map[string]any
	require.NoError(t, json.Unmarshal([]byte(body), &fields))
	names := slices.Sorted(maps.Keys(fields))
	for i, name := range names {
		if name == "expires_in" {
			names[i] = fmt.Sprintf("expires_in=%v", fields[name])
		}
	}
	return strings.Join(names, ",")
}

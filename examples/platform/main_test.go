package main

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
	"github.com/regcred/regcred/registry/vendors"
)

// A world has the backend, and a registry that it can reach.
type world struct {
	t      *testing.T
	server *Server
	url    string
	quay   *registrytest.Registry
}

func newWorld(t *testing.T) *world {
	t.Helper()
	quay := &registrytest.Registry{
		Dialect:  registrytest.Quay(),
		Accounts: []registrytest.Account{{Username: "acme+pull", Password: credentials.NewSecret("s3cret"), Pull: []string{"acme/*"}}},
	}
	for _, name := range []string{"acme/shop:1.0", "acme/shop:1.1", "acme/blog:1.0"} {
		_, err := quay.Add(name, registrytest.Image{})
		require.NoError(t, err)
	}
	s := newServer()
	s.Pipeline.Checker.RoundTripper = quay.RoundTripper()
	h := httptest.NewServer(s.Handler())
	t.Cleanup(h.Close)
	return &world{t, s, h.URL, quay}
}

// call sends a request as a tenant, and returns the status and the body. It fails if a response holds a secret.
func (w *world) call(tenant, method, path, body string) (int, string) {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, w.url+path, strings.NewReader(body))
	require.NoError(w.t, err)
	if tenant != "" {
		r.Header.Set("Authorization", "Bearer "+tenant)
	}
	res, err := http.DefaultClient.Do(r)
	require.NoError(w.t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	require.NoError(w.t, err)
	require.NotContains(w.t, string(text), "s3cret")
	return res.StatusCode, string(text)
}

func (w *world) issues(status int, body string) []registry.Issue {
	w.t.Helper()
	require.Equal(w.t, 422, status, body)
	var answer struct{ Issues []registry.Issue }
	require.NoError(w.t, json.Unmarshal([]byte(body), &answer))
	require.NotEmpty(w.t, answer.Issues)
	return answer.Issues
}

// Every vendor that a user can choose has a schema for its form and a provider.
func TestVendorsAreServed(t *testing.T) {
	w := newWorld(t)
	for _, v := range vendors.All() {
		status, body := w.call("acme", "GET", "/schemas/"+string(v.Kind), "")
		require.Equal(t, 200, status, body)
		require.Contains(t, w.server.Pipeline.Provider, v.Kind)
	}
	require.Contains(t, start(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80}), "http://127.0.0.1:80/vendors")
}

const quayProfile = `{"name":"quay","kind":"custom","endpoint":"quay.io/acme","login":{"username":"acme+pull","password":"s3cret"}}`

func TestForm(t *testing.T) {
	w := newWorld(t)
	status, body := w.call("acme", "PUT", "/registries/quay", quayProfile)
	require.Equal(t, 200, status, body)
	require.Contains(t, body, `"password":{"redacted":true}`)
	require.Contains(t, body, `"version":1`)

	// The stored row holds no secret, and belongs to this tenant only.
	row, _, err := w.server.Rows.Get(t.Context(), "acme", "quay")
	require.NoError(t, err)
	require.Contains(t, string(row), `"sealed":"1:`)
	require.NotContains(t, string(row), "s3cret")
	for _, path := range []string{"/registries/quay", "/registries/quay/repositories", "/registries/quay/tags?repository=quay.io/acme/shop"} {
		status, _ = w.call("other", "GET", path, "")
		require.Equal(t, 404, status)
		status, _ = w.call("", "GET", path, "")
		require.Equal(t, 401, status)
	}
	require.NoError(t, w.server.Rows.Put(t.Context(), "other", "quay", row, 0)) // An attacker copies the row.
	status, body = w.call("other", "GET", "/registries/quay", "")
	require.Equal(t, 422, status)
	require.Contains(t, body, "cannot be opened")

	// The pickers.
	status, body = w.call("acme", "GET", "/registries/quay/repositories?search=shop", "")
	require.Equal(t, 200, status, body)
	require.JSONEq(t, `{"names":["quay.io/acme/shop"],"truncated":false}`, body)
	status, body = w.call("acme", "GET", "/registries/quay/tags?repository=quay.io/acme/shop", "")
	require.Equal(t, 200, status, body)
	require.JSONEq(t, `{"names":["1.0","1.1"],"truncated":false}`, body)
	got := w.issues(w.call("acme", "GET", "/registries/quay/tags?repository=ghcr.io/acme/shop", ""))
	require.Contains(t, got[0].Problem, "is not one that the profile serves")

	// The form is shown, changed and saved again, without the password.
	kept := strings.Replace(quayProfile, `"s3cret"`, `{"redacted":true}`, 1)
	status, body = w.call("acme", "PUT", "/registries/quay?version=1", strings.Replace(kept, "quay.io/acme", "quay.io/acme/shop", 1))
	require.Equal(t, 200, status, body)
	status, _ = w.call("acme", "PUT", "/registries/quay?version=1", kept)
	require.Equal(t, 409, status, "somebody changed it in between")
	got = w.issues(w.call("acme", "POST", "/registries/quay/check?version=2", strings.Replace(kept, "quay.io", "evil.example.com", 1)))
	require.Equal(t, "login.password", got[0].Field)
	require.Contains(t, got[0].Want, "because the endpoint changed")

	status, body = w.call("acme", "POST", "/registries/quay/check", "")
	require.Equal(t, 200, status, body)
	status, body = w.call("acme", "GET", "/registries", "")
	require.Equal(t, 200, status)
	require.JSONEq(t, `["quay"]`, body)
	status, _ = w.call("acme", "DELETE", "/registries/quay", "")
	require.Equal(t, 204, status)
	status, _ = w.call("acme", "GET", "/registries/quay", "")
	require.Equal(t, 404, status)
}

// Each mistake is reported at its field.
func TestMistakes(t *testing.T) {
	w := newWorld(t)
	for change, want := range map[string]struct {
		field string
		code  registry.Code
	}{
		`"s3cret"`:       {"login.password", registry.ErrInvalid},
		`"password"`:     {"login.passwrod", registry.ErrInvalid},
		`"quay.io/acme"`: {"endpoint", registry.ErrInvalid},
		`{"name"`:        {"tenant", registry.ErrInvalid},
		`"acme+pull"`:    {"login", registry.ErrUnauthorized},
	} {
		replacement := map[string]string{
			`"s3cret"`: `""`, `"password"`: `"passwrod"`, `"quay.io/acme"`: `"quay"`, `{"name"`: `{"tenant":"other","name"`, `"acme+pull"`: `"acme+other"`,
		}[change]
		got := w.issues(w.call("acme", "PUT", "/registries/quay", strings.Replace(quayProfile, change, replacement, 1)))
		require.Equal(t, want.field, got[0].Field, "%+v", got)
		require.Equal(t, want.code, got[0].Code)
	}
	_, version, err := w.server.Rows.Get(t.Context(), "acme", "quay")
	require.NoError(t, err)
	require.Zero(t, version, "nothing was stored")

	// Tenants cannot reach addresses of the platform's own network, or use the platform's identity.
	for _, profile := range []string{
		`{"name":"quay","kind":"custom","endpoint":"169.254.169.254:80","transport":{"plainHTTP":true},"login":{"anonymous":true}}`,
		`{"name":"quay","kind":"custom","endpoint":"quay.io","transport":{"proxy":"http://10.0.0.1:3128"},"login":{"anonymous":true}}`,
		`{"name":"quay","kind":"ecr","endpoint":"123456789012.dkr.ecr.us-east-1.amazonaws.com","login":{"ambient":true}}`,
		// A login in the wrong field, which call looks for in the responses.
		`{"name":"quay","kind":"custom","endpoint":"https://ann:s3cret@quay.io","login":{"anonymous":true}}`,
		`{"name":"quay","kind":"custom","endpoint":"quay.io","hosts":["ann:s3cret@quay.io"],"login":{"anonymous":true}}`,
		`{"name":"quay","kind":"custom","endpoint":"quay.io","transport":{"proxy":"http://ann:s3cret@proxy.example.com"},"login":{"anonymous":true}}`,
		`{"name":"quay","kind":"custom","endpoint":"quay.io","login":{"federated":{"subject":{"file":"https://ann:s3cret@quay.io"},"exchange":{"quay":{"robot":"a+b"}}}}}`,
		`{"name":"quay","kind":"gcr","endpoint":"gcr.io","login":{"google":{"impersonate":"https://ann:s3cret@example.com"}}}`,
	} {
		w.issues(w.call("acme", "PUT", "/registries/quay", profile))
	}
	for _, asked := range w.quay.Requests() {
		require.Equal(t, "quay.io", asked.Host)
	}

	status, _ := w.call("acme", "PUT", "/registries/quay", strings.Repeat(" ", maxBody+1))
	require.Equal(t, 413, status)
	got := w.issues(w.call("acme", "PUT", "/registries/other", quayProfile))
	require.Contains(t, got[0].Problem, "the path has")
}

// A registry that is down is no error of the profile: the user may try again, or insist.
func TestRegistryIsDown(t *testing.T) {
	w := newWorld(t)
	w.quay.Inject(registrytest.Fault{Answer: registrytest.Answer{Status: 429}, Header: map[string]string{"Retry-After": "120"}})
	status, body := w.call("acme", "PUT", "/registries/quay", quayProfile)
	require.Equal(t, 503, status, body)
	require.Contains(t, body, `"code":"rate_limited"`)
	status, body = w.call("acme", "PUT", "/registries/quay?check=false", quayProfile)
	require.Equal(t, 200, status, body)
}

func TestForOtherSites(t *testing.T) {
	w := newWorld(t)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, w.url+"/registries/quay", strings.NewReader(quayProfile))
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer acme")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	res, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, 403, res.StatusCode)
}

func TestChoices(t *testing.T) {
	w := newWorld(t)
	status, body := w.call("", "GET", "/vendors", "")
	require.Equal(t, 200, status)
	require.Contains(t, body, `"id":"harbor"`)
	status, body = w.call("", "GET", "/schemas/custom", "")
	require.Equal(t, 200, status)
	require.True(t, json.Valid([]byte(body)))
}

// The guide quotes this code exactly.
func TestGuide(t *testing.T) {
	guide, err := os.ReadFile("../../docs/platform.md")
	require.NoError(t, err)
	var code string
	for _, file := range []string{"server.go", "main.go"} {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		code += string(text)
	}
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(guide), -1)
	require.NotEmpty(t, blocks)
	for _, b := range blocks {
		require.Contains(t, code, b[1])
	}
}

package subjects_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/providers/subjects"
	"github.com/regcred/regcred/registry"
)

var _ providers.Subjects = subjects.Set{}

func TestSet(t *testing.T) {
	dir := t.TempDir()
	path := func(name, text string) string {
		file := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		return file
	}
	token, secret, empty := path("token", "from-file\n"), path("kubeconfig", "SEKRET"), path("empty", " \n")
	t.Setenv("REGISTRY_ID_TOKEN", "from-variable")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "SEKRET")
	set := subjects.Set{
		Files: []string{token, empty, dir + "/missing"}, Environment: []string{"REGISTRY_ID_TOKEN", "UNSET"},
		Sources: map[string]subjects.Func{
			"spiffe": func(_ context.Context, audience string) (credentials.Secret, error) {
				return credentials.NewSecret("for " + audience), nil
			},
			"broken": func(context.Context, string) (credentials.Secret, error) {
				return credentials.Secret{}, errors.New("the agent rejected eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln")
			},
		},
	}
	ask := func(tenant string, s credentials.Subject) (credentials.Secret, error) {
		return set.SubjectToken(t.Context(), providers.SubjectRequest{Profile: registry.Profile{Tenant: tenant}, Subject: s, Audience: "a"})
	}
	tests := map[string]struct {
		subject credentials.Subject
		want    string
		code    registry.Code
	}{
		"file":             {credentials.Subject{File: token}, "from-file", ""},
		"variable":         {credentials.Subject{Environment: "REGISTRY_ID_TOKEN"}, "from-variable", ""},
		"function":         {credentials.Subject{Source: "spiffe"}, "for a", ""},
		"unlisted file":    {credentials.Subject{File: secret}, "", registry.ErrDenied},
		"another spelling": {credentials.Subject{File: dir + "/./token"}, "", registry.ErrDenied},
		"unlisted var":     {credentials.Subject{Environment: "AWS_SECRET_ACCESS_KEY"}, "", registry.ErrDenied},
		"unknown source":   {credentials.Subject{Source: "vault"}, "", registry.ErrDenied},
		"no Kubernetes":    {credentials.Subject{Kubernetes: &credentials.ServiceAccount{Name: "a"}}, "", registry.ErrDenied},
		"nothing":          {credentials.Subject{}, "", registry.ErrDenied},
		"empty file":       {credentials.Subject{File: empty}, "", registry.ErrNoIdentity},
		"missing file":     {credentials.Subject{File: dir + "/missing"}, "", registry.ErrNoIdentity},
		"variable unset":   {credentials.Subject{Environment: "UNSET"}, "", registry.ErrNoIdentity},
		"function fails":   {credentials.Subject{Source: "broken"}, "", registry.ErrNoIdentity},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := ask("", test.subject)
			if test.code != "" {
				require.ErrorIs(t, err, test.code)
				require.NotContains(t, err.Error(), "SEKRET")
				require.NotContains(t, err.Error(), "eyJ")
				return
			}
			require.NoError(t, err)
			require.Equal(t, test.want, got.Reveal())
			_, err = ask("acme", test.subject)
			require.ErrorIs(t, err, registry.ErrDenied, "the identity of the program is not a tenant's")
		})
	}
	set.Allow = func(tenant string, s credentials.Subject) bool { return tenant == "acme" && s.Source == "spiffe" }
	_, err := ask("acme", credentials.Subject{Source: "spiffe"})
	require.NoError(t, err)
	_, err = ask("", credentials.Subject{Source: "spiffe"})
	require.ErrorIs(t, err, registry.ErrDenied)
}

func TestGitHubActions(t *testing.T) {
	var status int
	answer := ""
	elsewhere := 0
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere++ }))
	defer other.Close()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer job-token" || r.URL.Query().Get("api-version") != "2.0" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("Location", other.URL)
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(status)
		if answer != "" {
			_, _ = w.Write([]byte(answer))
			return
		}
		_, _ = w.Write([]byte(`{"count":1,"value":"token for ` + r.URL.Query().Get("audience") + `"}`))
	}))
	defer server.Close()
	source := subjects.GitHubActions(server.Client())
	_, err := source(t.Context(), "a")
	require.ErrorIs(t, err, registry.ErrNoIdentity)
	require.ErrorContains(t, err, "id-token: write")

	t.Setenv("ACTIONS_ID_TOKEN_REQUEST_URL", server.URL+"/?api-version=2.0")
	t.Setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "job-token")
	status = 200
	got, err := source(t.Context(), "https://quay.io")
	require.NoError(t, err)
	require.Equal(t, "token for https://quay.io", got.Reveal())
	set := subjects.Set{Sources: map[string]subjects.Func{"github-actions": source}}
	for _, test := range []struct {
		status int
		answer string
		want   registry.Code
		wait   time.Duration
	}{
		{302, "", registry.ErrNoIdentity, 0},
		{307, "", registry.ErrNoIdentity, 0},
		{404, "", registry.ErrNoIdentity, 0},
		{429, "", registry.ErrRateLimited, 7 * time.Second},
		{500, "", registry.ErrUnavailable, 7 * time.Second},
		{503, "", registry.ErrUnavailable, 7 * time.Second},
		{200, "job-token is unreadable", registry.ErrUnavailable, 0},
		{200, "{}", registry.ErrUnavailable, 0},
	} {
		status, answer = test.status, test.answer
		_, err = set.SubjectToken(t.Context(), providers.SubjectRequest{Subject: credentials.Subject{Source: "github-actions"}, Audience: "a"})
		e, ok := errors.AsType[*registry.Error](err)
		require.True(t, ok, err)
		require.Equal(t, test.want, e.Code, test)
		require.Equal(t, test.wait, e.RetryAfter(), test)
		require.NotContains(t, err.Error(), "job-token")
	}
	require.Zero(t, elsewhere, "the job's token stays at its host")
}

package regcred_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/validate"
)

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// The handler of a form shows each problem at its field, with no code of its own.
func TestReportOfALogin(t *testing.T) {
	server := httptest.NewTLSServer(harbor(t))
	defer server.Close()
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // The client ends the handshake.
	unknownHost := roundTripper(func(req *http.Request) (*http.Response, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: req.URL.Hostname(), IsNotFound: true}}
	})
	for name, test := range map[string]struct {
		pipeline *regcred.Pipeline
		profile  registry.Profile
		field    string
		code     registry.Code
	}{
		"a rejected login": {newPipeline(hosts{"harbor.test": harbor(t)}), profile("a", "harbor.test", "robot-a", "wrong"),
			"login", registry.ErrUnauthorized},
		"an unknown host": {&regcred.Pipeline{Checker: validate.Checker{RoundTripper: unknownHost}}, profile("a", "harbor.test", "robot-a", "pw-a"),
			"endpoint", registry.ErrHostNotFound},
		"an unknown issuer": {new(regcred.Pipeline), profile("a", strings.TrimPrefix(server.URL, "https://"), "robot-a", "pw-a"),
			"transport.caBundle", registry.ErrTLSUnknownIssuer},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := test.pipeline.CheckLogin(t.Context(), test.profile)
			issues := registry.IssuesOf(err)
			require.Len(t, issues, 1)
			require.Equal(t, test.field, issues[0].Field, "%v", err)
			require.Equal(t, test.code, issues[0].Code)
			require.NotEmpty(t, issues[0].Hint)
		})
	}
}

// All calls about one profile name its fields as a form has them.
func TestReportOfAProfile(t *testing.T) {
	incomplete := profile("a", "http://harbor.test", "", "pw-a")
	mistyped, unknown := profile("a", "harbor.test", "robot-a", "pw-a"), profile("a", "harbor.test", "robot-a", "pw-a")
	mistyped.Kind, unknown.Kind = "Custom ", "harbor"
	for name, test := range map[string]struct {
		profile registry.Profile
		fields  []string
		code    registry.Code
	}{
		"incomplete":    {incomplete, []string{"endpoint", "login.username"}, registry.ErrInvalid},
		"mistyped kind": {mistyped, []string{"kind"}, registry.ErrInvalid},
		"unknown kind":  {unknown, []string{"kind"}, registry.ErrNoProvider},
	} {
		t.Run(name, func(t *testing.T) {
			pipeline := newPipeline(nil)
			_, login := pipeline.CheckLogin(t.Context(), test.profile)
			_, credential := pipeline.Credential(t.Context(), test.profile)
			_, candidate := pipeline.Candidate(test.profile)
			_, run := pipeline.Run(t.Context(), regcred.Request{Profiles: []registry.Profile{test.profile}})
			for who, err := range map[string]error{"CheckLogin": login, "Credential": credential, "Candidate": candidate, "Run": run} {
				require.Equal(t, test.code, registry.CodeOf(err), "%s: %v", who, err)
				var fields []string
				for _, issue := range registry.IssuesOf(err) {
					require.Equal(t, test.code, issue.Code)
					fields = append(fields, strings.TrimPrefix(issue.Field, "profiles[0]."))
					if who != "Run" {
						require.NotContains(t, issue.Field, "profiles", who)
					}
				}
				require.Equal(t, test.fields, fields, "%s: %v", who, err)
			}
		})
	}
}

// An empty list of profiles is not a wish for an empty secret, which would replace a good one.
func TestRunWithoutProfiles(t *testing.T) {
	outcome, err := newPipeline(nil).Run(t.Context(), regcred.Request{})
	require.ErrorIs(t, err, registry.ErrInvalid)
	require.ErrorContains(t, err, "profiles are missing")
	require.Zero(t, outcome)
}

// Every problem of an invalid request has its path in the request.
func TestReportOfARequest(t *testing.T) {
	pipeline := newPipeline(nil)
	bad := profile("a", "harbor.test", "", "pw-a")
	_, err := pipeline.Run(context.Background(), regcred.Request{Profiles: []registry.Profile{bad, bad}, Images: []string{"Ghcr.io/A"}})
	var fields []string
	for _, issue := range registry.IssuesOf(err) {
		require.Equal(t, registry.ErrInvalid, issue.Code)
		fields = append(fields, issue.Field)
	}
	require.Equal(t, []string{"profiles[0].login.username", "profiles[1].login.username", "profiles[1].name", "images[0]"}, fields)
	require.False(t, errors.Is(err, registry.ErrNoProvider))
}

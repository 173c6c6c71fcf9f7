package regcred_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred"
	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/validate"
)

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A Pipeline without a provider serves System registries.
func TestSystemRegistryWithoutProvider(t *testing.T) {
	var asked string
	pipeline := regcred.Pipeline{Checker: validate.Checker{RoundTripper: roundTrip(func(r *http.Request) (*http.Response, error) {
		asked = r.Method + " " + r.URL.String()
		const body = `{"username":"team+ci","password":"minted","issuedAt":"2020-01-01T00:00:00Z","expiresAt":"2999-01-01T00:00:00Z"}`
		return &http.Response{StatusCode: http.StatusCreated, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
	})}}
	_, err := pipeline.Source(registry.Profile{
		Name: "system", Kind: registry.System, Endpoint: "registry.example.com/team",
		Login: credentials.Login{Username: "team+ci", Password: credentials.NewSecret("rcr_secret")},
	}).Credential(t.Context())
	require.Equal(t, "POST https://registry.example.com/api/v1/logins", asked, err)
}

package validate_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
	"github.com/regcred/regcred/validate"
)

type panickingBody struct{ io.ReadCloser }

func (panickingBody) Read([]byte) (int, error) { panic("secret") }

// A panic in a function of the program is an error of the images that need it, and does not end the process.
func TestPanics(t *testing.T) {
	r := newRegistry(registrytest.DistributionBasic(), user("ann", "right", "*"))
	add(t, r, registrytest.Image{}, "team/app:1", "team/app:2")
	broken := func(part string, inBody bool) roundTripper {
		return func(req *http.Request) (*http.Response, error) {
			res, err := r.RoundTripper().RoundTrip(req)
			if strings.Contains(req.URL.Path, part) {
				if !inBody {
					panic("secret")
				}
				res.Body = panickingBody{res.Body}
			}
			return res, err
		}
	}
	for name, tc := range map[string]*struct {
		checker   validate.Checker
		candidate validate.Candidate
		passes    bool // Each image has a result without an error.
	}{
		"Candidate.Source": {candidate: validate.Candidate{
			Source: credentials.Func(func(context.Context) (credentials.Credential, error) { panic("secret") }),
		}},
		"Candidate.OnRejected": {candidate: validate.Candidate{
			Source: source("ann", "wrong"), OnRejected: func(credentials.Credential) { panic("secret") },
		}},
		"Checker.Progress":                  {checker: validate.Checker{Progress: func(validate.Progress) { panic("secret") }}, passes: true},
		"Checker.RoundTripper":              {checker: validate.Checker{RoundTripper: broken("/manifests/", false)}},
		"Checker.RoundTripper, in the body": {checker: validate.Checker{RoundTripper: broken("/manifests/", true)}},
		"Checker.RoundTripper, of a blob":   {checker: validate.Checker{RoundTripper: broken("/blobs/", false), Deep: true}},
		"Checker.RoundTripper, of GET /v2/": {checker: validate.Checker{RoundTripper: broken("/v2/", false)}},
	} {
		t.Run(name, func(t *testing.T) {
			function, _, _ := strings.Cut(name, ",")
			c := &tc.checker
			c.PerRegistry = 1 // A slot that a panic does not release blocks the next request.
			if c.RoundTripper == nil {
				c.RoundTripper = r.RoundTripper()
			}
			if tc.candidate.Source == nil {
				tc.candidate = as("ann", "right")
			}
			candidates := []validate.Candidate{tc.candidate}
			results, err := c.Images(t.Context(), []validate.Request{
				{Image: image(t, "a.example.com/team/app:1"), Candidates: candidates},
				{Image: image(t, "a.example.com/team/app:2"), Candidates: candidates},
			})
			require.ErrorContains(t, err, function+" panicked in ")
			require.NotContains(t, err.Error(), "secret")
			require.Equal(t, registry.ErrProvider, registry.CodeOf(err))
			require.Len(t, results, 2)
			for _, got := range results {
				require.NotEmpty(t, got.Image)
				require.Equal(t, tc.passes, got.Err == nil, "%v", got.Err)
			}
			if function == "Candidate.Source" || function == "Checker.RoundTripper" {
				_, err = c.Login(t.Context(), endpoint(t, "a.example.com"), tc.candidate)
				if err != nil {
					require.ErrorContains(t, err, "panicked in ")
				}
			}
		})
	}
}

package registry_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/field"
	"github.com/regcred/regcred/registry"
)

func ExampleIssuesOf() {
	profile := registry.Profile{Name: "team-a", Kind: registry.Custom, Endpoint: "ghcr.io", Login: credentials.Login{Username: "jo"}}
	rejected := &registry.Error{
		Op: "check login", Ref: "ghcr.io", Code: registry.ErrUnauthorized, Hint: "make a new token with the scope read:packages",
		Err: errors.New("GET https://ghcr.io/token: 401 UNAUTHORIZED"),
	}
	out, _ := json.MarshalIndent(registry.IssuesOf(errors.Join(profile.Validate(), rejected)), "", "  ")
	fmt.Println(string(out))
	// Output:
	// [
	//   {
	//     "field": "login.password",
	//     "subject": "profile \"team-a\"",
	//     "code": "invalid",
	//     "problem": "is missing",
	//     "want": "a password or token"
	//   },
	//   {
	//     "field": "login",
	//     "subject": "ghcr.io",
	//     "code": "unauthorized",
	//     "problem": "unauthorized: GET https://ghcr.io/token: 401 UNAUTHORIZED",
	//     "hint": "make a new token with the scope read:packages"
	//   }
	// ]
}

func TestReport(t *testing.T) {
	var list field.List
	list.Add("name", "is missing", "a name")
	list.Under("kind", &registry.Error{Code: registry.ErrNoProvider, Hint: "add one", Err: io.EOF})
	list.Under("images[0]", registry.ErrDenied)
	fields := list.Err("request")
	threeIssues := []registry.Issue{
		{Field: "name", Subject: "request", Code: registry.ErrInvalid, Problem: "is missing", Want: "a name"},
		{Field: "kind", Subject: "request", Code: registry.ErrNoProvider, Problem: "no provider: EOF", Hint: "add one"},
		{Field: "images[0]", Subject: "request", Code: registry.ErrDenied, Problem: "denied", Hint: registry.ErrDenied.Hint()},
	}
	image := &registry.Error{Op: "check image", Ref: "ghcr.io/a/b:1", Code: registry.ErrImageNotFound}
	limited := &registry.Error{Op: "get credential", Ref: `for profile "a"`, Code: registry.ErrRateLimited, Wait: 1500 * time.Millisecond}
	imageIssue := registry.Issue{
		Image: "ghcr.io/a/b:1", Code: registry.ErrImageNotFound, Problem: "image not found", Hint: registry.ErrImageNotFound.Hint(),
	}
	limitedIssue := registry.Issue{
		Subject: `profile "a"`, Code: registry.ErrRateLimited, Problem: "rate limited", Hint: registry.ErrRateLimited.Hint(), RetryAfter: 2,
	}
	later := &credentials.BackoffError{Failures: 1, Until: time.Now().Add(10 * time.Second), Err: limited}
	waiting := limitedIssue
	waiting.RetryAfter = 10
	outer := &registry.Error{Op: "check image", Ref: "ghcr.io/a/b:1", Code: registry.ErrRateLimited, Err: limited}

	for name, test := range map[string]struct {
		err  error
		want []registry.Issue
	}{
		"nil":                    {nil, nil},
		"fields":                 {fields, threeIssues},
		"fields, wrapped":        {fmt.Errorf("x: %w", &registry.Error{Op: "read request", Code: registry.ErrInvalid, Err: fields}), threeIssues},
		"one field":              {&field.Error{Field: "name", Problem: "is odd"}, []registry.Issue{{Field: "name", Code: registry.ErrInvalid, Problem: "is odd"}}},
		"an image":               {image, []registry.Issue{imageIssue}},
		"joined":                 {errors.Join(image, nil, limited), []registry.Issue{imageIssue, limitedIssue}},
		"joined twice, wrapped":  {fmt.Errorf("deploy: %w", errors.Join(errors.Join(image), limited)), []registry.Issue{imageIssue, limitedIssue}},
		"several causes of one":  {fmt.Errorf("%w: %w", io.EOF, image), []registry.Issue{imageIssue}},
		"a backoff":              {later, []registry.Issue{waiting}},
		"the wait of a cause":    {outer, []registry.Issue{{Image: "ghcr.io/a/b:1", Code: registry.ErrRateLimited, Problem: "rate limited: " + limited.Error(), Hint: registry.ErrRateLimited.Hint(), RetryAfter: 2}}},
		"an error of elsewhere":  {io.EOF, []registry.Issue{{Code: registry.ErrUnknown, Problem: "EOF"}}},
		"the text around a code": {fmt.Errorf("link shop/default: %w", registry.ErrConflict), []registry.Issue{{Code: registry.ErrConflict, Problem: "link shop/default: conflict", Hint: registry.ErrConflict.Hint()}}},
		"a code and a cause":     {fmt.Errorf("%w: %w", registry.ErrConflict, io.EOF), []registry.Issue{{Code: registry.ErrConflict, Problem: "conflict: EOF", Hint: registry.ErrConflict.Hint()}}},
		"an expired credential":  {credentials.ErrCredentialExpired, []registry.Issue{{Field: "login", Code: registry.ErrExpired, Problem: "credential is expired", Hint: registry.ErrExpired.Hint()}}},
	} {
		require.Equal(t, test.want, registry.IssuesOf(test.err), name)
	}
}

func TestReportPointsAtTheField(t *testing.T) {
	for code, want := range map[registry.Code]string{
		registry.ErrUnauthorized:     "login",
		registry.ErrExpired:          "login",
		registry.ErrHostNotFound:     "endpoint",
		registry.ErrNotRegistry:      "endpoint",
		registry.ErrTLSWrongName:     "endpoint",
		registry.ErrTLSUnknownIssuer: "transport.caBundle",
		registry.ErrProxy:            "transport.proxy",
		registry.ErrTimeout:          "",
		registry.ErrDenied:           "",
	} {
		issues := registry.IssuesOf(&registry.Error{Op: "check login", Ref: "ghcr.io", Code: code})
		require.Len(t, issues, 1)
		require.Equal(t, want, issues[0].Field, code)
	}
}

package subjects

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers/internal/cloud"
	"github.com/regcred/regcred/registry"
)

// maxAnswer is far larger than any response with a token, in bytes.
const maxAnswer = 64 << 10

// GitHubActions returns a Func that requests the token of the job that the process runs in, from GitHub or Forgejo.
// The job needs the permission id-token: write, which sets ACTIONS_ID_TOKEN_REQUEST_URL and
// ACTIONS_ID_TOKEN_REQUEST_TOKEN: https://docs.github.com/actions/reference/security/oidc.
//
// The client carries the request. If nil, a client with a limit of 30 seconds is used. Redirects are not followed,
// because the request holds the job's own token.
func GitHubActions(client *http.Client) Func {
	c := http.Client{Timeout: 30 * time.Second}
	if client != nil {
		c = *client
	}
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	fail := func(code registry.Code, wait time.Duration, err error) (credentials.Secret, error) {
		return credentials.Secret{}, &registry.Error{Op: "get subject token", Ref: "of GitHub Actions", Code: code, Wait: wait, Err: err}
	}
	return func(ctx context.Context, audience string) (credentials.Secret, error) {
		address, token := os.Getenv("ACTIONS_ID_TOKEN_REQUEST_URL"), os.Getenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN")
		if address == "" || token == "" {
			return credentials.Secret{}, &registry.Error{
				Op: "get subject token", Ref: "of GitHub Actions", Code: registry.ErrNoIdentity,
				Hint: "give the job the permission id-token: write",
				Err:  errors.New("ACTIONS_ID_TOKEN_REQUEST_URL or ACTIONS_ID_TOKEN_REQUEST_TOKEN is not set"),
			}
		}
		u, err := url.Parse(address)
		if err != nil || u.Scheme != "https" || u.Host == "" {
			return credentials.Secret{}, errors.New("ACTIONS_ID_TOKEN_REQUEST_URL is not an https URL")
		}
		query := u.Query()
		query.Set("audience", audience)
		u.RawQuery = query.Encode()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
		if err != nil {
			return credentials.Secret{}, errors.New("ACTIONS_ID_TOKEN_REQUEST_URL is not a URL")
		}
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("Accept", "application/json; api-version=2.0")
		res, err := c.Do(req)
		if err != nil {
			return fail(registry.NetworkCode(err), 0, errors.New("no response"))
		}
		defer func() { _ = res.Body.Close() }()
		refused := fmt.Errorf("GET %s: %s", u.Host, res.Status)
		switch status := res.StatusCode; {
		case status == http.StatusTooManyRequests:
			return fail(registry.ErrRateLimited, cloud.RetryAfter(res.Header), refused)
		case status >= 500:
			return fail(registry.ErrUnavailable, cloud.RetryAfter(res.Header), refused)
		case status != http.StatusOK:
			return fail(registry.ErrNoIdentity, 0, refused)
		}
		body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
		var answer struct {
			Value credentials.Secret `json:"value"`
		}
		if err != nil || json.Unmarshal(body, &answer) != nil || answer.Value.IsZero() {
			return fail(registry.ErrUnavailable, 0, fmt.Errorf("GET %s: the response has no token", u.Host))
		}
		return answer.Value, nil
	}
}

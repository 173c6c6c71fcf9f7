package system

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers/internal/cloud"
	"github.com/regcred/regcred/registry"
)

// loginsPath is the path of the registry's API that issues logins.
const loginsPath = "/api/v1/logins"

// maxAnswer is far larger than a valid response, which is under 2 KiB.
const maxAnswer = 64 << 10

type loginRequest struct {
	Repositories []string `json:"repositories"`
	Actions      []string `json:"actions"`
	Seconds      int64    `json:"seconds"`
}

type loginAnswer struct {
	Username  string             `json:"username"`
	Password  credentials.Secret `json:"password"`
	IssuedAt  time.Time          `json:"issuedAt"`
	ExpiresAt time.Time          `json:"expiresAt"`
}

// ask requests a login from the registry.
func (v Provider) ask(ctx context.Context, p registry.Profile, repositories []string) (credentials.Credential, error) {
	endpoint, err := p.MainEndpoint()
	if err != nil {
		return credentials.Credential{}, v.fail(p, registry.ErrInvalid, err)
	}
	client, done, err := cloud.Client(v.RoundTripper, v.Transports, p.Transport)
	if err != nil {
		return credentials.Credential{}, v.fail(p, registry.ErrInvalid, err)
	}
	defer done()
	client.Timeout = callTimeout

	body, err := json.Marshal(loginRequest{repositories, []string{"pull"}, int64(v.lifetime() / time.Second)})
	if err != nil {
		return credentials.Credential{}, v.fail(p, registry.ErrUnknown, err)
	}
	url := p.Transport.Scheme() + "://" + endpoint.Host + loginsPath
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return credentials.Credential{}, v.fail(p, registry.ErrInvalid, err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.SetBasicAuth(p.Login.Username, p.Login.Password.Reveal())
	resp, err := client.Do(req)
	if err != nil {
		return credentials.Credential{}, v.unanswered(ctx, p, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusCreated && ctx.Err() == nil {
		return credentials.Credential{}, v.refused(p, url, resp)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil || ctx.Err() != nil { // The other end may still respond while a connection is torn down.
		return credentials.Credential{}, v.unanswered(ctx, p, err)
	}
	if len(data) > maxAnswer {
		return credentials.Credential{}, v.fail(p, registry.ErrTooLarge, fmt.Errorf("POST %s: answer is larger than %d bytes", url, maxAnswer))
	}
	var answer loginAnswer
	if json.Unmarshal(data, &answer) != nil { // Its error could quote the password.
		return credentials.Credential{}, v.fail(p, registry.ErrNotRegistry, fmt.Errorf("POST %s: answer is not JSON", url))
	}
	c := credentials.Credential{Username: answer.Username, Password: answer.Password, IssuedAt: answer.IssuedAt, ExpiresAt: answer.ExpiresAt}
	if err := c.Validate(time.Now()); err != nil {
		return credentials.Credential{}, v.fail(p, registry.ErrUnavailable, fmt.Errorf("POST %s: %w", url, err))
	}
	return c, nil
}

// refused returns the error for an unexpected response. It does not quote the body.
func (v Provider) refused(p registry.Profile, url string, resp *http.Response) error {
	e := &registry.Error{
		Op: "get credential", Ref: fmt.Sprintf("for profile %q", p.Name),
		Err: fmt.Errorf("POST %s: %s", url, resp.Status),
	}
	switch status := resp.StatusCode; {
	case status == http.StatusUnauthorized:
		e.Code = registry.ErrUnauthorized
	case status == http.StatusForbidden:
		e.Code, e.Hint = registry.ErrDenied, "grant this account the right to pull below the profile's endpoint"
	case status == http.StatusBadRequest:
		e.Code, e.Hint = registry.ErrInvalid, "set a lifetime that the registry allows"
	case status == http.StatusTooManyRequests:
		e.Code, e.Wait = registry.ErrRateLimited, cloud.RetryAfter(resp.Header)
	case status >= 500:
		e.Code = registry.ErrUnavailable
	default:
		e.Code, e.Hint = registry.ErrNotRegistry, "check the endpoint: the server there is not a System registry"
	}
	return e
}

// unanswered returns the error for a missing response. The end of ctx takes precedence over the connection error it
// caused.
func (v Provider) unanswered(ctx context.Context, p registry.Profile, err error) error {
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return v.fail(p, registry.ErrTimeout, context.Cause(ctx))
	case ctx.Err() != nil:
		return v.fail(p, registry.ErrCanceled, context.Cause(ctx))
	}
	return v.fail(p, registry.NetworkCode(err), err)
}

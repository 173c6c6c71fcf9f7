package gcr

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"golang.org/x/oauth2"

	"github.com/regcred/regcred/providers/internal/cloud"
	"github.com/regcred/regcred/registry"
)

// A wire carries the calls of one session. Package oauth2 sends requests without a context and reports error responses
// as text with the whole body; the wire adds the session's context to each request, and records the failure.
type wire struct {
	ctx    context.Context
	google http.RoundTripper // With the profile's transport.
	direct http.RoundTripper // For services of the machine.

	failure error // A *refusal, or the reason for a missing response.
}

func (w *wire) client() *http.Client {
	return &http.Client{
		Transport:     w,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // A secret is for one host.
	}
}

// context makes package oauth2 use the wire.
func (w *wire) context(ctx context.Context) context.Context {
	return context.WithValue(ctx, oauth2.HTTPClient, w.client())
}

// maxAnswer is far larger than any response: tokens have about a thousand characters.
const maxAnswer = 1 << 20

// RoundTrip sends plain HTTP directly: only metadata servers use it, and no proxy reaches them.
func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	via := w.google
	if req.URL.Scheme == "http" {
		via = w.direct
	}
	res, err := via.RoundTrip(req.Clone(w.ctx))
	if err != nil {
		w.failure = fmt.Errorf("%s: %w", describe(req), err)
		return nil, w.failure
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		w.failure = fmt.Errorf("%s: %w", describe(req), err)
		return nil, w.failure
	case len(body) > maxAnswer:
		w.failure = fmt.Errorf("%s: %w: more than %d bytes", describe(req), registry.ErrTooLarge, maxAnswer)
		return nil, w.failure
	case res.StatusCode < 200 || res.StatusCode > 299:
		w.failure = refusalOf(req, res, body)
	}
	res.Body = io.NopCloser(bytes.NewReader(body))
	return res, nil
}

// describe omits the query, which may hold a secret.
func describe(req *http.Request) string {
	return fmt.Sprintf("%s %s://%s%s", req.Method, req.URL.Scheme, req.URL.Host, req.URL.EscapedPath())
}

var errNoJSON = errors.New("the answer is not what was asked for")

// json sends the request and decodes the response.
func (w *wire) json(req *http.Request, into any) (http.Header, error) {
	w.failure = nil
	res, err := w.client().Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	if w.failure != nil {
		return res.Header, w.failure
	}
	if err := json.NewDecoder(res.Body).Decode(into); err != nil {
		return res.Header, fmt.Errorf("%s: %w", describe(req), errNoJSON) // The decoder's error may quote the token.
	}
	return res.Header, nil
}

// A refusal is an error response from a Google API.
type refusal struct {
	request string
	status  int
	code    string // "invalid_grant", "PERMISSION_DENIED".
	reason  string // "SERVICE_DISABLED".
	message string
	wait    time.Duration
}

func (r *refusal) Error() string {
	text := fmt.Sprintf("%s: %d", r.request, r.status)
	if r.code != "" {
		text += " " + r.code
	}
	if r.message != "" {
		text += ": " + r.message
	}
	return text
}

// refusalOf parses both forms of Google's errors: OAuth's (RFC 6749, 5.2), and the APIs' (https://google.aip.dev/193).
// It keeps nothing of other bodies.
func refusalOf(req *http.Request, res *http.Response, body []byte) *refusal {
	r := &refusal{request: describe(req), status: res.StatusCode, wait: cloud.RetryAfter(res.Header)}
	var oauth struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	var api struct {
		Error struct {
			Status  string `json:"status"`
			Message string `json:"message"`
			Details []struct {
				Reason string `json:"reason"`
			} `json:"details"`
		} `json:"error"`
	}
	switch {
	case json.Unmarshal(body, &oauth) == nil:
		r.code, r.message = cloud.Clean(oauth.Error), cloud.Clean(oauth.Description)
	case json.Unmarshal(body, &api) == nil:
		r.code, r.message = cloud.Clean(api.Error.Status), cloud.Clean(api.Error.Message)
		for _, detail := range api.Error.Details {
			if detail.Reason != "" {
				r.reason = cloud.Clean(detail.Reason)
			}
		}
	}
	return r
}

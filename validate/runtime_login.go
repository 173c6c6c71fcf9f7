package validate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
)

// incompatible returns the verdict on a response with which this runtime cannot pull: the cause, and the fix. If the
// exchange is zero, the content of the image is the problem.
func (r *runtimeRules) incompatible(code registry.Code, ex Exchange, cause, fix string) *registry.Error {
	e := &registry.Error{Code: code, Hint: fix + ": " + string(r.runtime) + " does not pull otherwise", Err: errors.New(cause)}
	if ex.Method != "" {
		e.Err = &exchangeError{ex, e.Err}
	}
	return e
}

// A choice is the challenge that a runtime answers. The zero choice means that it sends no login.
type choice struct {
	challenge
	// basic: after the token has been fetched, the login is still sent as Basic.
	basic bool
}

// choose returns the challenge of the response that the runtime answers. It fails for a challenge at which the runtime
// gives up.
func (r *runtimeRules) choose(res *response) (choice, *registry.Error) {
	if !r.strict {
		return choice{challenge: choose(res.challenges)}, nil
	}
	all := slices.DeleteFunc(strictChallenges(res.header), func(c challenge) bool {
		return c.scheme != schemeBearer && c.scheme != schemeBasic
	})
	if len(all) == 0 {
		return choice{}, nil
	}
	bearer, hasBearer := find(all, schemeBearer)
	basic, hasBasic := find(all, schemeBasic)
	picked := choice{challenge: basic}
	switch {
	case r.order == headerOrder:
		picked.challenge = all[0]
	case hasBearer:
		picked = choice{bearer, r.order == basicWins && hasBasic}
	}
	if picked.scheme != schemeBearer {
		return picked, nil
	}
	realm := picked.params["realm"]
	if err := unsupportedScheme(res.challenges); err != nil {
		return choice{}, err
	}
	u, err := url.Parse(realm)
	switch {
	case realm == "":
		return choice{}, r.incompatible(registry.ErrChallenge, res.ex,
			fmt.Sprintf("the Bearer challenge has no realm that %s can read", r.runtime),
			`send WWW-Authenticate: Bearer realm="https://...", in quotes, without spaces around the equals sign`)
	case err == nil && u.Scheme == "": // checkRealm checks other URLs.
		return choice{}, r.incompatible(registry.ErrChallenge, res.ex,
			fmt.Sprintf("%s reads the realm of the Bearer challenge as %q, which is not a URL", r.runtime, res.cite(realm, 64)),
			`send the whole URL of the token server in quotes: WWW-Authenticate: Bearer realm="https://..."`)
	}
	return picked, nil
}

// unread returns the verdict on a response with challenges that a lenient client can answer and the runtime cannot; nil
// if there are none.
func (r *runtimeRules) unread(res *response) *registry.Error {
	if !r.strict || choose(res.challenges).scheme == "" || len(strictChallenges(res.header)) == 0 {
		return nil
	}
	if c, err := r.choose(res); err != nil || c.scheme != "" {
		return err
	}
	return r.incompatible(registry.ErrChallenge, res.ex,
		fmt.Sprintf("%s reads the first challenge of each WWW-Authenticate header only", r.runtime),
		"send each challenge in a header line of its own")
}

// extraScopesOfPing returns the extra scopes if the challenge of a ping is used in place of a manifest's. A repository
// in the challenge of a ping is only an example, as in GHCR's.
func (r *runtimeRules) extraScopesOfPing(c challenge, scope string) []string {
	return slices.DeleteFunc(r.extraScopes(c, scope), func(s string) bool { return strings.HasPrefix(s, "repository:") })
}

// extraScopes returns the scopes of a challenge that a runtime requests beside the repository's.
func (r *runtimeRules) extraScopes(c challenge, scope string) []string {
	if r.challengeScope != scopeAlways || scope == "" {
		return nil
	}
	return slices.DeleteFunc(strings.Fields(c.params["scope"]), func(s string) bool { return s == scope })
}

// allowsPing reports whether the runtime continues after the response to GET /v2/.
func (r *runtimeRules) allowsPing(ping *response) bool {
	return r.pingStatus == nil || slices.Contains(r.pingStatus, ping.status)
}

// readToken decodes the response of a token server as the runtime does. The token's lifetime starts with the request,
// not with issued_at, because clocks differ. A token that is rejected before it expires is renewed.
func (r *runtimeRules) readToken(res *response, post bool, asked time.Time) (credentials.Secret, time.Time, *registry.Error) {
	fields := r.getFields
	if post {
		fields = r.postFields
	}
	fail := func(cause, fix string) (credentials.Secret, time.Time, *registry.Error) {
		err := r.incompatible(registry.ErrTokenResponse, res.ex, cause, fix)
		if r == ownRules {
			err.Code = registry.ErrUnavailable
			err.Hint = "check the registry's configuration, and a proxy in front of it: the token server's response is invalid"
		}
		return credentials.Secret{}, asked.Add(failureLife), err
	}
	if r.tokenLimit > 0 && int64(len(res.body)) > r.tokenLimit {
		return fail(fmt.Sprintf("the token server's response is longer than %d bytes", r.tokenLimit), "issue a shorter token")
	}
	var t struct {
		Token        string          `json:"token"`
		AccessToken  string          `json:"access_token"`
		ExpiresIn    json.RawMessage `json:"expires_in"`
		IssuedAt     json.RawMessage `json:"issued_at"`
		RefreshToken json.RawMessage `json:"refresh_token"`
		Scope        json.RawMessage `json:"scope"`
	}
	d := json.NewDecoder(bytes.NewReader(res.body))
	if err := d.Decode(&t); err != nil {
		return fail("the token server's response is not JSON with a token", `respond with {"token": "...", "access_token": "..."}`)
	}
	if _, err := d.Token(); err != io.EOF && !r.trailing {
		return fail("the token server's response has text after the JSON", "send the JSON object alone")
	}
	var (
		seconds int
		issued  time.Time
		refresh string
		scope   string
	)
	switch {
	case r.typed && decode(t.ExpiresIn, &seconds) != nil:
		return fail("expires_in of the token server's response is not an integer", "send expires_in as a whole number of seconds")
	case r.typed && decode(t.IssuedAt, &issued) != nil:
		return fail("issued_at of the token server's response is not a time by RFC 3339",
			`send issued_at like "2006-01-02T15:04:05Z", or leave it out`)
	case r.typed && post && decode(t.Scope, &scope) != nil:
		return fail("scope of the token server's response is not text", "send scope as text, or leave it out")
	case r.refreshTyped && decode(t.RefreshToken, &refresh) != nil:
		return fail("refresh_token of the token server's response is not text", "send refresh_token as text, or leave it out")
	}
	var value string
	for _, name := range fields {
		if value == "" {
			value = map[string]string{"token": t.Token, "access_token": t.AccessToken}[name]
		}
	}
	if value == "" {
		method := http.MethodGet
		if post {
			method = http.MethodPost
		}
		return fail(fmt.Sprintf("the response to %s has no %s", method, strings.Join(fields, " or ")),
			fmt.Sprintf("respond to %s at the token server with the token in %s, or with 404 or 405", method, strings.Join(fields, " or ")))
	}
	if len(value) > maxToken {
		return fail(fmt.Sprintf("the token server's token has more than %d KiB, which does not fit into a header", maxToken>>10), "issue a shorter token")
	}
	if strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return fail("the token server's token cannot be sent in a header", "issue a token of printable ASCII")
	}
	life := minTokenLife
	var number float64
	if decode(t.ExpiresIn, &number) == nil && number > life.Seconds() {
		life = time.Duration(min(number, maxTokenLife.Seconds())) * time.Second
	}
	return credentials.NewSecret(value), asked.Add(life - life/10), nil
}

// decode is json.Unmarshal, except that it accepts a missing value and leaves the target unchanged.
func decode(raw json.RawMessage, into any) error {
	if len(raw) == 0 {
		return nil
	}
	return json.Unmarshal(raw, into)
}

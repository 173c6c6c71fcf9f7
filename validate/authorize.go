package validate

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
)

// maxLogins bounds the number of repetitions of one request with another authorization. The reasons for a repetition
// are the challenge in its own response, a token for its scope alone, and a new token.
const maxLogins = 4

// A login is the authorization of the requests for one scope.
type login struct {
	choice
	extra []string // Scopes in addition to the repository's.
	own   bool     // The challenge is from the response to this very request, sent without a login.
}

// open sends a request that needs the scope, and logs in as the runtime does. If the request is not sent because of the
// response of the ping or the token server, open returns that response; its step identifies the source.
//
// No login is sent before a challenge. Challenges are taken from the ping alone, or from each 401: see runtimeRules.
func (a *authorizer) open(ctx context.Context, t *trace, scope string, q apiRequest) (*response, *registry.Error) {
	ping, err := a.o.pingOnce(ctx, t)
	switch {
	case err != nil:
		return nil, err
	case a.rules == ownRules && ping.answer.busy(), !a.rules.allowsPing(ping.answer) && ping.answer.busy():
		return ping.answer, nil
	case !a.rules.allowsPing(ping.answer):
		return nil, a.rules.incompatible(registry.ErrPing, ping.answer.ex,
			fmt.Sprintf("the response to GET /v2/ is %d", ping.answer.status), "respond to GET /v2/ with 200, or with 401 and a challenge")
	}
	l, ans, err := a.firstLogin(ctx, t, scope, q, ping)
	if err != nil {
		return nil, err
	}
	if a.rules == ownRules && ping.answer.status == http.StatusUnauthorized {
		if err := unsupportedScheme(ping.answer.challenges); err != nil {
			return nil, err
		}
	}
	var refused *token
	var narrow bool
	for try := 0; ; try++ {
		var pass grant
		if ans == nil {
			var bad *response
			if pass, bad, err = a.authorize(ctx, t, l, scope, refused); err != nil || bad != nil {
				return bad, err
			}
			q.auth = pass.auth
			if ans, err = a.do(ctx, t, ping, l.challenge, q); err != nil {
				return nil, err
			}
		}
		if ans.ok() {
			if narrow {
				a.splitAll() // The registry rejected a token for many scopes, and accepted one for this scope.
			}
			a.markProven(pass.group, scope)
			t.sawLogin(ping.answer, l, pass.token)
			return ans, nil
		}
		if ans.status == http.StatusUnauthorized && l.scheme == "" {
			if err := unsupportedScheme(ans.challenges); err != nil {
				return nil, err
			}
		}
		next, failed := a.nextLogin(l, scope, q.step, ans)
		switch {
		case try == maxLogins:
			return ans, nil
		case next != nil:
			l, refused = *next, nil
			if !a.rules.pingFirst {
				a.rememberChallenge(scope, l)
			}
		case failed != nil:
			return nil, failed
		case a.mayLackScope(pass.group, scope, ans):
			narrow = true
			a.isolate(pass.group, scope)
		case pass.token != refused && a.tokenExpired(pass.token, ans):
			refused = pass.token
		case !ping.isRegistry() && len(ans.challenges) == 0 && ans.status != http.StatusMethodNotAllowed:
			return ping.answer, nil // It is not a registry. After 405, a runtime sends GET.
		case pass.auth.scheme == "" && a.rules != ownRules:
			return a.explainNoLogin(ctx, t, scope, q, ping, ans)
		default:
			return ans, nil
		}
		ans = nil
	}
}

// A firstResponse is the response to the first request of an authorizer, which was sent without a login.
type firstResponse struct {
	method, path string
	answer       *response // Nil if the challenge of the ping is used.
	failed       *registry.Error
	choice       choice
	exchanges    []Exchange
	retried      []int
	targets      []string
	validUntil   time.Time
}

func (f *firstResponse) fresh() bool { return f != nil && time.Now().Before(f.validUntil) }

// firstLogin returns the authorization of the first request for the scope. If it had to send the request, it returns
// the response too.
func (a *authorizer) firstLogin(
	ctx context.Context, t *trace, scope string, q apiRequest, ping *pingResult,
) (login, *response, *registry.Error) {
	if l, ok := a.knownLogin(scope); ok {
		return l, nil, nil
	}
	switch {
	case a.rules == ownRules && ping.answer.status != http.StatusUnauthorized:
		return login{}, nil, nil
	case a.rules == ownRules || a.rules.pingFirst:
		picked, err := a.rules.choose(ping.answer)
		if a.rules.order == basicWins && ping.answer.status != http.StatusUnauthorized {
			picked, err = choice{}, nil // Docker reads challenges from a 401 only.
		}
		return login{choice: picked}, nil, err
	case ping.answer.ok():
		return login{own: true}, nil, nil // Usually a registry that needs no login.
	}
	f, left := a.first.get(ctx, func() *firstResponse {
		f := &firstResponse{method: q.method, path: q.path, validUntil: time.Now().Add(pingLife)}
		if a.o.challengesAlike(ping) {
			f.choice, f.failed = a.rules.choose(ping.answer)
			return f
		}
		own := &trace{}
		q.elsewhere = a.loginElsewhere(ping)
		f.answer, f.failed = a.o.do(ctx, own, q)
		f.exchanges, f.retried, f.targets = own.exchanges, own.retried, own.targets
		switch {
		case f.failed != nil && f.failed.Code == registry.ErrCanceled:
			f.validUntil = time.Time{}
		case f.failed != nil || f.answer.busy():
			f.validUntil = time.Now().Add(failureLife)
		case f.answer.status == http.StatusUnauthorized:
			f.choice, f.failed = a.rules.choose(f.answer)
		}
		return f
	})
	if left != nil {
		return login{}, nil, canceled(ctx)
	}
	t.share(f, f.exchanges, nil)
	if f.failed != nil {
		return login{}, nil, f.failed
	}
	switch {
	case f.answer == nil:
		return login{choice: f.choice, extra: a.rules.extraScopesOfPing(f.choice.challenge, scope)}, nil, nil
	case f.method == q.method && f.path == q.path:
		t.retry(f.retried...)
		t.logInAt(f.targets...)
		return login{own: true}, f.answer, nil
	}
	return login{choice: f.choice, extra: a.rules.extraScopes(f.choice.challenge, scope)}, nil, nil
}

// nextLogin returns another way to log in, after the response to a request that was sent with l; nil if there is none.
// It fails for a challenge at which the runtime gives up.
func (a *authorizer) nextLogin(l login, scope string, step Step, ans *response) (*login, *registry.Error) {
	if ans.status != http.StatusUnauthorized {
		return nil, nil
	}
	switch {
	case a.rules == ownRules:
		if next := choose(ans.challenges); a.isNewChallenge(step, l.challenge, next) {
			return &login{choice: choice{challenge: next}, own: true}, nil
		}
	case a.rules.challengeScope == scopeOnDemand:
		c, _ := find(ans.challenges, schemeBearer)
		if extra := c.params["scope"]; len(l.extra) == 0 && c.params["error"] == "insufficient_scope" && extra != "" {
			next := l
			next.extra = []string{extra}
			return &next, nil
		}
	case !a.rules.pingFirst && (!l.own || l.scheme == ""):
		next, err := a.rules.choose(ans)
		if err != nil {
			return nil, err
		}
		extra := a.rules.extraScopes(next.challenge, scope)
		if next.scheme == schemeBasic && a.credential.Anonymous {
			return nil, nil // There is no login to send.
		}
		if next.scheme != "" && (a.isNewChallenge(step, l.challenge, next.challenge) || !slices.Equal(extra, l.extra)) {
			return &login{next, extra, true}, nil
		}
	}
	return nil, nil
}

// explainNoLogin returns the verdict on a response to a request that the runtime sent without a login. It checks
// whether the registry would accept the request with one.
func (a *authorizer) explainNoLogin(
	ctx context.Context, t *trace, scope string, q apiRequest, ping *pingResult, ans *response,
) (*response, *registry.Error) {
	source := ping.answer // The response with a challenge that the runtime does not use.
	if a.rules.pingFirst {
		source = ans
	}
	other := choose(source.challenges)
	if err := a.rules.unread(source); err != nil {
		return nil, err
	}
	if other.scheme == "" || other.scheme == schemeBasic && a.credential.Anonymous || ans.busy() {
		return ans, nil
	}
	own := a.o.authorizer(a.credential, ownRules)
	pass, bad, err := own.authorize(ctx, t, login{choice: choice{challenge: other}}, scope, nil)
	if err != nil || bad != nil {
		return bad, err
	}
	q.auth = pass.auth
	with, err := own.do(ctx, t, ping, other, q)
	switch {
	case err != nil:
		return nil, err
	case !with.ok():
		return with, nil
	case a.rules.pingFirst:
		return nil, a.rules.incompatible(registry.ErrChallenge, ans.ex,
			"the registry requires a login here, and did not at GET /v2/",
			"respond to GET /v2/ with 401 and the same challenge")
	}
	return nil, a.rules.incompatible(registry.ErrChallenge, ans.ex,
		fmt.Sprintf("the registry sends a challenge at GET /v2/, and %d without one here", ans.status),
		"respond to requests for manifests without a login with 401 and the challenge of GET /v2/")
}

// challengesAlike reports whether the ping of this registry is known to carry the same challenge as its manifests,
// which saves a request without a login. That is true for the registries that [vendorOfResponse] recognizes, and for
// the distribution project, which is recognized by its header and its message; a proxy that responds in its place sends
// neither.
func (o *origin) challengesAlike(ping *pingResult) bool {
	a := ping.answer
	return a.status == http.StatusUnauthorized && choose(a.challenges).scheme != "" && (o.knownVendor() != anyVendor ||
		a.header.Get("Docker-Distribution-Api-Version") == "registry/2.0" && a.says("UNAUTHORIZED") &&
			strings.Contains(a.text, "authentication required"))
}

// busy reports whether the response is unrelated to the request: a rate limit, or a failure of the server.
func (r *response) busy() bool { return r.status == http.StatusTooManyRequests || r.status >= 500 }

// A grant is the authorization of one request, and the token behind it.
type grant struct {
	auth  authorization
	token *token
	group *scopeGroup
}

// authorize fetches the token that the login needs. If the token server issues no token, authorize returns its
// response.
func (a *authorizer) authorize(
	ctx context.Context, t *trace, l login, scope string, refused *token,
) (grant, *response, *registry.Error) {
	switch l.scheme {
	case schemeBearer:
		tok, g, err := a.tokenFor(ctx, t, l.challenge, scope, refused, l.extra)
		if err != nil {
			return grant{}, nil, err
		}
		pass := grant{authorization{"Bearer", tok.value, a.credential.Password}, tok, g}
		if l.basic && !a.credential.Anonymous {
			pass.auth = a.basicAuth()
		}
		return pass, tok.bad, nil
	case schemeBasic:
		if a.credential.Anonymous && a.rules.emptyLogin {
			return grant{auth: authorization{scheme: "Basic", value: emptyBasic}}, nil, nil
		}
		return grant{auth: a.basicAuth()}, nil, nil
	}
	return grant{}, nil, nil
}

// emptyBasic is the base64 of an empty user name and password.
var emptyBasic = credentials.NewSecret("Og==")

// choose returns the challenge that is answered; the zero challenge if there is none. If there is a choice, it is
// Bearer, because the password is then sent to fewer places.
func choose(all []challenge) challenge {
	if c, ok := find(all, schemeBearer); ok && c.params["realm"] != "" {
		return c
	}
	c, _ := find(all, schemeBasic)
	return c
}

// isNewChallenge reports whether the next challenge requires something other than what was sent. Harbor sends a Basic
// challenge when it rejects a token, which is worth another request for its list of repositories only.
func (a *authorizer) isNewChallenge(step Step, sent, next challenge) bool {
	switch {
	case next.scheme == "":
		return false
	case sent.scheme == schemeBearer && next.scheme == schemeBearer:
		return next.params["realm"] != sent.params["realm"] || a.service(next) != a.service(sent)
	case sent.scheme == schemeBearer:
		return step == StepRepositories
	}
	return next.scheme != sent.scheme
}

// knownLogin returns the authorization that the registry required for the scope in the latest response.
func (a *authorizer) knownLogin(scope string) (login, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	l, ok := a.challenges[scope]
	return l, ok
}

func (a *authorizer) rememberChallenge(scope string, l login) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.challenges == nil {
		a.challenges = make(map[string]login)
	}
	if _, known := a.challenges[scope]; !known {
		a.o.s.entries.Add(1)
	}
	a.challenges[scope] = l
}

// markProven records that the registry accepted the group's token for the scope.
func (a *authorizer) markProven(g *scopeGroup, scope string) {
	if g == nil || len(g.scopes) == 1 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if g.proven == nil {
		g.proven = make(map[string]bool)
	}
	g.proven[scope] = true
}

// mayLackScope reports whether the cause of the response may be a token that was requested for many scopes and covers
// only some.
func (a *authorizer) mayLackScope(g *scopeGroup, scope string, ans *response) bool {
	if g == nil || len(g.scopes) == 1 {
		return false
	}
	switch ans.status {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
		a.mu.Lock()
		defer a.mu.Unlock()
		return !g.proven[scope]
	}
	return false
}

// isolate gives the scope a token of its own.
func (a *authorizer) isolate(g *scopeGroup, scope string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.groups[scope] == g {
		a.groups[scope] = newGroup(scope)
	}
}

// tokenExpired reports whether the token was accepted once and is rejected now, so that a new one may help. If a token
// is younger than the minimum lifetime and is rejected, expiry is not the cause.
func (a *authorizer) tokenExpired(t *token, ans *response) bool {
	switch {
	case t == nil:
		return false
	case ans.bearerError() == "invalid_token":
		return a.rules == ownRules || time.Since(t.asked) >= minTokenLife
	case ans.status == http.StatusUnauthorized && ans.bearerError() == "",
		ans.status == http.StatusBadRequest: // ECR Public's status for it.
		return time.Since(t.asked) >= minTokenLife
	}
	return false
}

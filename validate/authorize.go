package validate

import (
	"context"
	"net/http"
	"time"

	"github.com/regcred/regcred/registry"
)

// maxLogins bounds how often one request is made again with another proof of who asks: for a challenge of its own, a
// token of its own, and a token that is new.
const maxLogins = 4

// open asks the registry for something that the scope covers, logged in the way the registry wants. Where it goes no
// further than the ping or the token server, the answer is theirs; its step tells.
//
// Nothing is sent along before it is asked for: a registry whose ping needs no login is asked without one, as container
// runtimes do, until it asks for one.
func (a *authorizer) open(ctx context.Context, t *trace, scope string, q apiRequest) (*response, *registry.Error) {
	ping, err := a.o.pingOnce(ctx, t)
	if err != nil {
		return nil, err
	}
	if s := ping.answer.status; s == http.StatusTooManyRequests || s >= 500 {
		return ping.answer, nil
	}
	if ping.answer.status == http.StatusUnauthorized {
		if err := unsupportedScheme(ping.answer.challenges); err != nil {
			return nil, err
		}
	}
	c := a.challengeOf(scope, ping)
	var refused *token
	var narrow bool
	for try := 0; ; try++ {
		pass, bad, err := a.authorize(ctx, t, c, scope, refused)
		if err != nil || bad != nil {
			return bad, err
		}
		q.auth = pass.auth
		ans, err := a.o.do(ctx, t, q)
		if err != nil {
			return nil, err
		}
		if ans.ok() {
			if narrow {
				a.splitAll() // A token for many scopes was not good for this one, and one for it alone is.
			}
			a.markProven(pass.group, scope)
			return ans, nil
		}
		if ans.status == http.StatusUnauthorized && c.scheme == "" {
			if err := unsupportedScheme(ans.challenges); err != nil {
				return nil, err
			}
		}
		next := choose(ans.challenges)
		switch {
		case try == maxLogins:
			return ans, nil
		case ans.status == http.StatusUnauthorized && a.o.isNewChallenge(q.step, c, next):
			c, refused = next, nil
			a.rememberChallenge(scope, c)
		case a.mayLackScope(pass.group, scope, ans):
			narrow = true
			a.isolate(pass.group, scope)
		case pass.token != refused && tokenExpired(pass.token, ans):
			refused = pass.token
		case !ping.isRegistry() && len(ans.challenges) == 0:
			return ping.answer, nil // It was no registry from the start.
		default:
			return ans, nil
		}
	}
}

// A grant is the authorization of one request, and the token behind it.
type grant struct {
	auth  authorization
	token *token
	group *scopeGroup
}

// authorize makes what the challenge asks for. The answer is that of a token server which refuses.
func (a *authorizer) authorize(
	ctx context.Context, t *trace, c challenge, scope string, refused *token,
) (grant, *response, *registry.Error) {
	switch c.scheme {
	case schemeBearer:
		tok, g, err := a.tokenFor(ctx, t, c, scope, refused)
		if err != nil {
			return grant{}, nil, err
		}
		return grant{authorization{"Bearer", tok.value, a.credential.Password}, tok, g}, tok.bad, nil
	case schemeBasic:
		return grant{auth: a.basicAuth()}, nil, nil
	}
	return grant{}, nil, nil
}

// choose returns the challenge that is taken up; the zero challenge if there is none. A token, if there is a choice:
// the password then goes to fewer places.
func choose(all []challenge) challenge {
	if c, ok := find(all, schemeBearer); ok && c.params["realm"] != "" {
		return c
	}
	c, _ := find(all, schemeBasic)
	return c
}

// isNewChallenge reports whether the next challenge asks for something other than what was sent. Harbor sends a Basic
// challenge when it rejects a token; that is worth a request for its list of repositories only.
func (o *origin) isNewChallenge(step Step, sent, next challenge) bool {
	switch {
	case next.scheme == "":
		return false
	case sent.scheme == schemeBearer && next.scheme == schemeBearer:
		return next.params["realm"] != sent.params["realm"] || o.service(next) != o.service(sent)
	case sent.scheme == schemeBearer:
		return step == StepRepositories
	}
	return next.scheme != sent.scheme
}

// challengeOf returns how the registry wants to be logged in at for the scope: as it said when it was last asked for
// it, or else to the ping.
func (a *authorizer) challengeOf(scope string, ping *pingResult) challenge {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c, ok := a.challenges[scope]; ok {
		return c
	}
	if ping.answer.status != http.StatusUnauthorized {
		return challenge{}
	}
	return choose(ping.answer.challenges)
}

func (a *authorizer) rememberChallenge(scope string, c challenge) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.challenges == nil {
		a.challenges = make(map[string]challenge)
	}
	a.challenges[scope] = c
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

// mayLackScope reports whether the response may be due to a token that was requested for many scopes and covers some.
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

// tokenExpired reports whether the token was good once and is refused now, so that a new one may do. A younger token
// than every registry must let live is refused for what it is.
func tokenExpired(t *token, ans *response) bool {
	switch {
	case t == nil:
		return false
	case ans.bearerError() == "invalid_token":
		return true
	case ans.status == http.StatusUnauthorized && ans.bearerError() == "",
		ans.status == http.StatusBadRequest: // ECR Public's.
		return time.Since(t.asked) >= minTokenLife
	}
	return false
}

// Package gate authorizes requests to the registry by the token flow of distribution's specification.
//
// Distribution calls [Gate.Authorized] for each request, with the rights that the request needs. [Gate.ServeToken]
// issues the tokens that Authorized requires. A right counts only if the token grants it and the account still has it.
//
// The package does not interpret requests: distribution determines the rights that a request needs.
package gate

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/distribution/distribution/v3/registry/api/errcode"
	"github.com/distribution/distribution/v3/registry/auth"

	"github.com/regcred/regcred/systemregistry/accounts"
	"github.com/regcred/regcred/systemregistry/internal/login"
	"github.com/regcred/regcred/systemregistry/internal/token"
)

// A Gate issues and checks access tokens. Set its fields before first use; it is then safe for concurrent use. It must
// not be copied.
type Gate struct {
	Authenticator *login.Authenticator
	Ring          *token.Ring
	// Service is the name of the registry in its tokens.
	Service string
	// Life is the lifetime of an access token.
	Life time.Duration
	// Public lists patterns of repositories that clients may pull without a login.
	Public []string
	// BaseURL returns the URL at which the client reaches this server: "https://registry.example.com".
	BaseURL func(*http.Request) string
	// Address returns the address of the client.
	Address func(*http.Request) string
	// Audit is called for each request for a token.
	Audit func(r *http.Request, account string, err error)

	seen seen
}

// TokenPath is the path of [Gate.ServeToken].
const TokenPath = "/token"

// Authorized implements distribution's auth.AccessController.
func (g *Gate) Authorized(r *http.Request, access ...auth.Access) (*auth.Grant, error) {
	text, ok := bearer(r)
	if !ok {
		return nil, g.challenge(r, access, "")
	}
	c, err := g.parse(r.Context(), text)
	if err != nil {
		return nil, g.refusal(r, access, err)
	}
	may, err := g.rights(r.Context(), c)
	if err != nil {
		return nil, g.refusal(r, access, err)
	}
	NoteOf(r.Context()).Account = c.Subject
	grant := &auth.Grant{User: auth.UserInfo{Name: c.Subject}}
	for _, a := range access {
		if a.Type != "repository" || !may(accounts.Action(a.Action), a.Name) || !holds(c.Access, a) {
			return nil, g.challenge(r, access, "insufficient_scope")
		}
		grant.Resources = append(grant.Resources, a.Resource)
	}
	return grant, nil
}

// refusal returns the challenge for an invalid token, or an error if the token could not be checked.
func (g *Gate) refusal(r *http.Request, access []auth.Access, err error) error {
	if errors.Is(err, token.ErrBad) || errors.Is(err, accounts.ErrWrongLogin) {
		return g.challenge(r, access, "invalid_token")
	}
	NoteOf(r.Context()).Err = err // Distribution responds with 400, which the server replaces with 503.
	return err
}

func (g *Gate) parse(ctx context.Context, text string) (token.Claims, error) {
	if c, ok := g.seen.get(text, time.Now()); ok && g.Ring.Has(ctx, c.Key) {
		return c, nil
	}
	c, err := g.Ring.Parse(ctx, text, token.Access, g.Service, nil)
	if err == nil {
		g.seen.put(text, c)
	}
	return c, err
}

// rights returns the current rights of the token's account. The caller also requires each right in the token. So rights
// that the account has lost are lost at once, and rights that it has gained need a new token.
func (g *Gate) rights(ctx context.Context, c token.Claims) (func(accounts.Action, string) bool, error) {
	if c.Subject == "" {
		return g.anybody, nil
	}
	account, err := g.Authenticator.Current(ctx, c)
	if err != nil {
		return nil, err
	}
	return func(action accounts.Action, repository string) bool {
		return account.Allows(action, repository) || g.anybody(action, repository)
	}, nil
}

func (g *Gate) anybody(action accounts.Action, repository string) bool {
	return action == accounts.Pull && slices.ContainsFunc(g.Public, func(pattern string) bool { return accounts.Match(pattern, repository) })
}

func holds(access []token.Resource, a auth.Access) bool {
	return slices.ContainsFunc(access, func(r token.Resource) bool {
		return r.Type == a.Type && r.Name == a.Name && slices.Contains(r.Actions, a.Action)
	})
}

func bearer(r *http.Request) (string, bool) {
	scheme, text, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	return text, ok && strings.EqualFold(scheme, "bearer") && text != ""
}

// scopeOf formats the rights as a scope for the challenge.
func scopeOf(access []auth.Access) string {
	var order []auth.Resource
	actions := make(map[auth.Resource][]string)
	for _, a := range access {
		if _, ok := actions[a.Resource]; !ok {
			order = append(order, a.Resource)
		}
		actions[a.Resource] = append(actions[a.Resource], a.Action)
	}
	scopes := make([]string, len(order))
	for i, resource := range order {
		scopes[i] = resource.Type + ":" + resource.Name + ":" + strings.Join(actions[resource], ",")
	}
	return strings.Join(scopes, " ")
}

// challenge implements distribution's auth.Challenge.
type challenge struct{ realm, service, scope, problem string }

func (g *Gate) challenge(r *http.Request, access []auth.Access, problem string) *challenge {
	return &challenge{g.BaseURL(r) + TokenPath, g.Service, scopeOf(access), problem}
}

func (c *challenge) Error() string { return "token required " + c.problem }

func (c *challenge) SetHeaders(_ *http.Request, w http.ResponseWriter) {
	value := "Bearer realm=" + quote(c.realm) + ",service=" + quote(c.service)
	if c.scope != "" {
		value += ",scope=" + quote(c.scope)
	}
	if c.problem != "" {
		value += ",error=" + quote(c.problem)
	}
	w.Header().Set("WWW-Authenticate", value)
}

// quote writes a quoted-string of RFC 9110. It drops characters that could end the quotes or the line, because no valid
// value contains them.
func quote(s string) string {
	return `"` + strings.Map(func(r rune) rune {
		if r == '"' || r == '\\' || r < ' ' || r > '~' {
			return -1
		}
		return r
	}, s) + `"`
}

func fail(w http.ResponseWriter, code errcode.ErrorCode, message string) {
	_ = errcode.ServeJSON(w, code.WithMessage(message))
}

package registrytest

import (
	"cmp"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// isToken reports whether the path is the path of the token endpoint, or of the exchange beside it.
func (t tokenEndpoint) isToken(p string) bool {
	if t.path == "" {
		return false
	}
	ok, _ := path.Match(strings.TrimSuffix(t.path, "/"), strings.TrimSuffix(p, "/"))
	return ok || t.isExchange(p)
}

func (t tokenEndpoint) isExchange(p string) bool { return t.exchange != "" && p == t.exchange }

func (c *call) serveToken() {
	endpoint := c.reg.Dialect.token
	params := c.req.URL.Query()
	if c.req.Method == http.MethodPost {
		if !endpoint.post.isZero() && !endpoint.isExchange(c.req.URL.Path) {
			c.answer(endpoint.post)
			return
		}
		if err := c.req.ParseForm(); err != nil {
			c.answer(Answer{Status: 400})
			return
		}
		params = c.req.PostForm
		asked := url.Values{}
		for _, name := range []string{"grant_type", "service", "scope"} {
			asked[name] = params[name]
		}
		c.reg.locked(func() { c.seen.Query = asked.Encode() })
	} else if c.req.Method != http.MethodGet && c.req.Method != http.MethodHead {
		c.answer(Answer{Status: 405})
		return
	}
	if endpoint.isExchange(c.req.URL.Path) {
		c.exchange(params)
		return
	}
	service := c.gaps.fill(endpoint.service, asItIs)
	if !endpoint.badService.isZero() && params.Get("service") != service {
		c.answer(endpoint.badService)
		return
	}
	scopes := scopesOf(params)
	if endpoint.scope != "" {
		pattern, err := regexp.Compile(endpoint.scope)
		if err != nil {
			c.answer(Answer{Status: 500, Body: "registrytest: Dialect.Token.Scope: " + err.Error()})
			return
		}
		for _, s := range scopes {
			if !pattern.MatchString(s) {
				c.answer(endpoint.badScope.or(oci(400, "UNSUPPORTED", "invalid scope", "")))
				return
			}
		}
	}
	c.issueFor(params, scopes)
}

// scopesOf returns the scopes in both forms: repeated parameters, and one parameter with spaces.
func scopesOf(params url.Values) []string {
	var scopes []string
	for _, s := range params["scope"] {
		scopes = append(scopes, strings.Fields(s)...)
	}
	return scopes
}

// loginOf returns the login of a token request, from the Authorization header or the form.
func (c *call) loginOf(params url.Values) (l login, refused Answer) {
	endpoint := c.reg.Dialect.token
	if c.req.Method != http.MethodPost {
		l = c.reg.basicOrBearer(c.req)
		username, password, _ := c.req.BasicAuth()
		if l.state == loginBad && endpoint.exchange != "" && username == zeroUser {
			return c.reg.refreshed(password), Answer{} // The password of this user is a refresh token.
		}
		return l, Answer{}
	}
	switch params.Get("grant_type") {
	case "password":
		if !endpoint.passwordGrant.isZero() {
			return login{}, endpoint.passwordGrant
		}
		return c.reg.check(params.Get("username"), params.Get("password")), Answer{}
	case "refresh_token":
		return c.reg.refreshed(params.Get("refresh_token")), Answer{}
	}
	return login{}, oci(400, "UNSUPPORTED", "unsupported grant_type", "")
}

// refreshed returns the login of a refresh token.
func (r *Registry) refreshed(text string) login {
	l := login{state: loginBad}
	r.locked(func() {
		if t := r.tokens[text]; t != nil && t.refresh {
			l = login{state: loginGood, account: t.account}
			if t.expired() {
				l.state = loginExpired
			}
		}
	})
	return l
}

func (c *call) issueFor(params url.Values, scopes []string) {
	endpoint := c.reg.Dialect.token
	bad := endpoint.badLogin.or(oci(401, "UNAUTHORIZED", "authentication required", ""))
	l, refused := c.loginOf(params)
	c.note(l)
	if l.state != loginGood && l.state != loginNone && endpoint.ignoresBadLogin && len(scopes) > 0 {
		l = login{}
	}
	switch {
	case !refused.isZero():
		c.answer(refused)
		return
	case l.state == loginBad:
		c.answer(bad)
		return
	case l.state == loginExpired:
		c.answer(endpoint.expiredLogin.or(bad))
		return
	case l.state == loginGood && !l.account.hasRights() && !endpoint.noRights.isZero():
		c.answer(endpoint.noRights)
		return
	}
	if (endpoint.oneScope || c.reg.OneScope) && len(scopes) > 1 {
		scopes = scopes[:1]
	}
	t := &token{account: l.account, anonymous: l.anonymous()}
	var asked []scope
	for _, text := range scopes {
		if s, ok := parseScope(text); ok {
			asked = append(asked, s)
			if granted := c.reg.grant(l, s); len(granted.actions) > 0 {
				t.access = append(t.access, granted)
			}
		}
	}
	switch {
	case t.anonymous && !c.reg.anonymousToken(t, len(scopes)):
		c.answer(endpoint.noLogin.or(bad))
	case !t.anonymous && len(asked) > 0 && len(t.access) == 0 && !endpoint.denied.isZero():
		c.about(asked[0].name, "")
		c.answer(endpoint.denied)
	default:
		text, seconds := c.reg.issue(t, cmp.Or(c.reg.TokenTTL, endpoint.ttl))
		c.sendToken(endpoint.body, text, seconds, t.access)
	}
}

// anonymousToken reports whether the dialect issues the token without a login.
func (r *Registry) anonymousToken(t *token, asked int) bool {
	switch r.Dialect.token.anonymous {
	case anonymousWithScope:
		return asked > 0
	case anonymousWithRight:
		return len(t.access) > 0 || asked == 0 && len(r.Public) > 0
	}
	return true
}

func (c *call) sendToken(body, text string, seconds int, access []scope) {
	if body == "" {
		body = wholeAnswer
	}
	scopes := make([]string, len(access))
	for i, s := range access {
		scopes[i] = s.String()
	}
	c.gaps["token"], c.gaps["expires_in"] = text, strconv.Itoa(seconds)
	c.gaps["issued_at"] = time.Now().UTC().Format(time.RFC3339Nano)
	c.gaps["scope"] = strings.Join(scopes, " ")
	c.answer(Answer{Status: 200, Body: body})
}

// zeroUser is the user name for a refresh token of ACR.
const zeroUser = "00000000-0000-0000-0000-000000000000"

// exchange issues a refresh token. The access token of the other issuer is the password of an account named [zeroUser].
func (c *call) exchange(params url.Values) {
	endpoint := c.reg.Dialect.token
	if c.req.Method != http.MethodPost || params.Get("grant_type") != "access_token" {
		c.answer(oci(400, "UNSUPPORTED", "unsupported grant_type", ""))
		return
	}
	l := c.reg.check(zeroUser, params.Get("access_token"))
	c.note(l)
	if l.state != loginGood {
		c.answer(endpoint.badLogin)
		return
	}
	text, seconds := c.reg.issue(&token{account: l.account, refresh: true}, endpoint.refreshTTL)
	c.sendToken(`{"refresh_token":"{token}"}`, text, seconds, nil)
}

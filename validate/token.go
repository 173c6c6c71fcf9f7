package validate

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
)

// An authorizer sends requests to one origin with one credential, and keeps its tokens.
type authorizer struct {
	o          *origin
	credential credentials.Credential
	basic      credentials.Secret // What follows "Basic" in the header.

	loginCheck singleFlight[*loginResult]

	mu           sync.Mutex
	groups       map[string]*scopeGroup // By scope.
	challenges   map[string]challenge   // By scope, where it is not that of the ping.
	singleScope  bool                   // This registry wants one scope at a time.
	rateLimit    *registry.Error        // The registry has asked to be left alone for long.
	rateLimitEnd time.Time
}

// authorizer returns the authorizer of the credential.
func (o *origin) authorizer(c credentials.Credential) *authorizer {
	d := credentials.NewHasher("credential")
	d.Bool(c.Anonymous)
	d.Text(c.Username)
	d.Secret(c.Password)
	key := d.Sum()
	o.mu.Lock()
	defer o.mu.Unlock()
	if a := o.authorizers[key]; a != nil {
		return a
	}
	a := &authorizer{o: o, credential: c, loginCheck: newSingleFlight[*loginResult](), groups: make(map[string]*scopeGroup)}
	if !c.Anonymous {
		joined := c.Password.AppendTo([]byte(c.Username + ":"))
		a.basic = credentials.NewSecret(base64.StdEncoding.EncodeToString(joined))
	}
	o.authorizers[key] = a
	return a
}

func (a *authorizer) basicAuth() authorization {
	if a.credential.Anonymous {
		return authorization{}
	}
	return authorization{"Basic", a.basic, a.credential.Password}
}

// A scopeGroup is a set of scopes that share a token.
type scopeGroup struct {
	scopes []string
	token  singleFlight[*token]
	proven map[string]bool // The scopes that the registry has honoured; guarded by the account.
}

func newGroup(scopes ...string) *scopeGroup {
	return &scopeGroup{scopes: scopes, token: newSingleFlight[*token]()}
}

// A token is what a token server answered to a request for scopes.
type token struct {
	value credentials.Secret
	good  time.Time // Until when it can be used.
	// Who handed it out: another challenge may name another.
	realm, service string
	asked          time.Time
	exchanges      []Exchange
	warnings       []string
	// bad is the answer in place of a token; failed is why there was none.
	bad    *response
	failed *registry.Error
}

func (t *token) fresh() bool { return t != nil && time.Now().Before(t.good) }

const (
	// minTokenLife is what the specification of the token endpoint gives a token that says nothing, and the least that
	// a server may give.
	minTokenLife = 60 * time.Second
	// maxTokenLife bounds what a server may claim.
	maxTokenLife = 24 * time.Hour
	// failureLife is how long a failure answers for those who wait behind it. Those who come later ask again.
	failureLife = 5 * time.Second

	// maxTokenBody is far above any token that fits into a header.
	maxTokenBody = 1 << 20
	// maxGroupToken is the size of token above which one for many repositories is not used: the usual limit for a whole
	// header is 8 KiB (nginx, Apache).
	maxGroupToken = 6 << 10
	// maxScopeBytes is how much of a token request's URL scopes may fill, within the same limit.
	maxScopeBytes = 6 << 10
)

func pullScope(repository string) string { return "repository:" + repository + ":pull" }

const catalogScope = "registry:catalog:*"

// planScopes groups the scopes of repositories that will be requested, so that one token serves many.
func (a *authorizer) planScopes(repositories []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.singleScope {
		return
	}
	var scopes []string
	size := 0
	flush := func() {
		if len(scopes) > 1 {
			g := newGroup(scopes...)
			for _, scope := range scopes {
				a.groups[scope] = g
			}
		}
		scopes, size = nil, 0
	}
	for _, repository := range repositories {
		scope := pullScope(repository)
		if a.groups[scope] != nil {
			continue
		}
		if size += len(scope) + len("&scope="); size > maxScopeBytes {
			flush()
			size = len(scope)
		}
		scopes = append(scopes, scope)
	}
	flush()
}

// groupOf returns the group whose token serves the scope.
func (a *authorizer) groupOf(scope string) *scopeGroup {
	a.mu.Lock()
	defer a.mu.Unlock()
	g := a.groups[scope]
	if g == nil {
		g = newGroup(scope)
		a.groups[scope] = g
	}
	return g
}

// split breaks a group up. Into halves, when its token is too large; else into single scopes, because the registry
// refuses or narrows it.
func (a *authorizer) split(g *scopeGroup, halves bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := 1
	if halves {
		n = (len(g.scopes) + 1) / 2
	}
	for part := range slices.Chunk(g.scopes, n) {
		next := newGroup(part...)
		for _, scope := range part {
			if a.groups[scope] == g {
				a.groups[scope] = next
			}
		}
	}
}

// splitAll breaks all groups up, once it is known that the registry heeds just one scope.
func (a *authorizer) splitAll() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.singleScope = true
	for scope, g := range a.groups {
		if len(g.scopes) > 1 {
			a.groups[scope] = newGroup(scope)
		}
	}
}

// renew drops the token of a group, unless somebody did so already.
func (a *authorizer) renew(g *scopeGroup) {
	a.mu.Lock()
	defer a.mu.Unlock()
	next := newGroup(g.scopes...)
	for _, scope := range g.scopes {
		if a.groups[scope] == g {
			a.groups[scope] = next
		}
	}
}

// tokenFor returns a token for the scope, and the group that it is for. After refused, which may be nil, it is another
// one.
func (a *authorizer) tokenFor(
	ctx context.Context, t *trace, c challenge, scope string, refused *token,
) (*token, *scopeGroup, *registry.Error) {
	// The number of rounds is bounded by the size of a group, but for challenges that keep changing.
	for range 32 {
		g := a.groupOf(scope)
		tok, err := g.token.get(ctx, func() *token { return a.fetch(ctx, c, g.scopes) })
		if err != nil {
			return nil, nil, canceled(ctx)
		}
		if len(g.scopes) > 1 {
			switch {
			case tok.bad != nil && tok.bad.status/100 == 4 && tok.bad.status != http.StatusTooManyRequests:
				a.split(g, false)
				continue
			case tok.value.Len() > maxGroupToken:
				a.split(g, true)
				continue
			}
		}
		if tok == refused || tok.realm != c.params["realm"] || tok.service != a.o.service(c) {
			a.renew(g)
			continue
		}
		t.share(tok, tok.exchanges, tok.warnings)
		return tok, g, tok.failed
	}
	return nil, nil, errorf(registry.ErrUnavailable, "the registry names another token server each time it is asked")
}

// service is who the token is for. Artifact Registry leaves it out of the challenge of its ping, and means its own
// host.
func (o *origin) service(c challenge) string {
	if s := c.params["service"]; s != "" || c.params["realm"] == "" {
		return s
	}
	return o.base.Host
}

// fetch asks the token server.
func (a *authorizer) fetch(ctx context.Context, c challenge, scopes []string) *token {
	t := &trace{}
	tok := &token{realm: c.params["realm"], service: a.o.service(c), good: time.Now().Add(failureLife)}
	defer func() { tok.exchanges, tok.warnings = t.exchanges, t.warnings }()
	realm, upgraded, err := a.o.checkRealm(tok.realm, !a.credential.Anonymous)
	if err != nil {
		if a.basicAuth().without(err.Error()) == "" {
			err = insecureRealm("the registry names a token server by the login that it was sent")
		}
		tok.failed = netError(ctx, err)
		return tok
	}
	if upgraded {
		t.warn("the registry names its token server with http://, which was asked with https:// in its place; nodes may " +
			"send the login in the clear: tell the registry that it is behind TLS (header X-Forwarded-Proto)")
	}
	step := StepToken
	if len(scopes) == 0 {
		step = StepLogin
	}
	tok.asked = time.Now()
	ans, failed := a.o.do(ctx, t, apiRequest{
		step: step, method: http.MethodGet, auth: a.basicAuth(), limit: maxTokenBody,
		url: tokenURL(realm, tok.service, scopes), displayURL: showToken(realm, tok.service, scopes),
	})
	if failed == nil && ans.status == http.StatusMethodNotAllowed && !a.credential.Anonymous {
		// A token server that knows just the OAuth2 form.
		ans, failed = a.o.do(ctx, t, apiRequest{
			step: step, method: http.MethodPost, auth: authorization{password: a.credential.Password}, limit: maxTokenBody,
			url: realm, displayURL: showURL(realm), form: a.tokenForm(tok.service, scopes),
		})
	}
	switch {
	case failed != nil:
		tok.failed = failed
	case !ans.ok():
		tok.bad = ans
	default:
		tok.value, tok.good, err = readToken(ans.body, tok.asked)
		if err != nil {
			tok.failed = &registry.Error{
				Code: registry.ErrUnavailable,
				Hint: "the token server answers nonsense: check the registry's configuration, and a proxy before it",
				Err:  &exchangeError{ans.ex, err},
			}
		}
	}
	if tok.failed != nil && tok.failed.Code == registry.ErrCanceled {
		tok.good = time.Time{} // It is this caller's own failure.
	}
	return tok
}

// tokenURL writes the scopes as they are: colons, slashes and commas need no escape in a query (RFC 3986, 3.4), and
// many of them must fit.
func tokenURL(realm *url.URL, service string, scopes []string) *url.URL {
	u := *realm
	var b strings.Builder
	b.Grow(256) // As a rule, all of it.
	b.WriteString(u.RawQuery)
	add := func(name, value string) {
		if b.Len() > 0 {
			b.WriteByte('&')
		}
		b.WriteString(name)
		b.WriteByte('=')
		b.WriteString(value)
	}
	if service != "" {
		add("service", url.QueryEscape(service))
	}
	for _, scope := range scopes {
		if scope != "" { // That is for a token which is not about a repository.
			add("scope", scope) // Names of repositories have no letter that needs an escape.
		}
	}
	u.RawQuery = b.String()
	return &u
}

// showToken is the URL for the evidence, with the first scope of many.
func showToken(realm *url.URL, service string, scopes []string) string {
	u := url.URL{Scheme: realm.Scheme, Host: realm.Host, Path: realm.Path}
	s := tokenURL(&u, service, scopes[:min(len(scopes), 1)]).String()
	if len(scopes) > 1 {
		s += "&scope=..."
	}
	return cleanLine(s, 500)
}

// tokenForm is the OAuth2 form: https://distribution.github.io/distribution/spec/auth/oauth/.
func (a *authorizer) tokenForm(service string, scopes []string) url.Values {
	return url.Values{
		"grant_type": {"password"},
		"client_id":  {"regcred"},
		"service":    {service},
		"scope":      {strings.Join(scopes, " ")},
		"username":   {a.credential.Username},
		"password":   {a.credential.Password.Reveal()},
	}
}

// readToken reads the answer of a token server. Registries use one of two names for the token, and some send the other
// one empty. The life is counted from when it was asked for, not from the server's issued_at, for clocks differ; a
// token that is refused before its time is renewed.
func readToken(body []byte, asked time.Time) (credentials.Secret, time.Time, error) {
	var t struct {
		Token       string          `json:"token"`
		AccessToken string          `json:"access_token"`
		ExpiresIn   json.RawMessage `json:"expires_in"`
	}
	if err := json.Unmarshal(body, &t); err != nil {
		return credentials.Secret{}, asked.Add(failureLife), errors.New("the token server's answer is not JSON")
	}
	value := t.Token
	if value == "" {
		value = t.AccessToken
	}
	if value == "" {
		return credentials.Secret{}, asked.Add(failureLife), errors.New("the token server's answer holds no token")
	}
	if strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return credentials.Secret{}, asked.Add(failureLife), errors.New("the token server's token cannot be sent in a header")
	}
	life := minTokenLife
	if seconds, err := strconv.ParseFloat(string(t.ExpiresIn), 64); err == nil && seconds > life.Seconds() {
		life = time.Duration(min(seconds, maxTokenLife.Seconds())) * time.Second
	}
	return credentials.NewSecret(value), asked.Add(life - life/10), nil
}

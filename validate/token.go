package validate

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
)

// An authorizer sends requests to one origin with one credential, and keeps its tokens.
type authorizer struct {
	o          *origin
	rules      *runtimeRules
	credential credentials.Credential
	basic      credentials.Secret // The text after "Basic" in the header.
	identity   credentials.Fingerprint

	loginCheck singleFlight[*loginResult]
	first      singleFlight[*firstResponse]

	mu           sync.Mutex
	groups       map[string]*scopeGroup // By scope.
	challenges   map[string]login       // By scope, from a response to a request for it.
	singleScope  bool                   // The registry accepts one scope at a time only.
	rateLimit    *registry.Error        // A rate limit that lasts longer than MaxWait.
	rateLimitEnd time.Time
}

// An authorizerKey identifies an authorizer of an origin.
type authorizerKey struct {
	credential credentials.Fingerprint
	rules      *runtimeRules
}

// authorizer returns the authorizer of the credential, which requests tokens by the rules.
func (o *origin) authorizer(c credentials.Credential, rules *runtimeRules) *authorizer {
	d := credentials.NewHasher("credential")
	d.Bool(c.Anonymous)
	d.Text(c.Username)
	d.Secret(c.Password)
	key := authorizerKey{d.Sum(), rules}
	o.mu.Lock()
	defer o.mu.Unlock()
	if a := o.authorizers[key]; a != nil {
		return a
	}
	a := &authorizer{
		o: o, rules: rules, credential: c, identity: key.credential, groups: make(map[string]*scopeGroup),
		loginCheck: newSingleFlight[*loginResult](), first: newSingleFlight[*firstResponse](),
	}
	if !c.Anonymous {
		joined := c.Password.AppendTo([]byte(c.Username + ":"))
		a.basic = credentials.NewSecret(base64.StdEncoding.EncodeToString(joined))
	}
	o.authorizers[key] = a
	o.s.entries.Add(1)
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
	proven map[string]bool // The scopes that the registry has honored; guarded by the authorizer.
}

func newGroup(scopes ...string) *scopeGroup {
	return &scopeGroup{scopes: scopes, token: newSingleFlight[*token]()}
}

// A token is a token server's response to a request for scopes.
type token struct {
	value credentials.Secret
	good  time.Time // The time after which the token is not used.
	// The token server. Another challenge may name another one.
	realm, service string
	extra          string // The scopes of the challenge.
	asked          time.Time
	exchanges      []Exchange
	warnings       []string
	// bad is the response that has no token; failed is the reason why there was none.
	bad    *response
	failed *registry.Error
	// objections are the reasons why other runtimes would not read the response, if the token was requested by GET.
	objections map[*runtimeRules]*registry.Error
}

func (t *token) fresh() bool { return t != nil && time.Now().Before(t.good) }

const (
	// minTokenLife is the lifetime of a token without expires_in by the specification of the token endpoint, and the
	// minimum lifetime that a server may give.
	minTokenLife = 60 * time.Second
	// maxTokenLife bounds the lifetime that a server may claim.
	maxTokenLife = 24 * time.Hour
	// failureLife is the time for which a failure is returned to the callers that waited for it. Later callers try again.
	failureLife = 5 * time.Second

	// maxTokenBody is larger than any token response that container runtimes are known to read.
	maxTokenBody = 4 << 20
	// maxToken is the maximum size of a token. The usual limits for a whole header are 8 KiB (nginx, Apache) to 60 KiB
	// (Envoy).
	maxToken = 256 << 10
	// maxGroupToken is the maximum size of a token for many repositories. Larger tokens are not used, because the usual
	// limit for a whole header is 8 KiB (nginx, Apache).
	maxGroupToken = 6 << 10
	// maxScopeBytes bounds the part of a token request's URL that scopes may fill, within the same limit.
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
			a.o.s.entries.Add(int64(len(scopes)))
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
		a.o.s.entries.Add(1)
	}
	return g
}

// split breaks a group up: into halves if its token is too large; otherwise into single scopes, because the registry
// rejects the request or grants fewer scopes.
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

// splitAll breaks all groups up, after the registry is known to honor only one scope.
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

// renew drops the token of a group, unless another caller did so already.
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

// tokenFor returns a token for the scope, and the group that it is for. The token differs from refused, a token that
// the registry rejected, which may be nil.
func (a *authorizer) tokenFor(
	ctx context.Context, t *trace, c challenge, scope string, refused *token, extra []string,
) (*token, *scopeGroup, *registry.Error) {
	// The number of rounds is bounded by the size of a group, except if the challenges keep changing.
	for range 32 {
		g := a.groupOf(scope)
		tok, err := g.token.get(ctx, func() *token { return a.fetch(ctx, c, g.scopes, extra) })
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
		if tok.extra != strings.Join(extra, " ") && len(g.scopes) > 1 {
			a.isolate(g, scope)
			continue
		}
		if tok == refused || tok.realm != c.params["realm"] || tok.service != a.service(c) ||
			tok.extra != strings.Join(extra, " ") {
			a.renew(g)
			continue
		}
		t.share(tok, tok.exchanges, tok.warnings)
		return tok, g, tok.failed
	}
	return nil, nil, errorf(registry.ErrUnavailable, "the registry names another token server in each response")
}

// service returns the service for which a token is requested. Runtimes send the challenge's service or none. Artifact
// Registry omits the service from the challenge of its ping; its own host is meant. The check of a login receives no
// other challenge, so it sends the host as the service.
func (a *authorizer) service(c challenge) string {
	if s := c.params["service"]; s != "" || c.params["realm"] == "" || a.rules != ownRules {
		return s
	}
	return a.o.base.Host
}

// fetch requests a token from the token server for the scopes, and for the scopes that the challenge adds.
func (a *authorizer) fetch(ctx context.Context, c challenge, scopes, extra []string) *token {
	t := &trace{}
	tok := &token{
		realm: c.params["realm"], service: a.service(c), extra: strings.Join(extra, " "), good: time.Now().Add(failureLife),
	}
	defer func() {
		tok.exchanges, tok.warnings = t.exchanges, t.warnings
		if tok.failed != nil && tok.failed.Code == registry.ErrCanceled {
			tok.good = time.Time{} // The caller itself was canceled.
		}
	}()
	realm, upgraded, err := a.o.checkRealm(tok.realm, !a.credential.Anonymous)
	if err != nil {
		if a.basicAuth().without(err.Error()) == "" {
			err = insecureRealm("the registry names a token server by the login that it was sent")
		}
		tok.failed = netError(ctx, err)
		return tok
	}
	if upgraded {
		t.warn("the registry names its token server with http://; https:// was used in its place; nodes may " +
			"send the login in the clear: configure the proxy to send the header X-Forwarded-Proto to the registry")
	}
	tok.asked = time.Now()
	r := tokenRequest{a: a, t: t, realm: realm, service: tok.service, scopes: scopes}
	for _, s := range extra {
		if !slices.Contains(r.scopes, s) {
			r.scopes = append(slices.Clip(r.scopes), s)
		}
	}
	r.step = StepToken
	if len(scopes) == 0 {
		r.step = StepLogin
	}
	r.send(ctx, tok)
	a.o.s.tokenBytes.Add(int64(tok.value.Len()))
	return tok
}

// A tokenRequest is a request to a token server, in the forms in which it is sent.
type tokenRequest struct {
	a       *authorizer
	t       *trace
	step    Step
	realm   *url.URL
	service string
	scopes  []string
}

// send requests the token as the runtime does: by POST first, or by GET alone.
func (r tokenRequest) send(ctx context.Context, tok *token) {
	rules, anonymous := r.a.rules, r.a.credential.Anonymous
	var posted, rejected *response // posted is the response to POST; rejected is the same if the runtime gives up at it.
	if rules.post && !anonymous && !r.a.o.rejectsPOST(tok.realm) {
		ans, failed := r.post(ctx)
		switch {
		case failed != nil || ans.ok():
			tok.read(rules, ans, failed, true)
			return
		case ans.status == http.StatusTooManyRequests:
			tok.bad = ans
			return
		case !slices.Contains(rules.postFallback, ans.status):
			rejected = ans
		}
		posted = ans
	}
	ans, failed := r.get(ctx)
	if rules == ownRules && failed == nil && ans.status == http.StatusMethodNotAllowed && !anonymous {
		// The token server supports only the OAuth2 form.
		ans, failed = r.post(ctx)
		tok.read(rules, ans, failed, true)
		return
	}
	if failed == nil && ans.ok() && rejected == nil && rules.post && !anonymous {
		r.a.o.noteRejectedPOST(tok.realm)
	}
	if rejected != nil && failed == nil && ans.ok() {
		tok.failed = rules.incompatible(registry.ErrTokenMethod, rejected.ex,
			fmt.Sprintf("the response of the token server to POST is %d, and to GET a token", rejected.status),
			"respond to POST at the token server with a token, or with 404 or 405 so that GET follows")
		return
	}
	if posted != nil && posted.status == http.StatusUnauthorized && failed == nil &&
		(ans.status == http.StatusNotFound || ans.status == http.StatusMethodNotAllowed) {
		ans = posted // The token server supports only POST.
	}
	tok.read(rules, ans, failed, false)
}

// read reads the token from the response.
func (t *token) read(rules *runtimeRules, ans *response, failed *registry.Error, post bool) {
	switch {
	case failed != nil:
		t.failed = failed
	case !ans.ok(), rules.tokenStatus != nil && !slices.Contains(rules.tokenStatus, ans.status):
		t.bad = ans
	default:
		t.value, t.good, t.failed = rules.readToken(ans, post, t.asked)
		for _, other := range runtimeTable {
			if post || other == rules {
				continue
			}
			if _, _, err := other.readToken(ans, false, t.asked); err != nil {
				if t.objections == nil {
					t.objections = make(map[*runtimeRules]*registry.Error)
				}
				t.objections[other] = err
			}
		}
	}
}

func (r tokenRequest) get(ctx context.Context) (*response, *registry.Error) {
	account := ""
	if r.a.rules.account {
		account = r.a.credential.Username
	}
	return r.a.o.do(ctx, r.t, apiRequest{
		step: r.step, method: http.MethodGet, auth: r.a.basicAuth(), limit: maxTokenBody,
		url: tokenURL(r.realm, account, r.service, r.scopes), displayURL: r.shown(showToken(r.realm, r.service, r.scopes)),
	})
}

func (r tokenRequest) post(ctx context.Context) (*response, *registry.Error) {
	return r.a.o.do(ctx, r.t, apiRequest{
		step: r.step, method: http.MethodPost, auth: authorization{password: r.a.credential.Password}, limit: maxTokenBody,
		url: r.realm, displayURL: r.shown(showURL(r.realm)), form: r.a.tokenForm(r.service, r.scopes),
	})
}

// shown returns the URL for the evidence, or nothing if a registry wrote the login into the challenge.
func (r tokenRequest) shown(url string) string {
	if r.a.basicAuth().isIn(url, minWithheld) {
		return ""
	}
	return url
}

// rejectsPOST reports whether the token server is known to reject POST, and to issue tokens by GET.
func (o *origin) rejectsPOST(realm string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.getOnly[realm]
}

func (o *origin) noteRejectedPOST(realm string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.getOnly == nil || len(o.getOnly) >= maxRealms {
		o.getOnly = make(map[string]bool)
	}
	o.getOnly[realm] = true
}

// maxRealms bounds the number of a registry's token servers that are remembered.
const maxRealms = 64

// tokenURL writes the scopes unescaped: colons, slashes and commas need no escape in a query (RFC 3986, 3.4), and many
// scopes must fit.
func tokenURL(realm *url.URL, account, service string, scopes []string) *url.URL {
	u := *realm
	var b strings.Builder
	b.Grow(256) // Usually enough for the whole URL.
	b.WriteString(u.RawQuery)
	add := func(name, value string) {
		if b.Len() > 0 {
			b.WriteByte('&')
		}
		b.WriteString(name)
		b.WriteByte('=')
		b.WriteString(value)
	}
	if account != "" {
		add("account", url.QueryEscape(account))
	}
	if service != "" {
		add("service", url.QueryEscape(service))
	}
	for _, scope := range scopes {
		if scope != "" { // The scope is empty for a token that is not about a repository.
			add("scope", scopeEscaper.Replace(scope))
		}
	}
	u.RawQuery = b.String()
	return &u
}

// scopeEscaper escapes characters that a registry may write into a scope. Names of repositories need no escape.
var scopeEscaper = strings.NewReplacer("%", "%25", "&", "%26", "#", "%23", "+", "%2B", "\"", "%22", "<", "%3C", ">", "%3E")

// showToken returns the URL for the evidence, with only the first of many scopes.
func showToken(realm *url.URL, service string, scopes []string) string {
	u := url.URL{Scheme: realm.Scheme, Host: realm.Host, Path: realm.Path}
	s := tokenURL(&u, "", service, scopes[:min(len(scopes), 1)]).String()
	if len(scopes) > 1 {
		s += "&scope=..."
	}
	return cleanLine(s, 500)
}

// clientID is the client ID that containerd sends. The check sends the same one as a node, because token servers may
// treat clients differently.
const clientID = "containerd-client"

// tokenForm returns the OAuth2 form: https://distribution.github.io/distribution/spec/auth/oauth/.
func (a *authorizer) tokenForm(service string, scopes []string) url.Values {
	return url.Values{
		"grant_type": {"password"},
		"client_id":  {clientID},
		"service":    {service},
		"scope":      {strings.Join(scopes, " ")},
		"username":   {a.credential.Username},
		"password":   {a.credential.Password.Reveal()},
	}
}

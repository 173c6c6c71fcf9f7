package validate

import (
	"context"
	"net/http"
	"time"

	"github.com/regcred/regcred/registry"
)

// A pingResult is what a registry said to GET /v2/ without a login: how it wants to be logged in at.
type pingResult struct {
	answer    *response
	failed    *registry.Error
	exchanges []Exchange
	good      time.Time
}

func (p *pingResult) fresh() bool { return p != nil && time.Now().Before(p.good) }

// pingLife is for sessions that last longer; they end by themselves.
const pingLife = 24 * time.Hour

// pingOnce pings the registry, once for all callers (single flight). A failure is returned to all callers that wait;
// later callers try again.
func (o *origin) pingOnce(ctx context.Context, t *trace) (*pingResult, *registry.Error) {
	p, err := o.ping.get(ctx, func() *pingResult {
		own := &trace{}
		p := &pingResult{good: time.Now().Add(pingLife)}
		p.answer, p.failed = o.do(ctx, own, apiRequest{step: StepPing, method: http.MethodGet, path: "/v2/"})
		p.exchanges = own.exchanges
		switch {
		case p.failed != nil && p.failed.Code == registry.ErrCanceled:
			p.good = time.Time{}
		case p.failed != nil || p.answer.status == http.StatusTooManyRequests || p.answer.status >= 500:
			p.good = time.Now().Add(failureLife)
		default:
			o.setVendor(vendorOfResponse(p.answer.challenges, p.answer.header))
		}
		return p
	})
	if err != nil {
		return nil, canceled(ctx)
	}
	t.share(p, p.exchanges, nil)
	return p, p.failed
}

// setVendor records the vendor of the registry, unless the host name or an earlier response has told it.
func (o *origin) setVendor(v vendor) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.vendor == anyVendor {
		o.vendor = v
	}
}

func (o *origin) knownVendor() vendor {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.vendor
}

// isRegistry reports whether the ping was answered as a registry does.
func (p *pingResult) isRegistry() bool {
	a := p.answer
	if a == nil {
		return false
	}
	if a.status == http.StatusUnauthorized {
		return len(a.challenges) > 0
	}
	return a.ok() && !a.html && a.mediaType() != "text/html"
}

// A loginResult is the registry's answer to a login as such, whatever the login may pull.
type loginResult struct {
	refused    *response       // Nil if it was not.
	failed     *registry.Error // Why nothing is known.
	unverified bool            // The registry takes everybody, so it did not say.
	exchanges  []Exchange
	warnings   []string
	good       time.Time
}

func (l *loginResult) fresh() bool { return l != nil && time.Now().Before(l.good) }

// login asks whether the login is good, once for all who want to know. That is what docker login does: a token without
// a scope, and with it the API's root. Harbor's token server, which gives everybody a token for a scope, refuses a bad
// login when it is asked for none.
func (a *authorizer) login(ctx context.Context, t *trace) (*loginResult, *registry.Error) {
	ping, err := a.o.pingOnce(ctx, t)
	if err != nil {
		return nil, err
	}
	l, left := a.loginCheck.get(ctx, func() *loginResult {
		own := &trace{}
		l := a.tryLogin(ctx, own, ping)
		l.exchanges, l.warnings = own.exchanges, own.warnings
		switch {
		case l.failed != nil && l.failed.Code == registry.ErrCanceled:
			l.good = time.Time{}
		case l.failed != nil:
			l.good = time.Now().Add(failureLife)
		default:
			l.good = time.Now().Add(minTokenLife)
		}
		return l
	})
	if left != nil {
		return nil, canceled(ctx)
	}
	t.share(l, l.exchanges, l.warnings)
	return l, l.failed
}

func (a *authorizer) tryLogin(ctx context.Context, t *trace, ping *pingResult) *loginResult {
	if !ping.isRegistry() {
		return &loginResult{refused: ping.answer}
	}
	c := choose(ping.answer.challenges)
	switch everybody := ping.answer.ok(); {
	case everybody && (a.credential.Anonymous || a.o.knownVendor() == mcr), a.credential.Anonymous && c.scheme == schemeBearer:
		return &loginResult{unverified: true} // What is public, only a request for it tells.
	}
	if err := unsupportedScheme(ping.answer.challenges); err != nil {
		return &loginResult{failed: err}
	}
	if c.scheme == "" {
		return &loginResult{unverified: true} // Nobody asked for the login.
	}
	root := apiRequest{step: StepLogin, method: http.MethodGet, path: "/v2/", auth: a.basicAuth()}
	if c.scheme == schemeBearer {
		tok := a.fetch(ctx, c, nil, nil)
		t.add(tok.exchanges...)
		for _, w := range tok.warnings {
			t.warn(w)
		}
		if tok.failed != nil || tok.bad != nil {
			return &loginResult{refused: tok.bad, failed: tok.failed}
		}
		root.auth = authorization{"Bearer", tok.value, a.credential.Password}
	}
	ans, err := a.o.do(ctx, t, root)
	switch {
	case err != nil:
		return &loginResult{failed: err}
	case !ans.ok():
		return &loginResult{refused: ans}
	}
	return &loginResult{}
}

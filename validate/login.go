package validate

import (
	"context"
	"net/http"
	"time"

	"github.com/regcred/regcred/registry"
)

// A pingResult is a registry's response to GET /v2/ without a login, which has its authentication challenge.
type pingResult struct {
	answer    *response
	failed    *registry.Error
	exchanges []Exchange
	good      time.Time
}

func (p *pingResult) fresh() bool { return p != nil && time.Now().Before(p.good) }

// pingLife is the time after which a long session pings again. Most sessions end before.
const pingLife = 24 * time.Hour

// pingOnce pings the registry, once for all callers (single flight). A failure is returned to all waiting callers;
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

// setVendor records the vendor of the registry, unless the host name or an earlier response has identified it.
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

// isRegistry reports whether the response to the ping is a registry's.
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

// A loginResult is the registry's response to a login, independent of the images that the login may pull.
type loginResult struct {
	refused    *response       // Nil if the login was not rejected.
	failed     *registry.Error // Why there is no result.
	unverified bool            // The registry accepts every request, so the login was not checked.
	exchanges  []Exchange
	warnings   []string
	good       time.Time
}

func (l *loginResult) fresh() bool { return l != nil && time.Now().Before(l.good) }

// login checks the login, once for all callers. Like docker login, it requests a token without a scope, and the API's
// root with that token. Harbor's token server issues a token for a scope to every client, but rejects a bad login if no
// scope is requested.
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
		return &loginResult{unverified: true} // Only a request for an image shows whether it is public.
	}
	if err := unsupportedScheme(ping.answer.challenges); err != nil {
		return &loginResult{failed: err}
	}
	if c.scheme == "" {
		return &loginResult{unverified: true} // The registry requires no login.
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
	ans, err := a.do(ctx, t, ping, c, root)
	switch {
	case err != nil:
		return &loginResult{failed: err}
	case !ans.ok():
		return &loginResult{refused: ans}
	}
	return &loginResult{}
}

package validate

import (
	"context"
	"net/http"
	"time"

	"github.com/regcred/regcred/registry"
)

// A pingAnswer is what a registry said to GET /v2/ without a login: how it wants to be logged in at.
type pingAnswer struct {
	answer    *answer
	failed    *registry.Error
	exchanges []Exchange
	good      time.Time
}

func (p *pingAnswer) fresh() bool { return p != nil && time.Now().Before(p.good) }

// pingLife is for sessions that last longer; they end by themselves.
const pingLife = 24 * time.Hour

// greet pings the registry, once for all. No answer is the same for all who wait; those who come later try again.
func (o *origin) greet(ctx context.Context, t *trace) (*pingAnswer, *registry.Error) {
	p, err := o.ping.get(ctx, func() *pingAnswer {
		own := &trace{}
		p := &pingAnswer{good: time.Now().Add(pingLife)}
		p.answer, p.failed = o.ask(ctx, own, query{step: StepPing, method: http.MethodGet, path: "/v2/"})
		p.exchanges = own.exchanges
		switch {
		case p.failed != nil && p.failed.Code == registry.ErrCanceled:
			p.good = time.Time{}
		case p.failed != nil || p.answer.status == http.StatusTooManyRequests || p.answer.status >= 500:
			p.good = time.Now().Add(failureLife)
		default:
			o.meet(vendorOfAnswer(p.answer.challenges, p.answer.header))
		}
		return p
	})
	if err != nil {
		return nil, canceled(ctx)
	}
	t.share(p, p.exchanges, nil)
	return p, p.failed
}

// meet notes whose registry it is. A name, and what was seen first, counts.
func (o *origin) meet(v vendor) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.vendor == anyVendor {
		o.vendor = v
	}
}

func (o *origin) whose() vendor {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.vendor
}

// isRegistry reports whether the ping was answered as a registry does.
func (p *pingAnswer) isRegistry() bool {
	a := p.answer
	if a == nil {
		return false
	}
	if a.status == http.StatusUnauthorized {
		return len(a.challenges) > 0
	}
	return a.ok() && !a.html && a.mediaType() != "text/html"
}

// A loginAnswer is what is known of an account's login, whatever it may pull.
type loginAnswer struct {
	refused   *answer         // Nil if it was not.
	failed    *registry.Error // Why nothing is known.
	unasked   bool            // The registry takes everybody, so it did not say.
	exchanges []Exchange
	warnings  []string
	good      time.Time
}

func (l *loginAnswer) fresh() bool { return l != nil && time.Now().Before(l.good) }

// login asks whether the login is good, once for all who want to know. That is what docker login does: a token without
// a scope, and with it the API's root. Harbor's token server, which gives everybody a token for a scope, refuses a bad
// login when it is asked for none.
func (a *account) login(ctx context.Context, t *trace) (*loginAnswer, *registry.Error) {
	ping, err := a.o.greet(ctx, t)
	if err != nil {
		return nil, err
	}
	l, left := a.loginCheck.get(ctx, func() *loginAnswer {
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

func (a *account) tryLogin(ctx context.Context, t *trace, ping *pingAnswer) *loginAnswer {
	if !ping.isRegistry() {
		return &loginAnswer{refused: ping.answer}
	}
	c := choose(ping.answer.challenges)
	switch everybody := ping.answer.ok(); {
	case everybody && (a.credential.Anonymous || a.o.whose() == mcr), a.credential.Anonymous && c.scheme == schemeBearer:
		return &loginAnswer{unasked: true} // What is public, only a request for it tells.
	}
	root := query{step: StepLogin, method: http.MethodGet, path: "/v2/", auth: a.basicAuth()}
	if c.scheme == schemeBearer {
		tok := a.fetch(ctx, c, nil)
		t.add(tok.exchanges...)
		for _, w := range tok.warnings {
			t.warn(w)
		}
		if tok.failed != nil || tok.bad != nil {
			return &loginAnswer{refused: tok.bad, failed: tok.failed}
		}
		root.auth = authorization{"Bearer", tok.value, a.credential.Password}
	}
	ans, err := a.o.ask(ctx, t, root)
	switch {
	case err != nil:
		return &loginAnswer{failed: err}
	case !ans.ok():
		return &loginAnswer{refused: ans}
	}
	return &loginAnswer{unasked: ping.answer.ok() && c.scheme == ""}
}

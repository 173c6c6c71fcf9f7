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

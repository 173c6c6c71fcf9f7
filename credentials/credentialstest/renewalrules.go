package credentialstest

import (
	"context"
	"errors"
	"testing/synctest"
	"time"

	"github.com/regcred/regcred/credentials"
)

// use requests theKey at each step of time, for d, and returns the answers.
func (p *probe) use(src credentials.Source, step, d time.Duration) []answer {
	var answers []answer
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(step) {
		answers = append(answers, p.ask(src))
	}
	return answers
}

// wantNoFailure reports errors, expired credentials and callers who waited.
func (p *probe) wantNoFailure(when string, answers []answer) {
	for _, a := range answers {
		switch {
		case a.err != nil:
			p.errorf("%s: a caller got the error %q", when, a.err)
		case a.took > 0:
			p.errorf("%s: a caller waited %s", when, a.took)
		default:
			continue
		}
		return
	}
}

var renewalRules = []cacheRule{
	{"renewal comes before the end", func(p *probe) {
		for _, life := range []time.Duration{time.Minute, 15 * time.Minute, time.Hour, 12 * time.Hour, 90 * 24 * time.Hour} {
			iss := p.issuer(Step{Life: life})
			key := credentials.Key{Issuer: "test", Scope: life.String()}
			ask := func() answer { return <-p.askKey(context.Background(), key, iss) }
			ask()
			time.Sleep(life / 4)
			p.want(life.String()+", a quarter over", "token-1", ask())
			p.wantCalls(life.String()+", a quarter over", iss, 1, 1)
			time.Sleep(life/4*3 - time.Second)
			ask()
			time.Sleep(500 * time.Millisecond)
			p.want(life.String()+", near the end", "token-2", ask())
		}
	}},
	{"nobody waits for a renewal", func(p *probe) {
		iss := p.issuer(Step{Life: time.Hour}, Step{Life: time.Hour, Takes: 20 * time.Second})
		p.ask(iss)
		p.wantNoFailure("while renewal goes on", p.use(iss, time.Second, 90*time.Minute))
		p.wantCalls("after 90 minutes", iss, 2, 2)
	}},
	{"a renewal is one call", func(p *probe) {
		iss := p.issuer(Step{Life: time.Hour}, Step{Life: time.Hour, Takes: 5 * time.Second})
		p.ask(iss)
		time.Sleep(58 * time.Minute)
		p.crowd(100, iss)
		time.Sleep(time.Second)
		p.crowd(100, iss)
		p.wantCalls("of a crowd", iss, 2, 2)
		if iss.AtOnce() > 1 {
			p.errorf("%d calls at once", iss.AtOnce())
		}
	}},
	{"a renewal that fails does not fail callers", func(p *probe) {
		iss := p.issuer(Step{Life: time.Hour}, Step{Err: errIssuer})
		p.ask(iss)
		p.wantNoFailure("while renewals fail", p.use(iss, time.Second, time.Hour))
	}},
	{"a renewal that fails is tried again", func(p *probe) {
		iss := p.issuer(Step{Life: time.Hour}, Step{Err: errIssuer}, Step{Err: errIssuer}, Step{Life: time.Hour})
		p.ask(iss)
		p.wantNoFailure("while renewals fail", p.use(iss, time.Second, 90*time.Minute))
		p.wantCalls("after three renewals", iss, 4, 4)
	}},
	{"failing renewals leave the issuer in peace", func(p *probe) {
		iss := p.issuer(Step{Life: time.Hour}, Step{Err: errIssuer})
		p.ask(iss)
		p.use(iss, time.Second, time.Hour)
		p.wantCalls("of a life of an hour", iss, 3, 60)
	}},
	{"a renewal that hangs ends and is tried again", func(p *probe) {
		iss := p.issuer(Step{Life: time.Hour}, Step{Hang: true}, Step{Life: time.Hour})
		p.ask(iss)
		p.wantNoFailure("while a renewal hangs", p.use(iss, time.Second, 90*time.Minute))
	}},
	{"an expired credential is never handed out", func(p *probe) {
		iss := p.issuer(Step{Life: time.Hour}, Step{Err: errIssuer})
		p.ask(iss)
		p.use(iss, time.Second, time.Hour)
		for range 3600 {
			if p.wantError("after the expiry", p.ask(iss)); len(p.errs) > 0 {
				return
			}
			time.Sleep(time.Second)
		}
	}},
	{"a renewal that brings nonsense changes nothing", func(p *probe) {
		empty := func(c *credentials.Credential) { *c = credentials.Credential{} }
		iss := p.issuer(Step{Life: time.Hour}, Step{Change: empty})
		p.ask(iss)
		for _, a := range p.use(iss, time.Minute, 55*time.Minute) {
			p.want("beside nonsense", "token-1", a)
		}
	}},
	{"a source that repeats itself is not asked each time", func(p *probe) {
		issued := time.Now()
		iss := p.issuer(Step{Change: func(c *credentials.Credential) {
			c.Password, c.IssuedAt, c.ExpiresAt = credentials.NewSecret("same"), issued, issued.Add(time.Hour)
		}})
		time.Sleep(50 * time.Minute)
		p.use(iss, time.Second, 10*time.Minute)
		p.wantCalls("in its last ten minutes", iss, 2, 40)
	}},

	// Failures without a credential.
	{"after a failure the issuer is left alone a while", func(p *probe) {
		iss := p.issuer(Step{Err: errIssuer})
		for _, a := range p.use(iss, 100*time.Millisecond, 10*time.Minute) {
			if !errors.Is(a.err, errIssuer) {
				p.errorf("got %v, want the issuer's error", a.err)
				break
			}
		}
		p.wantCalls("in ten minutes", iss, 8, 60)
	}},
	{"after an outage callers get a credential within minutes", func(p *probe) {
		iss := p.issuer(Step{Err: errIssuer})
		p.use(iss, time.Second, time.Hour)
		iss.Script(Step{Life: time.Hour})
		p.use(iss, time.Second, 5*time.Minute)
		if a := p.ask(iss); a.err != nil {
			p.errorf("five minutes after the outage: %v", a.err)
		}
	}},
	{"an issuer that asks for time gets it", func(p *probe) {
		iss := p.issuer(Step{Err: errIssuer, RetryAfter: 5 * time.Minute}, Step{Life: time.Hour})
		p.use(iss, time.Second, 5*time.Minute)
		p.wantCalls("within the five minutes it asked for", iss, 1, 1)
		time.Sleep(5 * time.Minute)
		p.want("after them", "token-2", p.ask(iss))
	}},
	{"an issuer that asks for too much time is asked before the end", func(p *probe) {
		iss := p.issuer(Step{Life: time.Hour},
			Step{Err: errIssuer, RetryAfter: 24 * time.Hour}, Step{Life: time.Hour, Takes: time.Second})
		p.ask(iss)
		p.wantNoFailure("while it is throttled", p.use(iss, time.Second, 90*time.Minute))
	}},

	// Rejected credentials.
	{"what was refused is dropped", func(p *probe) {
		iss := p.issuer(Step{Life: time.Hour})
		refused := p.ask(iss)
		p.cache.Invalidate(theKey, refused.Credential)
		p.want("after it was refused", "token-2", p.ask(iss))
	}},
	{"a refusal that comes late drops nothing newer", func(p *probe) {
		iss := p.issuer(Step{Life: time.Hour})
		refused := p.ask(iss)
		p.cache.Invalidate(theKey, refused.Credential)
		p.ask(iss)
		p.cache.Invalidate(theKey, refused.Credential)
		p.want("after a late refusal", "token-2", p.ask(iss))
	}},
	{"a refusal drops nothing of other keys", func(p *probe) {
		iss := p.issuer(Step{})
		other := credentials.Key{Issuer: "test", Scope: "other"}
		<-p.askKey(context.Background(), other, iss)
		refused := p.ask(iss)
		p.cache.Invalidate(theKey, refused.Credential)
		p.want("another key", "token-1", <-p.askKey(context.Background(), other, iss))
	}},
	{"a storm of refusals makes one call", func(p *probe) {
		iss := p.issuer(Step{Life: time.Hour}, Step{Life: time.Hour, Takes: time.Second})
		refused := p.ask(iss)
		var waits []<-chan answer
		for range 100 {
			p.cache.Invalidate(theKey, refused.Credential)
			waits = append(waits, p.askKey(context.Background(), theKey, iss))
			synctest.Wait()
		}
		for _, wait := range waits {
			p.want("in the storm", "token-2", <-wait)
		}
		p.wantCalls("after the storm", iss, 2, 2)
	}},
	{"what is refused each time does not loop", func(p *probe) {
		iss := p.issuer(Step{Life: time.Hour})
		for range 10_000 {
			if a := p.ask(iss); a.err == nil {
				p.cache.Invalidate(theKey, a.Credential)
			}
			time.Sleep(10 * time.Millisecond)
		}
		p.wantCalls("in a hundred seconds", iss, 3, 30)
		time.Sleep(10 * time.Minute)
		if a := p.ask(iss); a.err != nil {
			p.errorf("ten minutes later: %v", a.err)
		}
	}},
}

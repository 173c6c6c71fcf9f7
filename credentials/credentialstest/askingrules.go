package credentialstest

import (
	"context"
	"errors"
	"fmt"
	"testing/synctest"
	"time"

	"github.com/regcred/regcred/credentials"
)

var errIssuer = errors.New("issuer is down")

var askingRules = []cacheRule{
	// Fresh credentials.
	{"a fresh credential is used again", func(p *probe) {
		iss := p.issuer(Step{Life: time.Hour})
		for range 10 {
			p.want("within ten minutes", "token-1", p.ask(iss))
			time.Sleep(time.Minute)
		}
		p.wantCalls("after ten minutes", iss, 1, 1)
	}},
	{"a credential without expiry is never renewed", func(p *probe) {
		iss := p.issuer(Step{})
		for range 12 {
			p.want("within a year", "token-1", p.ask(iss))
			time.Sleep(30 * 24 * time.Hour)
		}
	}},
	{"what is handed out is what was issued", func(p *probe) {
		var issued credentials.Credential
		iss := p.issuer(Step{Life: time.Hour, Change: func(c *credentials.Credential) { issued = *c }})
		if a := p.ask(iss); !a.Equal(issued) {
			p.errorf("got %+v, issued was %+v", a.Credential, issued)
		}
	}},
	{"an anonymous credential is a credential", func(p *probe) {
		iss := p.issuer(Step{Change: func(c *credentials.Credential) { *c = credentials.Credential{Anonymous: true} }})
		if a := p.ask(iss); a.err != nil || !a.Anonymous {
			p.errorf("got %+v, %v", a.Credential, a.err)
		}
	}},
	{"keys are kept apart", func(p *probe) {
		for i, key := range differentKeys {
			iss := p.issuer(Step{Change: func(c *credentials.Credential) { c.Username = fmt.Sprint("user-", i) }})
			if a := <-p.askKey(context.Background(), key, iss); a.Username != fmt.Sprint("user-", i) {
				p.errorf("key %+v got the credential of %s", key, a.Username)
			}
		}
	}},

	// Missing credentials.
	{"an issuer's error is the caller's", func(p *probe) {
		if a := p.ask(p.issuer(Step{Err: errIssuer})); !errors.Is(a.err, errIssuer) {
			p.errorf("got %+v, %v", a.Credential, a.err)
		}
	}},
	{"an empty credential is an error", func(p *probe) {
		p.wantError("empty", p.ask(p.issuer(Step{Change: func(c *credentials.Credential) { *c = credentials.Credential{} }})))
	}},
	{"an expired credential is an error", func(p *probe) {
		p.wantError("expired", p.ask(p.issuer(Step{Life: time.Hour, Change: func(c *credentials.Credential) {
			c.IssuedAt, c.ExpiresAt = c.IssuedAt.Add(-2*time.Hour), c.ExpiresAt.Add(-2*time.Hour)
		}})))
	}},
	{"an expiry before the issue is an error", func(p *probe) {
		p.wantError("turned round", p.ask(p.issuer(Step{Life: time.Hour, Change: func(c *credentials.Credential) {
			c.IssuedAt = c.ExpiresAt.Add(time.Hour)
		}})))
	}},
	{"an expiry in centuries is an error", func(p *probe) {
		p.wantError("year 9999", p.ask(p.issuer(Step{Change: func(c *credentials.Credential) {
			c.ExpiresAt = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)
		}})))
	}},
	{"one call serves all who wait", func(p *probe) {
		iss := p.issuer(Step{Life: time.Hour, Takes: time.Second})
		for _, a := range p.crowd(100, iss) {
			p.want("in a crowd", "token-1", a)
		}
		p.wantCalls("for a crowd", iss, 1, 1)
	}},
	{"a call that fails is shared too", func(p *probe) {
		iss := p.issuer(Step{Err: errIssuer, Takes: time.Second})
		for _, a := range p.crowd(100, iss) {
			p.wantError("in a crowd", a)
		}
		p.wantCalls("for a crowd", iss, 1, 2)
	}},
	{"cold keys do not wait for each other", func(p *probe) {
		iss := p.issuer(Step{Life: time.Hour, Takes: time.Second})
		var waits []<-chan answer
		for i := range 50 {
			waits = append(waits, p.askKey(context.Background(), credentials.Key{Issuer: "test", Scope: fmt.Sprint(i)}, iss))
		}
		for _, wait := range waits {
			if a := <-wait; a.err != nil || a.took > time.Second {
				p.errorf("waited %s for a call of one second, error %v", a.took, a.err)
			}
		}
	}},
	{"a call does not hold up other keys", func(p *probe) {
		warm, cold := p.issuer(Step{}), p.issuer(Step{Hang: true})
		other := credentials.Key{Issuer: "test", Scope: "other"}
		<-p.askKey(context.Background(), other, warm)
		p.askKey(context.Background(), theKey, cold)
		synctest.Wait()
		p.wantAtOnce("beside a call that hangs", "token-1", <-p.askKey(context.Background(), other, warm))
	}},

	// Callers and their contexts.
	{"a waiter leaves when its context ends", func(p *probe) {
		cause := errors.New("no longer needed")
		ctx, cancel := context.WithCancelCause(context.Background())
		iss := p.issuer(Step{Hang: true})
		first := p.askKey(context.Background(), theKey, iss)
		synctest.Wait()
		second := p.askKey(ctx, theKey, iss)
		time.Sleep(time.Second)
		cancel(cause)
		if a := <-second; !errors.Is(a.err, cause) || a.took > time.Second {
			p.errorf("left after %s with %v, want the cause of the end of its context after a second", a.took, a.err)
		}
		<-first
	}},
	{"a caller who leaves does not fail the others", func(p *probe) {
		ctx, cancel := context.WithCancel(context.Background())
		iss := p.issuer(Step{Life: time.Hour, Takes: 2 * time.Second})
		first := p.askKey(ctx, theKey, iss)
		synctest.Wait()
		second := p.askKey(context.Background(), theKey, iss)
		time.Sleep(time.Second)
		cancel()
		p.want("the one who stayed", "token-1", <-second)
		<-first
	}},
	{"a call has the values of its caller's context", func(p *probe) {
		type trace struct{}
		iss := p.issuer(Step{})
		<-p.askKey(context.WithValue(context.Background(), trace{}, "span"), theKey, iss)
		if iss.context().Value(trace{}) != "span" {
			p.errorf("the values of the context are gone")
		}
	}},
	{"a call that hangs ends", func(p *probe) {
		iss := p.issuer(Step{Hang: true}, Step{Life: time.Hour})
		p.wantError("hung", p.ask(iss))
		time.Sleep(10 * time.Minute)
		p.want("after it", "token-2", p.ask(iss))
	}},
	{"a call that ignores its context holds up nobody", func(p *probe) {
		iss := p.issuer(Step{Hang: true, Deaf: true}, Step{Life: time.Hour})
		p.wantError("deaf", p.ask(iss))
		time.Sleep(10 * time.Minute)
		p.want("after it", "token-2", p.ask(iss))
	}},
}

// differentKeys are keys that differ in one field each.
var differentKeys = []credentials.Key{
	{},
	{Tenant: "a"},
	{Tenant: "b"},
	{Issuer: "a"},
	{Scope: "a"},
	{Tenant: "a", Issuer: "b"},
	{Tenant: "ab"},
	{Login: credentials.Fingerprint{1}},
	{Login: credentials.Fingerprint{15: 1}},
	{Transport: credentials.Fingerprint{1}},
}

// crowd requests theKey n times concurrently.
func (p *probe) crowd(n int, src credentials.Source) []answer {
	waits := make([]<-chan answer, n)
	for i := range waits {
		waits[i] = p.askKey(context.Background(), theKey, src)
	}
	answers := make([]answer, n)
	for i := range waits {
		answers[i] = <-waits[i]
	}
	return answers
}

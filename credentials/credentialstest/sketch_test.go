package credentialstest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/regcred/regcred/credentials"
)

// A sketch is a minimal cache that follows all rules except the one of its flaw.
type sketch struct {
	flaw string

	mu    sync.Mutex
	items map[credentials.Key]*item
	turn  chan struct{} // For flaws that serialize; a mutex would stop the bubble's clock.
}

type item struct {
	cred     credentials.Credential
	has      bool
	renew    time.Time // Zero means never.
	until    time.Time // No call before.
	err      error
	failures int
	refusals int
	call     *flight
}

type flight struct {
	done chan struct{}
	cred credentials.Credential
	err  error
}

func newSketch(flaw string) *sketch {
	return &sketch{flaw: flaw, items: map[credentials.Key]*item{}, turn: make(chan struct{}, 1)}
}

func (s *sketch) has(flaw string) bool { return s.flaw == flaw }

func (s *sketch) Credential(ctx context.Context, key credentials.Key, src credentials.Source) (credentials.Credential, error) {
	if s.has("a call does not hold up other keys") {
		s.turn <- struct{}{}
		defer func() { <-s.turn }()
	}
	if s.has("keys are kept apart") {
		key.Tenant = ""
	}
	s.mu.Lock()
	it := s.items[key]
	if it == nil {
		it = &item{}
		s.items[key] = it
	}
	now := time.Now()
	expired := it.has && it.cred.Expired(now)
	if it.has && !expired && !s.has("a fresh credential is used again") {
		defer s.mu.Unlock()
		return s.usable(ctx, it, src, now)
	}
	old := it.cred
	it.has = false
	if now.Before(it.until) && !s.has("after a failure the issuer is left alone a while") {
		defer s.mu.Unlock()
		if expired && s.has("an expired credential is never handed out") {
			it.has = true
			return old, nil
		}
		return credentials.Credential{}, it.err
	}
	call := it.call
	if call == nil || s.has("one call serves all who wait") {
		call = s.start(ctx, it, src)
	}
	s.mu.Unlock()
	over := ctx.Done()
	if s.has("a waiter leaves when its context ends") {
		over = nil
	}
	select {
	case <-call.done:
	case <-over:
		return credentials.Credential{}, context.Cause(ctx)
	}
	switch {
	case call.err == nil:
		return call.cred, nil
	case s.has("a call that fails is shared too"):
		return src.Credential(ctx)
	case s.has("an issuer's error is the caller's"):
		return credentials.Credential{Anonymous: true}, nil
	case expired && s.has("an expired credential is never handed out"):
		return old, nil
	}
	return credentials.Credential{}, call.err
}

// usable returns a usable credential, and renews it if that is due. The mutex is held.
func (s *sketch) usable(ctx context.Context, it *item, src credentials.Source, now time.Time) (credentials.Credential, error) {
	cred := it.cred
	idle := it.call == nil || s.has("a renewal is one call")
	if it.renew.IsZero() || now.Before(it.renew) || !idle {
		return cred, nil
	}
	call := s.start(ctx, it, src)
	if s.has("nobody waits for a renewal") || s.has("a renewal that fails does not fail callers") {
		s.mu.Unlock()
		<-call.done
		s.mu.Lock()
		if call.err != nil && s.has("a renewal that fails does not fail callers") {
			return credentials.Credential{}, call.err
		}
	}
	return cred, nil
}

// start starts a call. The mutex is held.
func (s *sketch) start(ctx context.Context, it *item, src credentials.Source) *flight {
	call := &flight{done: make(chan struct{})}
	it.call = call
	renewal := it.has
	callCtx := context.WithoutCancel(ctx)
	switch {
	case s.has("a caller who leaves does not fail the others"):
		callCtx = ctx
	case s.has("a call has the values of its caller's context"):
		callCtx = context.Background()
	}
	timeout := 30 * time.Second
	if s.has("a call that hangs ends") || renewal && s.has("a renewal that hangs ends and is tried again") {
		timeout = 1000 * time.Hour
	}
	callCtx, cancel := context.WithTimeout(callCtx, timeout)
	answer := make(chan flight, 1)
	go func() {
		if s.has("cold keys do not wait for each other") {
			s.turn <- struct{}{}
			defer func() { <-s.turn }()
		}
		c, err := src.Credential(callCtx)
		answer <- flight{cred: c, err: err}
	}()
	late := callCtx.Done()
	if s.has("a call that ignores its context holds up nobody") {
		late = nil
	}
	go func() {
		defer cancel()
		select {
		case a := <-answer:
			call.cred, call.err = a.cred, a.err
		case <-late:
			time.Sleep(time.Second)
			call.err = context.Cause(callCtx)
			select {
			case a := <-answer:
				call.cred, call.err = a.cred, a.err
			default:
			}
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		defer close(call.done)
		if it.call == call {
			it.call = nil
		}
		s.take(it, call, renewal)
	}()
	return call
}

// take stores the result of a call. The mutex is held.
func (s *sketch) take(it *item, call *flight, renewal bool) {
	now := time.Now()
	c := &call.cred
	if call.err == nil {
		call.err = s.judge(*c, renewal, now)
	}
	left := it.cred.ExpiresAt.Sub(now)
	if call.err != nil {
		it.failures++
		it.err = call.err
		var asks interface{ RetryAfter() time.Duration }
		var patience time.Duration
		if errors.As(call.err, &asks) && !s.has("an issuer that asks for time gets it") {
			patience = asks.RetryAfter()
		}
		if it.has {
			wait := max(time.Second, left/4)
			if patience > wait {
				wait = max(wait, min(patience, left-5*time.Minute))
			}
			switch {
			case s.has("a renewal that fails is tried again"):
				wait = left + time.Second
			case s.has("failing renewals leave the issuer in peace"):
				wait = 0
			case s.has("an issuer that asks for too much time is asked before the end") && patience > 0:
				wait = patience
			}
			it.renew = now.Add(wait)
			return
		}
		wait := min(time.Second<<it.failures, time.Minute)
		if s.has("after an outage callers get a credential within minutes") {
			wait = time.Second << it.failures
		}
		it.until = now.Add(max(wait, min(patience, 10*time.Minute)))
		return
	}
	if s.has("what is handed out is what was issued") {
		c.ExpiresAt = c.ExpiresAt.Add(-time.Minute)
	}
	it.cred, it.has, it.failures, it.until = *c, true, 0, time.Time{}
	it.renew = time.Time{}
	if s.has("a credential without expiry is never renewed") && c.ExpiresAt.IsZero() {
		it.renew = now.Add(time.Hour)
	}
	if !c.ExpiresAt.IsZero() && !s.has("renewal comes before the end") {
		it.renew = c.IssuedAt.Add(c.ExpiresAt.Sub(c.IssuedAt) / 5 * 4)
		if !s.has("a source that repeats itself is not asked each time") && !it.renew.After(now) {
			it.renew = now.Add(max(time.Second, c.ExpiresAt.Sub(now)/4))
		}
	}
}

func (s *sketch) judge(c credentials.Credential, renewal bool, now time.Time) error {
	err := c.Validate(now)
	switch {
	case errors.Is(err, credentials.ErrEmpty) && s.has("an empty credential is an error"),
		errors.Is(err, credentials.ErrCredentialExpired) && s.has("an expired credential is an error"),
		errors.Is(err, credentials.ErrImplausibleDates) && s.has("an expiry before the issue is an error"),
		renewal && s.has("a renewal that brings nonsense changes nothing"):
		return nil
	case c.Anonymous && s.has("an anonymous credential is a credential"):
		return credentials.ErrEmpty
	case c.ExpiresAt.Year() > now.Year()+20 && !s.has("an expiry in centuries is an error"):
		return credentials.ErrImplausibleDates
	}
	return err
}

func (s *sketch) Invalidate(key credentials.Key, refused credentials.Credential) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.has("what was refused is dropped"):
		return
	case s.has("a refusal drops nothing of other keys"):
		clear(s.items)
		return
	}
	it := s.items[key]
	if it == nil {
		return
	}
	if s.has("a storm of refusals makes one call") {
		it.call = nil
	}
	if !it.has || !it.cred.Equal(refused) && !s.has("a refusal that comes late drops nothing newer") {
		return
	}
	it.has = false
	it.refusals++
	it.err = credentials.ErrRejected
	if it.refusals > 1 && !s.has("what is refused each time does not loop") {
		it.until = time.Now().Add(min(time.Second<<it.refusals, time.Minute))
	}
}

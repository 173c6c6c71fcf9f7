package credentialstest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/regcred/regcred/credentials"
)

// A Cache is the interface that [TestCache] tests. [credentials.Cache] implements it; a cache that is bound to one
// source can be adapted with a map.
type Cache interface {
	// Credential returns the credential for the key. If it needs a new one, it calls src.
	Credential(ctx context.Context, key credentials.Key, src credentials.Source) (credentials.Credential, error)
	// Invalidate drops the credential for the key if it equals refused.
	Invalidate(key credentials.Key, refused credentials.Credential)
}

// TestCache tests that a cache follows all rules that callers can rely on. newCache must return a new, empty cache on
// each call. Each rule is a subtest.
//
// The tests run in bubbles of package [synctest], with a simulated clock, and take no real time. A cache that holds a
// mutex while it calls a source would block in a bubble; the test reports that after a minute.
func TestCache(t *testing.T, newCache func() Cache) {
	for _, rule := range slices.Concat(askingRules, renewalRules) {
		t.Run(rule.name, func(t *testing.T) {
			watchdog := time.AfterFunc(time.Minute, func() {
				panic("rule " + rule.name + ": no progress; does the cache hold a mutex while it asks its source?")
			})
			defer watchdog.Stop()
			synctest.Test(t, func(t *testing.T) {
				for _, err := range rule.broken(newCache()) {
					t.Error(err)
				}
			})
		})
	}
}

// A cacheRule is one requirement on a cache.
type cacheRule struct {
	name  string
	check func(p *probe)
}

// broken returns the violations of the rule by the cache. It runs in a bubble.
func (r cacheRule) broken(cache Cache) []error {
	p := &probe{cache: cache}
	defer p.end()
	r.check(p)
	return p.errs
}

// A probe is one cache under test.
type probe struct {
	cache   Cache
	issuers []*Issuer
	errs    []error
}

// end lets all goroutines finish.
func (p *probe) end() {
	for _, i := range p.issuers {
		i.Script(Step{})
		i.Release()
	}
	time.Sleep(24 * time.Hour)
}

func (p *probe) errorf(format string, args ...any) {
	p.errs = append(p.errs, fmt.Errorf(format, args...))
}

// issuer returns an issuer with the script.
func (p *probe) issuer(steps ...Step) *Issuer {
	i := &Issuer{Steps: steps}
	p.issuers = append(p.issuers, i)
	return i
}

// theKey is the key of most tests.
var theKey = credentials.Key{Issuer: "test", Scope: "registry.example.com"}

// An answer is the result of a caller.
type answer struct {
	credentials.Credential
	err  error
	took time.Duration
}

func (a answer) password() string { return a.Password.Reveal() }

var errStuck = errors.New("the caller got no answer within a day, though its context had ended")

// ask calls the cache with theKey.
func (p *probe) ask(src credentials.Source) answer {
	return <-p.askKey(context.Background(), theKey, src)
}

// askKey calls the cache in a goroutine.
func (p *probe) askKey(ctx context.Context, key credentials.Key, src credentials.Source) <-chan answer {
	answers := make(chan answer, 2)
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, time.Hour)
	stuck := time.AfterFunc(24*time.Hour, func() { answers <- answer{err: errStuck} })
	go func() {
		defer cancel()
		c, err := p.cache.Credential(ctx, key, src)
		if stuck.Stop() {
			answers <- answer{c, err, time.Since(start)}
		}
	}()
	return answers
}

// want reports an error unless the answer is the credential with the password.
func (p *probe) want(when, password string, a answer) {
	switch {
	case a.err != nil:
		p.errorf("%s: got the error %q, want %s", when, a.err, password)
	case a.password() != password:
		p.errorf("%s: got %q, want %s", when, a.password(), password)
	case a.Expired(time.Now()):
		p.errorf("%s: got a credential that expired at %s", when, a.ExpiresAt)
	}
}

// wantAtOnce is like want, and also reports an error if the caller had to wait.
func (p *probe) wantAtOnce(when, password string, a answer) {
	p.want(when, password, a)
	if a.err == nil && a.took > 0 {
		p.errorf("%s: waited %s", when, a.took)
	}
}

// wantError reports an error unless the answer is an error.
func (p *probe) wantError(when string, a answer) {
	switch {
	case a.err == nil:
		p.errorf("%s: got a credential with the password %q, want an error", when, a.password())
	case errors.Is(a.err, errStuck):
		p.errorf("%s: %w", when, a.err)
	}
}

// wantCalls reports an error unless the number of calls is within the bounds.
func (p *probe) wantCalls(when string, i *Issuer, least, most int) {
	if n := i.Calls(); n < least || n > most {
		p.errorf("%s: %d calls to the issuer, want %d to %d", when, n, least, most)
	}
}

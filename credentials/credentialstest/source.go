package credentialstest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/regcred/regcred/credentials"
)

// TestSource tests that src follows every rule of a [credentials.Source] that is observable from outside. src must be
// able to issue a credential. Each rule is a subtest. The secrets are texts that no error may contain, such as the
// password of the login of src; TestSource adds the passwords that src issues. Each must be long enough not to occur in
// an error by chance.
//
// It may run in a bubble of package synctest, or in real time.
func TestSource(t *testing.T, src credentials.Source, secrets ...string) {
	for _, rule := range sourceRules {
		t.Run(rule.name, func(t *testing.T) {
			for _, err := range rule.broken(src, secrets) {
				t.Error(err)
			}
		})
	}
}

type sourceRule struct {
	name  string
	check func(p *sourceProbe)
}

func (r sourceRule) broken(src credentials.Source, secrets []string) []error {
	p := &sourceProbe{src: src, secrets: secrets}
	r.check(p)
	return p.errs
}

// A sourceProbe is one source under test.
type sourceProbe struct {
	src credentials.Source

	mu      sync.Mutex
	secrets []string
	errs    []error
}

func (p *sourceProbe) errorf(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.errs = append(p.errs, fmt.Errorf(format, args...))
}

// soon is the time within which a source must return after its context ended.
const soon = 30 * time.Second

// ask calls the source. It reports stuck if the source returns too late.
func (p *sourceProbe) ask(ctx context.Context) (c credentials.Credential, err error, stuck bool) {
	answers := make(chan answer, 1)
	go func() {
		c, err := p.src.Credential(ctx)
		answers <- answer{Credential: c, err: err}
	}()
	var a answer
	select {
	case a = <-answers:
	case <-ctx.Done():
		select {
		case a = <-answers:
		case <-time.After(soon):
			return credentials.Credential{}, nil, true
		}
	}
	if a.err == nil && !a.Anonymous {
		p.mu.Lock()
		p.secrets = append(p.secrets, a.password())
		p.mu.Unlock()
	}
	return a.Credential, a.err, false
}

// issue calls a source that must return a credential.
func (p *sourceProbe) issue() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	switch c, err, stuck := p.ask(ctx); {
	case stuck:
		p.errorf("no answer within a minute")
	case err != nil:
		p.errorf("got the error %w, want a credential", err)
	default:
		p.valid(c)
	}
}

func (p *sourceProbe) valid(c credentials.Credential) {
	if err := c.Validate(time.Now()); err != nil {
		p.errorf("handed out without an error: %w", err)
	}
}

// over calls the source with a context that ends with cause, after a while or before the call.
func (p *sourceProbe) over(cause error, after time.Duration) {
	ctx, cancel := context.WithCancelCause(context.Background())
	if after == 0 {
		cancel(cause)
	} else {
		defer time.AfterFunc(after, func() { cancel(cause) }).Stop()
	}
	defer cancel(cause)
	switch c, err, stuck := p.ask(ctx); {
	case stuck:
		p.errorf("no answer within %s of the end of its context", soon)
	case err == nil:
		p.valid(c) // It needed no call, or was fast enough.
	case !errors.Is(err, cause):
		p.errorf("got the error %q, want one that wraps the cause of the end of the context", err)
	default:
		p.clean(err)
	}
}

func (p *sourceProbe) clean(err error) {
	for _, text := range []string{err.Error(), fmt.Sprintf("%+v", err), fmt.Sprintf("%#v", err)} {
		for _, secret := range p.secrets {
			if secret != "" && strings.Contains(text, secret) {
				p.errorf("an error holds a secret")
			}
		}
	}
}

var sourceRules = []sourceRule{
	{"issues what may be handed out", func(p *sourceProbe) {
		p.issue()
		p.issue()
	}},
	{"is safe for concurrent use", func(p *sourceProbe) {
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(p.issue)
		}
		wg.Wait()
	}},
	{"returns soon after its context ends, with the cause", func(p *sourceProbe) {
		p.over(errors.New("ended before"), 0)
		for after := time.Microsecond; after < time.Second; after *= 16 {
			p.over(errors.New("ended meanwhile"), after)
		}
	}},
	{"its errors hold no secret", func(p *sourceProbe) {
		p.issue()
		p.over(errors.New("ended before"), 0)
	}},
}

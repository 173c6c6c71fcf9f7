package regcred

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/validate"
)

// Credential returns the credential of a profile from the cache, once each host of the profile has accepted it. It is
// the credential that an [inject.Syncer] publishes. If a host rejects the credential, Credential gets a new one, but
// only once. If the new one is rejected too, the error is the [registry.Error] of [Pipeline.CheckLogin].
//
// Credential calls each host once for each credential, and again after an hour, so that a password change in the
// registry is noticed. If a host is down, or the hosts do not respond within ten seconds together, Credential returns
// the credential unproven, because the published one will soon expire. It then calls the hosts again after a minute.
func (p *Pipeline) Credential(ctx context.Context, profile registry.Profile) (credentials.Credential, error) {
	if err := p.validate(profile); err != nil {
		return credentials.Credential{}, refused("get credential", err)
	}
	a := p.account(profile)
	if a.credential, a.err = p.credential(ctx, a); a.err != nil {
		return credentials.Credential{}, a.err
	}
	for {
		if p.proven.has(a.proofKey(), a.credential) {
			return a.credential, nil
		}
		result := p.ask(ctx, a)
		switch err := result.Err; {
		case err == nil:
			p.proven.add(a.proofKey(), a.credential, provenFor)
			return a.credential, nil
		case ctx.Err() != nil:
			return credentials.Credential{}, err
		case errors.Is(err, registry.ErrUnavailable), errors.Is(err, registry.ErrRateLimited), errors.Is(err, errNoProof):
			p.proven.add(a.proofKey(), a.credential, unprovenFor)
			return a.credential, nil
		case a.renewed || !p.renew(ctx, []*account{a}, Outcome{Logins: []validate.Result{result}}):
			return credentials.Credential{}, err
		}
	}
}

func (p *Pipeline) ask(ctx context.Context, a *account) validate.Result {
	ctx, cancel := context.WithTimeoutCause(ctx, proofTimeout, errNoProof)
	defer cancel()
	return p.login(ctx, a)
}

// Check reports whether the images can be pulled with the credentials of the profiles. Its error is the error of
// [Pipeline.Run].
func (p *Pipeline) Check(ctx context.Context, profiles []registry.Profile, images []string) error {
	_, err := p.Run(ctx, Request{Profiles: profiles, Images: images})
	return err
}

// proven remembers which credentials were accepted, and which could not be checked. The zero proven is ready to use.
type proven struct {
	mu   sync.Mutex
	last map[proofKey]proof
}

var errNoProof = errors.New("the registry did not answer in time")

// A proofKey identifies a credential and the hosts that accepted it: one credential may serve the registries of many
// profiles.
type proofKey struct {
	credentials.Key
	hosts string
}

func (a *account) proofKey() proofKey {
	hosts := make([]string, len(a.endpoints))
	for i, e := range a.endpoints {
		hosts[i] = e.Host
	}
	return proofKey{a.key, strings.Join(hosts, " ")}
}

type proof struct {
	credential credentials.Credential
	until      time.Time
}

const (
	// provenFor is the time for which an accepted credential counts as proven. unprovenFor is the time after which a
	// registry that did not respond is called again.
	provenFor, unprovenFor = time.Hour, time.Minute
	// proofTimeout limits the time for a proof. It is shorter than the time that a Syncer allows for a credential.
	proofTimeout = 10 * time.Second
	// maxProofs bounds the number of remembered proofs. Beyond it, all are dropped, which costs one request each.
	maxProofs = 100_000
)

func (p *proven) has(key proofKey, c credentials.Credential) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	last, ok := p.last[key]
	return ok && time.Now().Before(last.until) && last.credential.Equal(c)
}

func (p *proven) add(key proofKey, c credentials.Credential, good time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last == nil || len(p.last) >= maxProofs {
		p.last = make(map[proofKey]proof)
	}
	p.last[key] = proof{c, time.Now().Add(good)}
}

package regcred

import (
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/registry"
)

// Lookup returns the cache's entry for a profile's credential, with the instant of its renewal, for the Lookup of an
// [inject.Syncer]. It issues nothing. If the cache has no entry, just the Key is set.
func (p *Pipeline) Lookup(profile registry.Profile) credentials.Entry {
	key := providers.Key(p.provider(), profile)
	if entry, ok := p.Cache.Lookup(key); ok {
		return entry
	}
	return credentials.Entry{Key: key}
}

// Adopt puts the credential of a profile, which a process before this one had issued, into the cache, and reports
// whether it is better than what is there; see [credentials.Cache.Adopt]. It asks no registry: [Pipeline.Credential] has
// an adopted credential proven like any other, and if the registry rejects it, has it issued again.
func (p *Pipeline) Adopt(profile registry.Profile, c credentials.Credential) bool {
	if p.validate(profile) != nil {
		return false
	}
	a := p.account(profile)
	return p.Cache.Adopt(a.key, a.source, c)
}

// renewAt returns when the cache renews the credential, which was just used; zero if never.
func (p *Pipeline) renewAt(key credentials.Key) time.Time {
	entry, _ := p.Cache.Lookup(key)
	if now := time.Now(); !entry.NextCall.IsZero() && entry.NextCall.Before(now) {
		return now
	}
	return entry.NextCall
}

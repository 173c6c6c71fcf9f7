package regcred

import (
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/registry"
)

// Lookup returns the cache's entry for a profile's credential, with the time of its renewal, for the Lookup of an
// [inject.Syncer]. It does not call the issuer. If the cache has no entry, only the Key is set.
func (p *Pipeline) Lookup(profile registry.Profile) credentials.Entry {
	key := providers.Key(p.provider(), profile)
	if entry, ok := p.Cache.Lookup(key); ok {
		return entry
	}
	return credentials.Entry{Key: key}
}

// Adopt adds to the cache a credential that an earlier process received for the profile, and reports whether it is
// better than the cached one; see [credentials.Cache.Adopt]. It sends no request: [Pipeline.Credential] proves an
// adopted credential like any other, and requests a new one if the registry rejects it.
func (p *Pipeline) Adopt(profile registry.Profile, c credentials.Credential) bool {
	if p.validate(profile) != nil {
		return false
	}
	a := p.account(profile)
	return p.Cache.Adopt(a.key, a.source, c)
}

// renewAt returns the time when the cache renews the credential, which was just used; zero if never.
func (p *Pipeline) renewAt(key credentials.Key) time.Time {
	entry, _ := p.Cache.Lookup(key)
	if now := time.Now(); !entry.NextCall.IsZero() && entry.NextCall.Before(now) {
		return now
	}
	return entry.NextCall
}

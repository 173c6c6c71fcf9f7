package credentials

import "time"

// Adopt stores a credential that this process or another one received earlier, and reports whether the cache accepted
// it. The cache renews the credential like one that src issued. Adopt saves a call to the issuer when a cache has just
// started, and lets a replica that was disconnected continue with the credential that another replica has received
// since.
//
// Adopt accepts a credential only if it is better than the cached one: its times of issue and expiry are known, it is
// not due for renewal by the [Policy], no credential issued at that time or later is usable or was rejected (see
// [Cache.Invalidate]), and no call to the issuer is in flight. The caller must check that a registry accepts the
// credential.
func (c *Cache) Adopt(key Key, src Source, cred Credential) bool {
	if src == nil || cred.Anonymous || cred.IssuedAt.IsZero() || cred.ExpiresAt.IsZero() {
		return false
	}
	c.init()
	c.mu.Lock()
	now := c.now()
	s, err := newState(cred, c.Policy, now, jitter())
	if err != nil || !c.Policy.RenewAt(cred.IssuedAt, cred.ExpiresAt, 0).After(time.Unix(0, s.at(now))) {
		c.mu.Unlock()
		return false
	}
	e, _ := c.table.Load().find(&key)
	if e != nil && !e.adopts(cred, now) {
		c.mu.Unlock()
		return false
	}
	if e == nil {
		e = c.entry(key)
	}
	e.state.Store(s)
	e.clearFailures()
	c.used(e, true)
	c.plan(e, src, now)
	entry := c.describe(e, now)
	c.mu.Unlock()
	if c.Hooks.Adopted != nil {
		c.Hooks.Adopted(Event{Key: key, IssuedAt: entry.IssuedAt, ExpiresAt: entry.ExpiresAt, NextCall: entry.NextCall})
	}
	return true
}

// adopts reports whether the credential is newer than everything that the entry holds. The mutex is held.
func (e *entry) adopts(cred Credential, now instant) bool {
	if p := e.pending; p != nil && (p.call != nil || !cred.IssuedAt.After(p.refused)) {
		return false
	}
	s := e.usable(now)
	return s == nil || !s.cred.IssuedAt.IsZero() && cred.IssuedAt.After(s.cred.IssuedAt)
}

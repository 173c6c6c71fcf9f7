package credentials

import "time"

// Adopt puts in a credential that was issued before, by this process or another one, and reports whether the cache has
// taken it. The cache renews it like one that src issued. A cache that was just started saves a call to the issuer by
// it, and a replica that was cut off takes over what another one has issued meanwhile.
//
// It takes only what is better than what it has: the instants of issue and expiry are known, the renewal is not due by
// the [Policy], no credential that was issued at that instant or later is usable or was refused (see
// [Cache.Invalidate]), and no call to the issuer is under way. Whether a registry accepts the credential is for the
// caller to find out.
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

// adopts reports whether the credential is newer than all that is known of the entry. The mutex is held.
func (e *entry) adopts(cred Credential, now instant) bool {
	if p := e.pending; p != nil && (p.call != nil || !cred.IssuedAt.After(p.refused)) {
		return false
	}
	s := e.usable(now)
	return s == nil || !s.cred.IssuedAt.IsZero() && cred.IssuedAt.After(s.cred.IssuedAt)
}

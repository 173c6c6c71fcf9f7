package credentials

import "time"

// SetWall makes the cache believe that the wall clock jumped by d: forward after the machine was suspended, or in
// either direction because someone set it. A bubble of synctest has no such jumps, so all that was noted of the wall
// clock moves the other way.
func (c *Cache) SetWall(d time.Duration) {
	c.init()
	c.mu.Lock()
	defer c.mu.Unlock()
	for e := range c.table.Load().all {
		if e.pending != nil && !e.pending.refused.IsZero() {
			e.pending.refused = e.pending.refused.Add(-d)
		}
		old := e.state.Load()
		if old == nil {
			continue
		}
		s := &state{cred: old.cred, ahead: old.ahead - int64(d)}
		renew := old.renew.Load()
		if renew != never {
			renew -= int64(d)
		}
		s.renew.Store(renew)
		if !s.cred.IssuedAt.IsZero() {
			s.cred.IssuedAt = s.cred.IssuedAt.Add(-d)
		}
		if !s.cred.ExpiresAt.IsZero() {
			s.cred.ExpiresAt = s.cred.ExpiresAt.Add(-d)
		}
		e.state.Store(s)
	}
	if c.runner != nil {
		c.runner.gap -= int64(d)
	}
}

// RetryIn is for tests of what cannot be reached from outside in all its cases.
var RetryIn = retryIn

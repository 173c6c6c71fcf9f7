package credentials

import "time"

// SetWall simulates a jump of the wall clock by d: forward after a suspension, or in either direction because a person
// set it. A bubble of synctest has no such jumps, so SetWall moves all recorded wall times the other way.
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

// RetryIn exports retryIn, because not all its cases are reachable from outside.
var RetryIn = retryIn

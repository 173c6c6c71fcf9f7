package credentials

import (
	"cmp"
	"math"
	"time"
)

// paceKey is what an issuer's limit holds for.
type paceKey struct{ issuer, scope string }

// A pace keeps the calls to one issuer within its limit: a bucket of tokens, and the calls that wait for one. Nothing
// runs while they wait, but a timer. All is guarded by the cache's mutex.
type pace struct {
	cache  *Cache
	tokens float64
	at     time.Time // When tokens was right.

	urgent []*call // Someone waits for them.
	calm   []*call // Renewals.
	timer  *time.Timer
}

// pace returns the pace that holds for the key.
func (c *Cache) pace(key Key) *pace {
	k := paceKey{key.Issuer, key.Scope}
	p := c.paces[k]
	if p == nil {
		if c.paces == nil {
			c.paces = map[paceKey]*pace{}
		}
		c.forgetPaces()
		p = &pace{cache: c, tokens: c.burst(), at: time.Now()}
		c.paces[k] = p
	}
	return p
}

func (c *Cache) burst() float64 { return float64(max(1, cmp.Or(c.Burst, 200))) }
func (c *Cache) rate() float64  { return cmp.Or(c.Rate, 20) }

// forgetPaces drops those that say nothing any more, each time there are many.
func (c *Cache) forgetPaces() {
	if n := len(c.paces); n < 64 || n&(n-1) != 0 {
		return
	}
	for k, p := range c.paces {
		if p.fill(); p.tokens >= c.burst() && p.timer == nil {
			delete(c.paces, k)
		}
	}
}

// fill adds the tokens of the time that went by.
func (p *pace) fill() {
	now := time.Now()
	if p.cache.Rate < 0 {
		p.tokens = math.Inf(1)
		return
	}
	p.tokens = min(p.cache.burst(), p.tokens+p.cache.rate()*now.Sub(p.at).Seconds())
	p.at = now
}

// add lets a call begin, now or as soon as the limit allows. A call may be added twice, to be urgent.
func (p *pace) add(k *call, urgent bool) {
	if urgent {
		p.urgent = append(p.urgent, k)
	} else {
		p.calm = append(p.calm, k)
	}
	if p.timer == nil {
		p.begin()
	}
}

// begin starts as many calls as the limit allows, and sets the timer for the next one.
func (p *pace) begin() {
	p.timer = nil
	p.fill()
	for {
		k := p.next()
		if k == nil {
			return
		}
		if p.tokens < 1 {
			break
		}
		p.tokens--
		p.drop()
		k.began = time.Now()
		go p.cache.issue(k)
	}
	// A microsecond more, so that rounding does not wake it a moment too soon.
	missing := time.Duration((1-p.tokens)/p.cache.rate()*float64(time.Second)) + time.Microsecond
	p.timer = time.AfterFunc(missing, func() {
		p.cache.mu.Lock()
		defer p.cache.mu.Unlock()
		p.begin()
	})
}

// next returns the call whose turn it is; nil if none waits.
func (p *pace) next() *call {
	for _, queue := range []*[]*call{&p.urgent, &p.calm} {
		for len(*queue) > 0 {
			// Some have begun as urgent, and some were given up.
			if k := (*queue)[0]; k.began.IsZero() && !k.over {
				return k
			}
			*queue = shift(*queue)
		}
	}
	return nil
}

// drop takes away the call that next returned.
func (p *pace) drop() {
	if len(p.urgent) > 0 {
		p.urgent = shift(p.urgent)
	} else {
		p.calm = shift(p.calm)
	}
}

func shift(queue []*call) []*call {
	queue[0] = nil // So that it can be collected before the array is.
	return queue[1:]
}

package kube

import (
	"context"
	"time"
)

// A pace limits the rate of requests to one API server. It is a token bucket by virtual scheduling, which stores only
// one instant.
type pace struct {
	next time.Time // The time at which the bucket is full again.
}

// reserve returns how long the next request has to wait. If that is longer than patience, ok is false, and the request
// must not be made.
func (p *pace) reserve(rate float64, burst int, patience time.Duration) (wait time.Duration, ok bool) {
	now := time.Now()
	interval := time.Duration(float64(time.Second) / rate)
	if p.next.Before(now) {
		p.next = now
	}
	wait = max(0, p.next.Sub(now)-time.Duration(burst-1)*interval)
	if wait > patience {
		return wait, false
	}
	p.next = p.next.Add(interval)
	return wait, true
}

// turnWithin returns how long a request may wait for its turn, so that enough time is left for the request and for the
// exchange of the token.
func turnWithin(ctx context.Context) time.Duration {
	end, ok := ctx.Deadline()
	if !ok {
		return 15 * time.Second // Half the limit of a call of a cache.
	}
	return time.Until(end) / 2
}

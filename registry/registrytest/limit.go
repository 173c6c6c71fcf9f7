package registrytest

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/regcred/regcred/internal/option"
)

// A RateLimit is how often each account, and each address without an account, may ask for manifests.
type RateLimit struct {
	// Limit is the number of requests in a window. Zero means without a limit.
	Limit int
	// Window is how long a window is; it starts with the first request. Zero means an hour.
	Window time.Duration
	// RetryAfter is the form in which a refused client is told when the window ends. The zero RetryAfter does not tell.
	RetryAfter RetryAfter
}

// RetryAfter is a form of the header Retry-After.
type RetryAfter int

const (
	// RetryAfterUnsaid sends no header.
	RetryAfterUnsaid RetryAfter = iota
	// RetryAfterSeconds sends a number of seconds.
	RetryAfterSeconds
	// RetryAfterDate sends an instant.
	RetryAfterDate
)

// A window counts the requests of one client.
type window struct {
	ends time.Time
	used int
}

// limited counts a request for a manifest and reports whether it is one too many. A HEAD is free where the dialect says
// so.
func (c *call) limited(l login) bool {
	limit := c.reg.RateLimit
	if limit.Limit <= 0 {
		return false
	}
	length := option.OrDefault(limit.Window, time.Hour)
	client := "ip " + c.gaps["ip"]
	if !l.anonymous() {
		client = "account " + l.account.Username
	}
	free := c.reg.Dialect.rateHeaders && c.req.Method == http.MethodHead
	over := false
	var w window
	c.reg.locked(func() {
		now := time.Now()
		state := c.reg.windows[client]
		if state == nil || !now.Before(state.ends) {
			state = &window{ends: now.Add(length)}
			c.reg.windows[client] = state
		}
		if !free {
			if over = state.used >= limit.Limit; !over {
				state.used++
			}
		}
		w = *state
	})
	h := c.w.Header()
	if c.reg.Dialect.rateHeaders {
		seconds := int(length / time.Second)
		h.Set("Ratelimit-Limit", fmt.Sprintf("%d;w=%d", limit.Limit, seconds))
		h.Set("Ratelimit-Remaining", fmt.Sprintf("%d;w=%d", limit.Limit-w.used, seconds))
		h.Set("Docker-Ratelimit-Source", c.gaps["ip"])
	}
	if over {
		switch limit.RetryAfter {
		case RetryAfterSeconds:
			h.Set("Retry-After", strconv.Itoa(int((time.Until(w.ends)+time.Second-1)/time.Second)))
		case RetryAfterDate:
			h.Set("Retry-After", w.ends.UTC().Format(http.TimeFormat))
		}
	}
	return over
}

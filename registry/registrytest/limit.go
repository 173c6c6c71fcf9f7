package registrytest

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/regcred/regcred/internal/option"
)

// A RateLimit limits the requests for manifests of each account, and of each address without an account.
type RateLimit struct {
	// Limit is the number of requests in a window. Zero means no limit.
	Limit int
	// Window is the length of a window, which starts with the first request. Zero means an hour.
	Window time.Duration
	// RetryAfter is the form of the header with which a rejected client learns the end of the window. The zero RetryAfter
	// sends no header.
	RetryAfter RetryAfter
}

// RetryAfter is a form of the header Retry-After.
type RetryAfter int

const (
	// RetryAfterUnsaid sends no header.
	RetryAfterUnsaid RetryAfter = iota
	// RetryAfterSeconds sends a number of seconds.
	RetryAfterSeconds
	// RetryAfterDate sends a date.
	RetryAfterDate
)

// A window counts the requests of one client.
type window struct {
	ends time.Time
	used int
}

// limited counts a request for a manifest and reports whether it exceeds the limit. HEAD requests are not counted if
// the dialect has rateHeaders.
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

package inject

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
)

// A pace holds the backoff for each object, so that failing or contested changes are made at growing intervals. The
// zero pace is ready to use.
type pace struct {
	mu       sync.Mutex
	efforts  map[string]map[object]*effort // By namespace.
	failures int                           // Consecutive times that the cluster as a whole did not respond.
}

type object struct {
	name    string
	account bool
}

// An effort holds the results of the last changes of an object.
type effort struct {
	uid    string    // Of the namespace. An effort does not apply to a recreated namespace.
	goal   goal      // The goal of the last change that succeeded.
	at     time.Time // The time of that change.
	again  int       // How often the same change had to be repeated.
	failed int       // Consecutive failures.
	until  time.Time // The earliest next attempt.
	err    error     // The reason to wait until then.
}

// Bounds of the exponential backoff, whose factor is 2. A change that is undone after an hour or more is not
// contested, and an effort that is older does not count.
const (
	firstRetry, lastRetry     = time.Second, 5 * time.Minute
	firstContest, lastContest = 10 * time.Second, 10 * time.Minute
	quiet                     = time.Hour
)

func objectOf(c Change) object { return object{c.Name, c.Action == LinkAccount} }

// A goal identifies the outcome of a change. Goals are compared only, never shown, and there is one for each object
// that was written.
type goal credentials.Fingerprint

func goalOf(c Change) goal {
	text := make([]byte, 0, 1024)
	list := func(names []string) {
		for _, name := range names {
			text = append(append(text, name...), 0)
		}
		text = append(text, 0)
	}
	switch c.Action {
	case LinkAccount:
		list(c.Link)
		list(c.Unlink)
	case DeleteSecret:
	default:
		text = append(text, c.content[:]...)
		keys := make([]string, 0, 8)
		for _, m := range []map[string]string{c.Secret.Labels, c.Secret.Annotations} {
			keys = slices.AppendSeq(keys[:0], maps.Keys(m))
			slices.Sort(keys)
			for _, key := range keys {
				text = append(append(append(append(text, key...), 0), m[key]...), 0)
			}
			text = append(text, 0)
		}
	}
	return goal(credentials.FingerprintOf("goal "+string(c.Action), text))
}

// effort returns the effort for the object of a change in the namespace with that UID, or nil. The mutex is held.
func (p *pace) effort(c Change, uid string) *effort {
	if e := p.efforts[c.Namespace][objectOf(c)]; e != nil && e.uid == uid {
		return e
	}
	return nil
}

// wait returns the instant until which a change of the object has to wait, and the reason; zero if it need not wait.
func (p *pace) wait(c Change, uid string, now time.Time) (time.Time, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.effort(c, uid)
	if e == nil || !now.Before(e.until) {
		return time.Time{}, nil
	}
	if e.failed == 0 && e.goal != goalOf(c) {
		return time.Time{}, nil // The goal is new; the contest was about another one.
	}
	return e.until, e.err
}

// done records the result of a change. If it failed, done returns the instant of the next attempt.
func (p *pace) done(c Change, uid string, err error, now time.Time) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.effort(c, uid)
	if e == nil {
		e = &effort{uid: uid}
		if p.efforts == nil {
			p.efforts = make(map[string]map[object]*effort)
		}
		if p.efforts[c.Namespace] == nil {
			p.efforts[c.Namespace] = make(map[object]*effort, 2)
		}
		p.efforts[c.Namespace][objectOf(c)] = e
	}
	if err != nil {
		e.until, e.err = now.Add(doubled(firstRetry, lastRetry, e.failed)), err
		e.failed++
		return e.until
	}
	goal := goalOf(c)
	if e.goal == goal && now.Sub(e.at) < quiet {
		e.until, e.err = now.Add(doubled(firstContest, lastContest, e.again)), fmt.Errorf("%w: it was made %d times", registry.ErrContested, e.again+2)
		e.again++
	} else {
		e.again, e.until = 0, time.Time{}
	}
	e.goal, e.at, e.failed = goal, now, 0
	p.failures = 0
	return time.Time{}
}

// unavailable records that the cluster did not respond, and returns the instant of the next attempt.
func (p *pace) unavailable(now time.Time) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := now.Add(doubled(firstRetry, time.Minute, p.failures))
	p.failures++
	return at
}

// forget drops the efforts in the namespaces that were looked at, if the namespace is gone or if they no longer count.
// An empty looked means all.
func (p *pace) forget(state []Namespace, looked []string, now time.Time) {
	there := make(map[string]bool, len(state))
	for _, ns := range state {
		there[ns.Name] = true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	empty := func(name string, efforts map[object]*effort) bool {
		maps.DeleteFunc(efforts, func(_ object, e *effort) bool {
			return !there[name] || now.Sub(e.at) >= quiet && now.Sub(e.until) >= quiet
		})
		return len(efforts) == 0
	}
	if len(looked) == 0 {
		maps.DeleteFunc(p.efforts, empty)
		return
	}
	for _, name := range looked {
		if empty(name, p.efforts[name]) {
			delete(p.efforts, name)
		}
	}
}

func doubled(first, last time.Duration, times int) time.Duration {
	return min(first<<min(times, 20), last)
}

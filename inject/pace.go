package inject

import (
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/regcred/regcred/registry"
)

// A pace remembers what was tried on which object, so that what fails, or what somebody undoes, is tried ever more
// rarely. The zero pace is ready to use.
type pace struct {
	mu       sync.Mutex
	efforts  map[string]map[object]*effort // By namespace.
	failures int                           // How often in a row the whole cluster did not answer.
}

type object struct {
	name    string
	account bool
}

// An effort is what is known of the last tries to have an object as it should be.
type effort struct {
	uid    string    // That of the namespace. In another one of that name nothing was tried yet, and nothing is undone.
	goal   string    // What the last change that succeeded was to bring about.
	at     time.Time // When that was.
	again  int       // How often the same goal had to be brought about again.
	failed int       // How often in a row a change failed.
	until  time.Time // When to try next.
	err    error     // Why not before.
}

// How tries are spaced: twice the time after each, between these. What is undone after a quiet hour is no fight.
const (
	firstRetry, lastRetry     = time.Second, 5 * time.Minute
	firstContest, lastContest = 10 * time.Second, 10 * time.Minute
	quiet                     = time.Hour
)

func objectOf(c Change) object { return object{c.Name, c.Action == LinkAccount} }

// goalOf tells changes that bring about the same apart from others. It is compared and never shown.
func goalOf(c Change) string {
	switch c.Action {
	case LinkAccount:
		return strings.Join(c.Link, ",") + "-" + strings.Join(c.Unlink, ",")
	case DeleteSecret:
		return "deleted"
	}
	// fmt prints maps in the order of their keys.
	return fmt.Sprint(Fingerprint(c.Secret.Config.Reveal()), c.Secret.Labels, c.Secret.Annotations)
}

// effort returns what is known of the object of a change in the namespace of that UID; nil if nothing is. The mutex is
// held.
func (p *pace) effort(c Change, uid string) *effort {
	if e := p.efforts[c.Namespace][objectOf(c)]; e != nil && e.uid == uid {
		return e
	}
	return nil
}

// wait returns until when a change of the object has to wait, and why; zero if it has not.
func (p *pace) wait(c Change, uid string, now time.Time) (time.Time, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.effort(c, uid)
	if e == nil || !now.Before(e.until) {
		return time.Time{}, nil
	}
	if e.failed == 0 && e.goal != goalOf(c) {
		return time.Time{}, nil // Something new is wanted; the fight was about something else.
	}
	return e.until, e.err
}

// done records what came of a change, and returns when the object may be tried again if it failed.
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

// unavailable records that the cluster did not answer, and returns when to try again.
func (p *pace) unavailable(now time.Time) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := now.Add(doubled(firstRetry, time.Minute, p.failures))
	p.failures++
	return at
}

// forget drops what is known of namespaces that are gone, of those that were looked at: all, if none are named.
func (p *pace) forget(state []Namespace, looked []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(looked) > 0 {
		for _, name := range gone(state, looked) {
			delete(p.efforts, name)
		}
		return
	}
	there := make(map[string]bool, len(state))
	for _, ns := range state {
		there[ns.Name] = true
	}
	maps.DeleteFunc(p.efforts, func(name string, _ map[object]*effort) bool { return !there[name] })
}

func doubled(first, last time.Duration, times int) time.Duration {
	return min(first<<min(times, 20), last)
}

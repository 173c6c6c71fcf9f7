package credentials

import (
	"cmp"
	"container/heap"
	"context"
	"errors"
	"time"

	"github.com/regcred/regcred/internal/option"
)

// Run renews credentials before callers need them until ctx ends, and then returns nil. Without Run, a renewal starts
// when a stale credential is used.
//
// Run renews the credentials of bound sources, and of keys that were used since the last renewal. Other keys are
// removed from the cache when their credential expires. Calls that are in flight when ctx ends continue, for Timeout at
// most. A second concurrent Run fails immediately.
func (c *Cache) Run(ctx context.Context) error {
	c.init()
	r := &runner{awake: make(chan struct{}, 1)}
	c.mu.Lock()
	if c.runner != nil {
		c.mu.Unlock()
		return errors.New("cache is already running")
	}
	c.runner = r
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		c.runner = nil
		c.mu.Unlock()
	}()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-r.awake:
		}
		timer.Reset(c.renewDue(ctx, r))
	}
}

// A runner is the state of one Run.
type runner struct {
	awake chan struct{}

	// Guarded by the cache's mutex.
	running int   // The number of calls in flight that this Run started.
	gap     int64 // The last known difference between the wall clock and the monotonic clock.
}

func (r *runner) wake() {
	select {
	case r.awake <- struct{}{}:
	default:
	}
}

// A timer stops while the machine is suspended, so it is never set for longer than maxSleep.
const maxSleep = 30 * time.Second

// renewDue starts the calls that are due, and returns the time until the next check.
func (c *Cache) renewDue(ctx context.Context, r *runner) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if gap := now.wall - now.mono; r.gap == 0 || gap > r.gap+int64(time.Second) {
		c.due.earlier(gap - cmp.Or(r.gap, gap))
		r.gap = gap
	} else {
		r.gap = min(r.gap, gap)
	}
	for len(c.due) > 0 {
		first := c.due[0]
		if first.at > now.mono {
			return min(time.Duration(first.at-now.mono), maxSleep)
		}
		if r.running >= option.OrDefault(c.Concurrency, 16) {
			return maxSleep // The end of a call wakes Run.
		}
		c.renewOne(ctx, r, first, now)
	}
	return maxSleep
}

// renewOne renews or removes the entry if that is due, and schedules its next check.
func (c *Cache) renewOne(ctx context.Context, r *runner, a appointment, now instant) {
	e := a.entry
	s := e.usable(now)
	switch {
	case s != nil && s.fresh(now), s == nil && e.waits(now):
		c.plan(e, a.src, now) // A clock was set after the check was scheduled.
	case c.wanted(e):
		c.startCall(ctx, e, a.src, false).runner = r
		r.running++
	case s != nil:
		c.due.set(appointment{now.mono + int64(s.left(now)), e, a.src})
	default:
		c.remove(e)
	}
}

// wanted reports whether a bound source holds the entry, or its key was used since the last renewal. The mutex is held.
func (c *Cache) wanted(e *entry) bool {
	return e.holders > 0 || c.table.Load().at(e).used()
}

// plan schedules Run's next check of the entry, with the source to call. It does nothing if src is nil. The mutex is
// held.
func (c *Cache) plan(e *entry, src Source, now instant) {
	if src == nil || e.busy() {
		return
	}
	at := now.mono
	if s := e.usable(now); s != nil {
		renew := s.renew.Load()
		if renew == never {
			c.due.remove(e)
			return
		}
		at += renew - s.at(now)
	} else if e.pending != nil {
		at = max(at, e.pending.until)
	}
	c.due.set(appointment{at, e, src})
	if e.place == 1 && c.runner != nil {
		c.runner.wake()
	}
}

// A schedule is a heap of appointments on the monotonic clock, the next one first. Each entry stores its place in the
// heap.
type schedule []appointment

type appointment struct {
	at    int64
	entry *entry
	src   Source // The source to call.
}

// set inserts or replaces the appointment of its entry.
func (s *schedule) set(a appointment) {
	if a.entry.place == 0 {
		heap.Push(s, a)
		return
	}
	(*s)[a.entry.place-1] = a
	heap.Fix(s, int(a.entry.place-1))
}

// source returns the source of the entry's appointment, or nil if there is none.
func (s schedule) source(e *entry) Source {
	if e.place <= 0 {
		return nil
	}
	return s[e.place-1].src
}

// setSource changes the source of the entry's appointment, if there is one.
func (s schedule) setSource(e *entry, src Source) {
	if e.place > 0 {
		s[e.place-1].src = src
	}
}

func (s *schedule) remove(e *entry) {
	if e.place > 0 {
		heap.Remove(s, int(e.place-1))
	}
}

// earlier moves all appointments to a time earlier by d. Their order does not change.
func (s schedule) earlier(d int64) {
	for i := range s {
		s[i].at -= d
	}
}

func (s schedule) Len() int           { return len(s) }
func (s schedule) Less(i, j int) bool { return s[i].at < s[j].at }

func (s schedule) Swap(i, j int) {
	s[i], s[j] = s[j], s[i]
	s[i].entry.place, s[j].entry.place = int32(i+1), int32(j+1)
}

// Push implements [heap.Interface].
func (s *schedule) Push(x any) {
	a := x.(appointment)
	*s = append(*s, a)
	a.entry.place = int32(len(*s))
}

// Pop implements [heap.Interface].
func (s *schedule) Pop() any {
	last := len(*s) - 1
	a := (*s)[last]
	(*s)[last] = appointment{}
	*s = (*s)[:last]
	a.entry.place = 0
	return a
}

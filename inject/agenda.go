package inject

import (
	"container/heap"
	"time"
)

// An agenda is a heap of appointments, the earliest first.
type agenda []*appointment

// An appointment schedules the next look at a target, or else at a namespace as a whole. The zero at means none.
type appointment struct {
	at        time.Time
	record    *record
	namespace string
	place     int // The index in the agenda, counted from 1; 0 if not in it.
}

// set adds or moves the appointment, or cancels it if at is zero.
func (a *agenda) set(p *appointment, at time.Time) {
	switch {
	case p.at.Equal(at) && (p.place > 0) == !at.IsZero():
		return
	case at.IsZero():
		heap.Remove(a, p.place-1)
		p.at = at
	case p.place == 0:
		p.at = at
		heap.Push(a, p)
	default:
		p.at = at
		heap.Fix(a, p.place-1)
	}
}

// next returns the instant of the first appointment; zero if there is none.
func (a agenda) next() time.Time {
	if len(a) == 0 {
		return time.Time{}
	}
	return a[0].at
}

func (a agenda) Len() int           { return len(a) }
func (a agenda) Less(i, j int) bool { return a[i].at.Before(a[j].at) }

func (a agenda) Swap(i, j int) {
	a[i], a[j] = a[j], a[i]
	a[i].place, a[j].place = i+1, j+1
}

// Push is for package heap.
func (a *agenda) Push(x any) {
	p := x.(*appointment)
	*a = append(*a, p)
	p.place = len(*a)
}

// Pop is for package heap.
func (a *agenda) Pop() any {
	last := len(*a) - 1
	p := (*a)[last]
	(*a)[last] = nil
	*a = (*a)[:last]
	p.place = 0
	return p
}

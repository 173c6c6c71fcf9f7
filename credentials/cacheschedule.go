package credentials

import "container/heap"

// A schedule says when to look at which entry, on the monotonic clock: a heap, the next one first. An entry knows its
// place in it.
type schedule []appointment

type appointment struct {
	at    int64
	entry *entry
	src   Source // Who is asked then.
}

// set puts in the appointment of its entry, or changes it.
func (s *schedule) set(a appointment) {
	if a.entry.place == 0 {
		heap.Push(s, a)
		return
	}
	(*s)[a.entry.place-1] = a
	heap.Fix(s, int(a.entry.place-1))
}

// source returns who is asked at the appointment of the entry; nil if there is none.
func (s schedule) source(e *entry) Source {
	if e.place <= 0 {
		return nil
	}
	return s[e.place-1].src
}

// setSource changes who is asked, if there is an appointment.
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

// earlier moves all by d. Their order stays.
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

// Push is for package heap.
func (s *schedule) Push(x any) {
	a := x.(appointment)
	*s = append(*s, a)
	a.entry.place = int32(len(*s))
}

// Pop is for package heap.
func (s *schedule) Pop() any {
	last := len(*s) - 1
	a := (*s)[last]
	(*s)[last] = appointment{}
	*s = (*s)[:last]
	a.entry.place = 0
	return a
}

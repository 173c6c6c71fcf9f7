package kube

import (
	"errors"
	"math/rand/v2"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
)

// A watched account has a watch that a test simulates: the content of its store, and its events.
type watched struct {
	*testing.T
	*overlay[*account]
}

func newWatched(t *testing.T, changed func(namespace string)) watched {
	store := cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
	return watched{t, &overlay[*account]{delivered: store, changed: changed}}
}

func accountAt(version string) *account {
	return &account{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "default", ResourceVersion: version}}
}

func (w watched) holds(version string) {
	w.Helper()
	require.NoError(w, w.delivered.Update(accountAt(version)))
}

func (w watched) holdsNone() {
	w.Helper()
	require.NoError(w, w.delivered.Delete(accountAt("")))
}

func (w watched) tells(version string)      { w.observe("shop", "default", version, false) }
func (w watched) tellsOfEnd(version string) { w.observe("shop", "default", version, true) }

func (w watched) writes(before, after string) {
	w.Helper()
	require.NoError(w, w.write("shop", "default", before, func() (*account, error) { return accountAt(after), nil }))
}

func (w watched) deletes(before string) {
	w.Helper()
	require.NoError(w, w.delete("shop", "default", before, func() error { return nil }))
}

// A written object stays until the watch has caught up with it, however late its events are, and in whichever steps
// they arrive.
func TestOverlay(t *testing.T) {
	for name, tc := range map[string]struct {
		do   func(w watched)
		want string // The version that is returned; empty if none is.
		kept bool   // A write is still remembered.
	}{
		"it comes back": {func(w watched) {
			w.holds("1")
			w.writes("1", "2")
			w.holds("2")
			w.tells("2")
		}, "2", false},
		"an older event is told of late": {func(w watched) {
			w.holds("2")
			w.writes("2", "3")
			w.tells("1")
		}, "3", true},
		"the end of an earlier one of that name is told of late": {func(w watched) {
			w.writes("", "3")
			w.tellsOfEnd("2")
		}, "3", true},
		"two writes, of which the first comes back": {func(w watched) {
			w.holds("1")
			w.writes("1", "2")
			w.writes("2", "3")
			w.holds("2")
			w.tells("2")
		}, "3", true},
		"it comes back and is deleted before that is told of": {func(w watched) {
			w.writes("", "2")
			w.tells("2")
		}, "", false},
		"it comes back and is deleted before the request has ended": {func(w watched) {
			require.NoError(w, w.write("shop", "default", "", func() (*account, error) {
				w.tells("2")
				w.tellsOfEnd("3")
				return accountAt("2"), nil
			}))
		}, "", false},
		"somebody else's write comes in its place": {func(w watched) {
			w.holds("1")
			w.writes("1", "2")
			w.holds("3")
			w.tells("3")
		}, "3", false},
		"somebody else's write has come before the request has ended": {func(w watched) {
			w.holds("3")
			w.writes("1", "2")
		}, "3", false},
		"a deletion that has not come back": {func(w watched) {
			w.holds("2")
			w.deletes("2")
			w.tells("1")
		}, "", true},
		"a deletion comes back, and another one is made": {func(w watched) {
			w.holds("2")
			w.deletes("2")
			w.holds("4")
			w.tellsOfEnd("3")
		}, "4", false},
		"it takes the place of what was deleted": {func(w watched) {
			w.holds("2")
			w.deletes("2")
			w.writes("", "4")
			w.holdsNone()
			w.tellsOfEnd("3")
		}, "4", true},
		"a request that fails": {func(w watched) {
			w.holds("1")
			conflict := errors.New("conflict")
			require.ErrorIs(w, w.write("shop", "default", "1", func() (*account, error) { return nil, conflict }), conflict)
			require.Empty(w, w.flights)
		}, "1", false},
		"an event comes where there are no versions": {func(w watched) {
			w.writes("", "")
			w.tells("")
		}, "", true},
		"it is deleted where there are no versions": {func(w watched) {
			w.writes("", "")
			w.tellsOfEnd("")
		}, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWatched(t, func(string) {})
			tc.do(w)
			require.Equal(t, tc.kept, len(w.own) > 0)
			shown := ""
			if a := w.in("shop")["default"]; a != nil {
				shown = a.ResourceVersion
			}
			require.Equal(t, tc.want, shown)
		})
	}
}

// A write that never arrives is dropped, and another pass is requested.
func TestOverlayGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lost := make(chan string, 10)
		w := newWatched(t, func(namespace string) { lost <- namespace })
		w.writes("", "1")
		time.Sleep(patience / 2)
		w.writes("1", "2")
		time.Sleep(patience - time.Second)
		require.Len(t, w.in("shop"), 1)
		require.Empty(t, lost)
		time.Sleep(2 * time.Second)
		require.Empty(t, w.in("shop"))
		require.Equal(t, "shop", <-lost)
		require.Empty(t, lost)
	})
}

// The event of an own write shows nothing new, whenever it arrives. Everything else is reported, some of it only after
// a request has ended.
func TestOverlayKnowsOwnEvents(t *testing.T) {
	during := func(w watched, result string, err error, events func()) {
		_ = w.write("shop", "default", "1", func() (*account, error) { events(); return accountAt(result), err })
	}
	for name, tc := range map[string]struct {
		do   func(w watched) (own bool)
		late int // The number of reports after a request.
	}{
		"after the request": {func(w watched) bool {
			w.holds("1")
			w.writes("1", "2")
			w.holds("2")
			return w.observe("shop", "default", "2", false)
		}, 0},
		"during the request": {func(w watched) (own bool) {
			w.holds("1")
			during(w, "2", nil, func() { w.holds("2"); own = w.observe("shop", "default", "2", false) })
			return own
		}, 0},
		"another one during the request": {func(w watched) (own bool) {
			w.holds("1")
			during(w, "3", nil, func() { w.holds("2"); own = w.observe("shop", "default", "2", false) })
			return own
		}, 1},
		"the request fails": {func(w watched) (own bool) {
			w.holds("1")
			during(w, "", errors.New("late"), func() { w.holds("2"); own = w.observe("shop", "default", "2", false) })
			return own
		}, 1},
		"undone during the request": {func(w watched) (own bool) {
			w.holds("1")
			during(w, "2", nil, func() {
				w.holds("3")
				w.observe("shop", "default", "2", false)
				own = w.observe("shop", "default", "3", false)
			})
			return own
		}, 1},
		"the first of two": {func(w watched) bool {
			w.holds("1")
			w.writes("1", "2")
			w.writes("2", "3")
			w.holds("2")
			return w.observe("shop", "default", "2", false)
		}, 0},
		"after the store was read": {func(w watched) bool {
			w.holds("1")
			w.writes("1", "2")
			w.holds("2")
			w.in("shop")
			return w.observe("shop", "default", "2", false)
		}, 0},
		"after the request, and the store had it during the request": {func(w watched) bool {
			w.holds("1")
			during(w, "2", nil, func() { w.holds("2") })
			return w.observe("shop", "default", "2", false)
		}, 0},
		"the second of two that the store has": {func(w watched) bool {
			w.holds("1")
			w.writes("1", "2")
			w.writes("2", "3")
			w.holds("3")
			return w.observe("shop", "default", "2", false) && w.observe("shop", "default", "3", false)
		}, 0},
		"during the next request": {func(w watched) (own bool) {
			w.holds("1")
			w.writes("1", "2")
			during(w, "3", nil, func() { w.holds("2"); own = w.observe("shop", "default", "2", false) })
			return own
		}, 0},
		"a deletion, after the store was read": {func(w watched) bool {
			w.holds("1")
			w.deletes("1")
			w.holdsNone()
			w.in("shop")
			return w.observe("shop", "default", "2", true)
		}, 0},
		"a deletion": {func(w watched) bool {
			w.holds("1")
			w.deletes("1")
			w.holdsNone()
			return w.observe("shop", "default", "2", true)
		}, 0},
		"a deletion during the request": {func(w watched) (own bool) {
			w.holds("1")
			require.NoError(w, w.delete("shop", "default", "1", func() error {
				w.holdsNone()
				own = w.observe("shop", "default", "2", true)
				return nil
			}))
			return own
		}, 0},
	} {
		t.Run("own/"+name, func(t *testing.T) {
			reported := 0
			w := newWatched(t, func(namespace string) { reported++ })
			require.True(t, tc.do(w))
			require.Equal(t, tc.late, reported)
		})
	}
	for name, do := range map[string]func(w watched) (own bool){
		"without a write": func(w watched) bool {
			w.holds("1")
			return w.observe("shop", "default", "1", false)
		},
		"a later write": func(w watched) bool {
			w.holds("1")
			w.writes("1", "2")
			w.holds("3")
			return w.observe("shop", "default", "3", false)
		},
		"a deletion of what was written": func(w watched) bool {
			w.writes("", "2")
			return w.observe("shop", "default", "3", true)
		},
		"what was replaced": func(w watched) bool { // The pass that replaced it may have left a part of it.
			w.holds("1")
			w.writes("1", "2")
			w.writes("2", "3")
			return w.observe("shop", "default", "1", false)
		},
		"another object": func(w watched) bool {
			w.holds("1")
			w.writes("1", "2")
			return w.observe("shop", "other", "2", false)
		},
		"the end of a deletion that waited for a finalizer": func(w watched) bool {
			w.holds("1")
			w.deletes("1")
			w.holds("2")
			w.tells("2")
			w.holdsNone()
			return w.observe("shop", "default", "3", true)
		},
		"the end of a deletion that waited for a finalizer since the request": func(w watched) bool {
			w.holds("1")
			require.NoError(w, w.delete("shop", "default", "1", func() error { w.holds("2"); w.tells("2"); return nil }))
			w.holdsNone()
			return w.observe("shop", "default", "3", true)
		},
		"no versions": func(w watched) bool {
			w.writes("", "")
			return w.observe("shop", "default", "", false)
		},
	} {
		t.Run("foreign/"+name, func(t *testing.T) {
			require.False(t, do(newWatched(t, func(string) {})))
		})
	}
}

// A simulation is an object that an API server stores, a watch of it that is late, and an overlay over the watch.
type simulation struct {
	watched
	*rand.Rand
	history      []sighting // Of the object on the server.
	ours         []bool     // Which of them are own writes.
	stored, told int        // The number of sightings that the store has, and that were observed.
	others       bool       // Other clients write too.
	reported     int
	owed         bool // The event of another client was observed, and not reported yet.
	terminating  bool // The object was deleted, and waits for a finalizer.
}

func (s *simulation) version() string {
	if n := len(s.history); n > 0 && !s.history[n-1].gone {
		return s.history[n-1].version
	}
	return ""
}

// commit writes or deletes the object on the server.
func (s *simulation) commit(gone, own bool) string {
	version := strconv.Itoa(len(s.history) + 1)
	s.history = append(s.history, sighting{version, gone})
	s.ours = append(s.ours, own)
	return version
}

// proceed does up to three steps that may happen at any time.
func (s *simulation) proceed() {
	for range s.IntN(4) {
		switch s.IntN(5) {
		case 0:
			if s.others {
				s.commit(s.terminating || s.version() != "" && s.IntN(3) == 0, false)
				s.terminating = false
			}
		case 1, 2:
			s.deliver()
		default:
			s.tell()
		}
	}
}

// deliver changes the store of the watch.
func (s *simulation) deliver() {
	if s.stored == len(s.history) {
		return
	}
	if next := s.history[s.stored]; next.gone {
		s.holdsNone()
	} else {
		s.holds(next.version)
	}
	s.stored++
}

// tell lets the overlay observe an event of the watch.
func (s *simulation) tell() {
	if s.told == s.stored {
		return
	}
	next := s.history[s.told]
	s.owed = s.owed || !s.ours[s.told]
	s.told++
	if !s.observe("shop", "default", next.version, next.gone) {
		s.report("shop")
	}
}

func (s *simulation) report(string) { s.reported, s.owed = s.reported+1, false }

// act makes an own write of the object as the overlay shows it. It conflicts if that is not the state of the server.
func (s *simulation) act() {
	before := ""
	if a := s.in("shop")["default"]; a != nil {
		before = a.ResourceVersion
	}
	request := func(gone bool) (*account, error) {
		s.proceed()
		defer s.proceed()
		if s.version() != before {
			return nil, errors.New("conflict")
		}
		if s.terminating = gone && s.others && s.IntN(2) == 0; s.terminating {
			return accountAt(s.commit(false, false)), nil
		}
		return accountAt(s.commit(gone, true)), nil
	}
	if before != "" && s.IntN(3) == 0 {
		_ = s.delete("shop", "default", before, func() error { _, err := request(true); return err })
	} else {
		_ = s.write("shop", "default", before, func() (*account, error) { return request(false) })
	}
}

// However late the store and the events of a watch are: if only own writes change the object, nothing is reported, and
// the overlay always shows the last one. What another client changes is always reported, and in the end shown.
func TestOverlayAtRandom(t *testing.T) {
	for seed := range uint64(5000) {
		s := &simulation{Rand: rand.New(rand.NewPCG(seed, 0)), others: seed%2 == 0}
		s.watched = newWatched(t, s.report)
		show := func() string {
			if a := s.in("shop")["default"]; a != nil {
				return a.ResourceVersion
			}
			return ""
		}
		for range 12 {
			s.proceed()
			s.act()
			if !s.others {
				require.Equal(t, s.version(), show(), "seed %d", seed)
			}
		}
		for s.told < len(s.history) {
			s.deliver()
			s.tell()
		}
		require.Equal(t, s.version(), show(), "seed %d", seed)
		require.False(t, s.owed, "seed %d: another client's change was not reported", seed)
		if !s.others {
			require.Zero(t, s.reported, "seed %d: an own write was reported", seed)
			require.Empty(t, s.expected, "seed %d", seed)
		}
		require.Empty(t, s.own, "seed %d", seed)
		require.Empty(t, s.flights, "seed %d", seed)
	}
}

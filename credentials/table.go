package credentials

import (
	"hash/maphash"
	"sync/atomic"
	"time"
	"unique"
)

// A table is a hash table of entries by key. Readers take no lock; writers hold the cache's. Its size never changes:
// when it is full, the entries move to a new table.
//
// It uses open addressing with buckets of one cache line each, so that a typical look-up reads one line here, and then
// the entry. A reader that races with a writer may miss an entry that exists; it then looks again under the lock.
type table struct {
	seed    maphash.Seed
	buckets []bucket // Their number is a power of two.
	filled  int      // Slots with a tag, live or not.
	live    int
	hand    int // The slot where the last search for a victim ended.
}

const bucketSlots = 5

type bucket struct {
	// A tag has the upper bits of the hash of the slot's key, and two flags. Zero means that the slot was never filled,
	// and ends a search. A removed entry leaves its tag behind.
	tags    [bucketSlots]atomic.Uint32
	_       uint32
	entries [bucketSlots]atomic.Pointer[entry]
}

const (
	tagUsed   = 1 // The entry was used by its key since the flag was cleared.
	tagFilled = 2
	tagHash   = ^uint32(tagUsed | tagFilled)
)

func newTable(seed maphash.Seed, entries int) *table {
	n := 1
	for n*(bucketSlots-1) < entries { // At most four fifths full.
		n *= 2
	}
	return &table{seed: seed, buckets: make([]bucket, n)}
}

func (t *table) hash(key Key) uint64 { return maphash.Comparable(t.seed, key) }

// A slot is a place in a table.
type slot struct {
	b *bucket
	i int
}

// find returns the entry of the key and its slot, or nil if there is none.
func (t *table) find(key *Key) (*entry, slot) {
	h := t.hash(*key)
	tag := uint32(h>>32)&tagHash | tagFilled
	mask := uint64(len(t.buckets) - 1)
	for n := h & mask; ; n = (n + 1) & mask {
		b := &t.buckets[n]
		for i := range b.tags {
			got := b.tags[i].Load()
			if got == 0 {
				return nil, slot{}
			}
			if got&^tagUsed == tag {
				if e := b.entries[i].Load(); e != nil && e.has(key) {
					return e, slot{b, i}
				}
			}
		}
	}
}

// at returns the slot of an entry that is in the table.
func (t *table) at(e *entry) slot {
	key := e.key()
	_, s := t.find(&key)
	return s
}

// use marks the entry in the slot as used.
func (s slot) use() {
	// Read first: a write would invalidate the cache line on all other cores.
	if s.b.tags[s.i].Load()&tagUsed == 0 {
		s.b.tags[s.i].Or(tagUsed)
	}
}

func (s slot) used() bool { return s.b.tags[s.i].Load()&tagUsed != 0 }
func (s slot) unuse()     { s.b.tags[s.i].And(^uint32(tagUsed)) }
func (s slot) remove()    { s.b.entries[s.i].Store(nil) }

// full reports whether there is no room for another entry.
func (t *table) full() bool { return t.filled >= len(t.buckets)*(bucketSlots-1) }

// add inserts an entry whose key is not in the table. The table must not be full.
func (t *table) add(e *entry) slot {
	h := t.hash(e.key())
	mask := uint64(len(t.buckets) - 1)
	for n := h & mask; ; n = (n + 1) & mask {
		b := &t.buckets[n]
		for i := range b.entries {
			if b.entries[i].Load() != nil {
				continue
			}
			if b.tags[i].Load() == 0 {
				t.filled++
			}
			b.entries[i].Store(e)
			b.tags[i].Store(uint32(h>>32)&tagHash | tagFilled)
			t.live++
			return slot{b, i}
		}
	}
}

// moved returns a table with the same entries and room for more.
func (t *table) moved() *table {
	n := newTable(t.seed, t.live*3/2+bucketSlots)
	for e, s := range t.all {
		to := n.add(e)
		if s.used() {
			to.use()
		}
	}
	return n
}

// all yields all entries.
func (t *table) all(yield func(*entry, slot) bool) {
	for n := range t.buckets {
		b := &t.buckets[n]
		for i := range b.entries {
			if e := b.entries[i].Load(); e != nil && !yield(e, slot{b, i}) {
				return
			}
		}
	}
}

// victim selects an entry to evict: the first one that is not held and was not used by its key since the hand last
// passed it. If all are in use, it selects one of them. It never selects an entry with a call in flight, and returns
// nil if it finds no other. The search is bounded because it would be long each time that all entries are in use.
func (t *table) victim() *entry {
	var second *entry
	slots := len(t.buckets) * bucketSlots
	for range min(2*slots, 10_000) {
		t.hand = (t.hand + 1) % slots
		s := slot{&t.buckets[t.hand/bucketSlots], t.hand % bucketSlots}
		e := s.b.entries[s.i].Load()
		switch {
		case e == nil || e.busy():
		case e.holders == 0 && !s.used():
			return e
		default:
			if second == nil {
				second = e
			}
			s.unuse()
		}
	}
	return second
}

// An entry is the cache's state of one key. There may be many, so it is kept small.
type entry struct {
	tenant, scope string
	login         Fingerprint
	route         unique.Handle[route]

	state atomic.Pointer[state] // Nil if there is no credential.

	// Guarded by the cache's mutex.
	pending *pending // Nil if there is only the credential.
	holders int32    // The number of bound sources.
	place   int32    // The place in the schedule, from 1; 0 if it is not scheduled.
}

// A route is the part of a key that many keys have in common.
type route struct {
	issuer    string
	transport Fingerprint
}

// removedPlace marks an entry that is no longer in the table.
const removedPlace = -1

// pending holds the call in flight and the failure history of an entry.
type pending struct {
	call      *call     // Nil if none is in flight.
	failures  int       // Consecutive failures.
	err       error     // The last error.
	until     int64     // No call before this time of the monotonic clock.
	refusals  int       // Consecutive rejections.
	refused   time.Time // When the last rejected credential was issued. Zero if unknown.
	refusedAt int64     // On the monotonic clock.
}

func newEntry(k Key) *entry {
	return &entry{tenant: k.Tenant, scope: k.Scope, login: k.Login, route: unique.Make(route{k.Issuer, k.Transport})}
}

func (e *entry) key() Key {
	w := e.route.Value()
	return Key{Tenant: e.tenant, Issuer: w.issuer, Scope: e.scope, Login: e.login, Transport: w.transport}
}

// has reports whether k is the entry's key.
func (e *entry) has(k *Key) bool {
	return e.scope == k.Scope && e.login == k.Login && e.tenant == k.Tenant && e.route.Value() == route{k.Issuer, k.Transport}
}

// usable returns the state of a usable credential, or nil if there is none, and drops an expired one. The mutex is
// held.
func (e *entry) usable(now instant) *state {
	s := e.state.Load()
	if s != nil && !s.usable(now) {
		e.state.Store(nil)
		return nil
	}
	return s
}

func (e *entry) removed() bool { return e.place == removedPlace }
func (e *entry) busy() bool    { return e.pending != nil && e.pending.call != nil }

// waits reports whether the next call has to wait because of a failure.
func (e *entry) waits(now instant) bool { return e.pending != nil && now.mono < e.pending.until }

func (e *entry) ensurePending() *pending {
	if e.pending == nil {
		e.pending = &pending{}
	}
	return e.pending
}

// clearFailures forgets the failures. It keeps a call in flight and the history of refusals.
func (e *entry) clearFailures() {
	if u := e.pending; u != nil {
		u.failures, u.err, u.until = 0, nil, 0
		if u.call == nil && u.refusals == 0 {
			e.pending = nil
		}
	}
}

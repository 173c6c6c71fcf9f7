package credentials

import (
	"sync/atomic"
	"unique"
)

// An entry is what a cache has about one key. There may be many, so it is kept small.
type entry struct {
	tenant, scope string
	login         Fingerprint
	way           unique.Handle[way]

	state atomic.Pointer[state] // Nil if there is no credential.

	// Guarded by the cache's mutex.
	unrest  *unrest // Nil if there is nothing but the credential.
	holders int32   // Bound sources.
	place   int32   // In the schedule, counted from 1; 0 means that it is not there.
}

// A way is the part of a key of which there are few.
type way struct {
	issuer    string
	transport Fingerprint
}

// goneForGood is the place of an entry that is no longer in the table.
const goneForGood = -1

// unrest is what is going on, or is remembered, where all is not as it should be.
type unrest struct {
	call      *call // Nil if none is under way.
	failures  int   // In a row.
	err       error // The last one.
	until     int64 // Nobody asks before this, on the monotonic clock.
	refusals  int   // In a row.
	refusedAt int64 // On the monotonic clock.
}

func newEntry(k Key) *entry {
	return &entry{tenant: k.Tenant, scope: k.Scope, login: k.Login, way: unique.Make(way{k.Issuer, k.Transport})}
}

func (e *entry) key() Key {
	w := e.way.Value()
	return Key{Tenant: e.tenant, Issuer: w.issuer, Scope: e.scope, Login: e.login, Transport: w.transport}
}

// has reports whether the entry is that of the key.
func (e *entry) has(k *Key) bool {
	return e.scope == k.Scope && e.login == k.Login && e.tenant == k.Tenant && e.way.Value() == way{k.Issuer, k.Transport}
}

// usable returns the state of a usable credential, nil if there is none, and drops one that expired. The mutex is held.
func (e *entry) usable(now instant) *state {
	s := e.state.Load()
	if s != nil && !s.usable(now) {
		e.state.Store(nil)
		return nil
	}
	return s
}

func (e *entry) gone() bool { return e.place == goneForGood }
func (e *entry) busy() bool { return e.unrest != nil && e.unrest.call != nil }

// waits reports whether it is too soon to ask for a credential where there is none.
func (e *entry) waits(now instant) bool { return e.unrest != nil && now.mono < e.unrest.until }

func (e *entry) uneasy() *unrest {
	if e.unrest == nil {
		e.unrest = &unrest{}
	}
	return e.unrest
}

// calm ends the unrest, but for a call and the memory of refusals.
func (e *entry) calm() {
	if u := e.unrest; u != nil {
		u.failures, u.err, u.until = 0, nil, 0
		if u.call == nil && u.refusals == 0 {
			e.unrest = nil
		}
	}
}

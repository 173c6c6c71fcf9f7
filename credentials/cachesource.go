package credentials

import (
	"context"
	"runtime"
	"sync/atomic"
)

// A CachedSource is a [Source] whose credential a [Cache] keeps fresh. It knows its place in the cache, so that asking
// it costs no more than reading the clock. Make one with [Cache.Source] for each profile, and keep it as long as the
// profile.
//
// It asks nobody before its first use. While it is held, its key is in use: [Cache.Run] renews it. That ends with
// [CachedSource.Release], or when the CachedSource is garbage.
type CachedSource struct {
	cache *Cache
	entry atomic.Pointer[entry]
	lease *lease
}

// A lease is what makes an entry a held one. It is apart from its CachedSource so that it survives it. It is guarded by
// the cache's mutex.
type lease struct {
	cache    *Cache
	entry    *entry
	key      Key
	src      Source
	released bool
}

// Source binds a source to its key.
func (c *Cache) Source(key Key, src Source) *CachedSource {
	c.init()
	s := &CachedSource{cache: c, lease: &lease{cache: c, key: key, src: src}}
	c.mu.Lock()
	defer c.mu.Unlock()
	s.take()
	runtime.AddCleanup(s, (*lease).drop, s.lease)
	return s
}

// take finds the place in the cache. The mutex is held.
func (s *CachedSource) take() *entry {
	l := s.lease
	if l.entry == nil || l.entry.gone() {
		l.entry = s.cache.entry(l.key)
		if !l.released {
			l.entry.holders++
		}
		s.entry.Store(l.entry)
	}
	return l.entry
}

// Credential returns the credential; see [Cache.Credential].
func (s *CachedSource) Credential(ctx context.Context) (Credential, error) {
	e := s.entry.Load()
	if st := e.state.Load(); st != nil && st.fresh(s.cache.now()) {
		if s.cache.Hooks.Hit != nil {
			s.cache.Hooks.Hit(e.key())
		}
		return st.cred, nil
	}
	s.cache.mu.Lock()
	return s.cache.ask(ctx, s.take(), s.lease.src)
}

// Invalidate drops the refused credential; see [Cache.Invalidate].
func (s *CachedSource) Invalidate(refused Credential) {
	s.cache.invalidate(s.entry.Load(), refused)
}

// Rebind says that the credential is now found under another key, from another source: the profile was edited, or its
// login rotated. The next caller gets the new one. The old key leaves the cache, unless another bound source holds it.
// With the same key, only the source changes.
func (s *CachedSource) Rebind(key Key, src Source) {
	s.cache.mu.Lock()
	defer s.cache.mu.Unlock()
	l := s.lease
	l.src = src
	if key == l.key {
		s.cache.due.setSource(s.take(), src)
		return
	}
	if !l.released {
		l.giveUp(true)
	}
	l.key, l.entry = key, nil
	s.take()
}

// Release says that the credential is no longer needed. Its key leaves the cache, unless another bound source holds it.
// A released source still works, and holds nothing.
func (s *CachedSource) Release() {
	s.cache.mu.Lock()
	defer s.cache.mu.Unlock()
	if !s.lease.released {
		s.lease.released = true
		s.lease.giveUp(true)
	}
}

// drop ends the lease of a source that nobody has any more. The entry stays, for it may be asked for by its key.
func (l *lease) drop() {
	l.cache.mu.Lock()
	defer l.cache.mu.Unlock()
	if !l.released {
		l.released = true
		l.giveUp(false)
	}
}

// giveUp gives up the entry. The mutex is held.
func (l *lease) giveUp(remove bool) {
	if l.entry.gone() {
		return
	}
	l.entry.holders--
	if remove && l.entry.holders == 0 {
		l.cache.remove(l.entry)
	}
}

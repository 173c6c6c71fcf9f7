package store

import (
	"context"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Memory is a [Store] in memory, which is lost when the process ends. The zero Memory is empty and ready to use. It
// must not be copied.
type Memory struct {
	mu      sync.RWMutex
	entries map[string]Entry
	version uint64
}

// Get implements [Store].
func (m *Memory) Get(ctx context.Context, key string) (Entry, error) {
	if ctx.Err() != nil {
		return Entry{}, context.Cause(ctx)
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	e, ok := m.entries[key]
	if !ok {
		return Entry{}, ErrNoKey
	}
	e.Value = slices.Clone(e.Value)
	return e, nil
}

// Put implements [Store].
func (m *Memory) Put(ctx context.Context, key string, value []byte, version uint64) (uint64, error) {
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.entries[key].Version != version {
		return 0, ErrKeyChanged
	}
	if m.entries == nil {
		m.entries = make(map[string]Entry)
	}
	m.version++
	m.entries[key] = Entry{key, slices.Clone(value), m.version}
	return m.version, nil
}

// Delete implements [Store].
func (m *Memory) Delete(ctx context.Context, key string, version uint64) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.entries[key]
	if !ok {
		return ErrNoKey
	}
	if version != 0 && e.Version != version {
		return ErrKeyChanged
	}
	delete(m.entries, key)
	return nil
}

// List implements [Store].
func (m *Memory) List(ctx context.Context, prefix string) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		m.mu.RLock()
		keys := slices.Sorted(maps.Keys(m.entries))
		m.mu.RUnlock()
		for _, key := range keys {
			if !strings.HasPrefix(key, prefix) {
				continue
			}
			e, err := m.Get(ctx, key)
			if err == ErrNoKey { //nolint:errorlint // Get returns ErrNoKey unwrapped.
				continue // Deleted during the iteration.
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// Package token signs and checks the registry's tokens.
//
// A [Ring] holds the registry's own signing keys: one that signs, and earlier ones, which verify tokens until all that
// they signed have expired. The type in the header separates three kinds of tokens: access tokens for requests to the
// registry, login tokens, which replace a password, and session tokens of browsers.
//
// The package does not know accounts or rights.
package token

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/regcred/regcred/internal/option"
	"github.com/regcred/regcred/systemregistry/store"
)

// A Ring manages the keys that sign the registry's tokens, in a store that replicas share. It is safe for concurrent
// use.
type Ring struct {
	// Store stores the keys. It must be set.
	Store store.Store
	// RotateEvery is the time for which a key signs. If zero, it is 30 days.
	RotateEvery time.Duration
	// MaxLife is the longest lifetime of a token. A key that no longer signs verifies tokens for that time. It must be
	// set.
	MaxLife time.Duration

	mu     sync.Mutex
	keys   []key // Newest first. Never empty once loaded; not changed in place.
	loaded time.Time
}

// key is the stored form of a signing key.
type key struct {
	ID        string    `json:"id"`
	Seed      []byte    `json:"seed"`
	CreatedAt time.Time `json:"createdAt"`
}

const (
	ringKey            = "keys/ring"
	defaultRotateEvery = 30 * 24 * time.Hour

	// settle is the time that a new key waits before it signs, if there is another key. Replicas must have read the new
	// key by then; they read the store every refresh.
	settle  = 2 * refresh
	refresh = time.Minute
	// missRefresh limits how often tokens with an unknown key make the ring read its store.
	missRefresh = time.Second
)

// Rotate creates a new key if it is due, and removes keys whose tokens have all expired. Call it at the start and
// periodically. Several replicas may call it.
func (r *Ring) Rotate(ctx context.Context) error {
	for {
		now := time.Now()
		keys, version, err := r.read(ctx)
		if err != nil {
			return err
		}
		next := r.rotated(keys, now)
		if !slices.EqualFunc(keys, next, func(a, b key) bool { return a.ID == b.ID }) {
			value, err := json.Marshal(next)
			if err != nil {
				return fmt.Errorf("rotate signing keys: %w", err)
			}
			if _, err = r.Store.Put(ctx, ringKey, value, version); errors.Is(err, store.ErrKeyChanged) {
				continue // Another replica did it.
			}
			if err != nil {
				return fmt.Errorf("rotate signing keys: %w", err)
			}
		}
		r.mu.Lock()
		r.keys, r.loaded = next, now
		r.mu.Unlock()
		return nil
	}
}

// rotated returns the keys as they should be at now.
func (r *Ring) rotated(keys []key, now time.Time) []key {
	every := option.OrDefault(r.RotateEvery, defaultRotateEvery)
	next := slices.Clone(keys)
	if len(next) == 0 || !now.Before(next[0].CreatedAt.Add(every)) {
		next = slices.Insert(next, 0, newKey(now))
	}
	// A key stops signing once the key after it has settled.
	for i := 1; i < len(next); i++ {
		if now.After(next[i-1].CreatedAt.Add(settle + r.MaxLife + refresh)) {
			return next[:i]
		}
	}
	return next
}

func newKey(now time.Time) key {
	var id [8]byte
	seed := make([]byte, ed25519.SeedSize)
	_, _ = rand.Read(id[:]) // Never fails: crypto/rand ends the program instead.
	_, _ = rand.Read(seed)
	return key{hex.EncodeToString(id[:]), seed, now.UTC()}
}

func (r *Ring) read(ctx context.Context) ([]key, uint64, error) {
	e, err := r.Store.Get(ctx, ringKey)
	if errors.Is(err, store.ErrNoKey) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read signing keys: %w", err)
	}
	var keys []key
	if err := json.Unmarshal(e.Value, &keys); err != nil {
		return nil, 0, fmt.Errorf("read signing keys: %w", err)
	}
	return keys, e.Version, nil
}

// current returns the keys. It reads them again if they are older than maxAge.
func (r *Ring) current(ctx context.Context, maxAge time.Duration) ([]key, error) {
	r.mu.Lock()
	keys, fresh := r.keys, time.Since(r.loaded) < maxAge
	r.mu.Unlock()
	if fresh && len(keys) > 0 {
		return keys, nil
	}
	read, _, err := r.read(ctx)
	if err == nil && len(read) == 0 {
		err = errors.New("read signing keys: there is none")
	}
	if err != nil {
		if len(keys) > 0 {
			return keys, nil // The cached keys are still correct, or nearly so. A store that is down must not stop pulls.
		}
		return nil, err
	}
	r.mu.Lock()
	r.keys, r.loaded = read, time.Now()
	r.mu.Unlock()
	return read, nil
}

// signer returns the newest key that has settled.
func (r *Ring) signer(ctx context.Context) (key, error) {
	keys, err := r.current(ctx, refresh)
	if err != nil {
		return key{}, err
	}
	for _, k := range keys {
		if time.Since(k.CreatedAt) >= settle {
			return k, nil
		}
	}
	return keys[len(keys)-1], nil // The oldest is the one that other replicas are most likely to have.
}

// Has reports whether a key with the ID still verifies tokens. It returns false if the check failed.
func (r *Ring) Has(ctx context.Context, id string) bool {
	keys, err := r.current(ctx, refresh)
	return err == nil && slices.ContainsFunc(keys, func(k key) bool { return k.ID == id })
}

// public returns the public half of the key with the ID, or false.
func (r *Ring) public(ctx context.Context, id string) (ed25519.PublicKey, bool, error) {
	for _, maxAge := range []time.Duration{refresh, missRefresh} {
		keys, err := r.current(ctx, maxAge)
		if err != nil {
			return nil, false, err
		}
		for _, k := range keys {
			if k.ID == id {
				return ed25519.NewKeyFromSeed(k.Seed).Public().(ed25519.PublicKey), true, nil
			}
		}
	}
	return nil, false, nil
}

package login

import (
	"context"
	"crypto/sha256"
	"sync"
)

// turns serializes concurrent logins with the same name and password, so that the slow hash of the first login serves
// all of them, and many correct logins at once do not look like guesses. The zero turns is ready to use.
type turns struct {
	mu   sync.Mutex
	busy map[[sha256.Size]byte]chan struct{}
}

// take waits for the turn of the key; done ends the turn. It fails only if ctx ends first.
func (t *turns) take(ctx context.Context, key [sha256.Size]byte) (done func(), err error) {
	for {
		t.mu.Lock()
		other, busy := t.busy[key]
		if !busy {
			if t.busy == nil {
				t.busy = make(map[[sha256.Size]byte]chan struct{})
			}
			mine := make(chan struct{})
			t.busy[key] = mine
			t.mu.Unlock()
			return func() {
				t.mu.Lock()
				delete(t.busy, key)
				t.mu.Unlock()
				close(mine)
			}, nil
		}
		t.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

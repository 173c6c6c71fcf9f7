package login

import (
	"context"
	"crypto/sha256"
	"sync"
)

// turns has those who show the same name and password at once come one after the other, so that the first one's slow
// hash serves all, and many right logins at once are not taken for guesses. The zero turns is ready to use.
type turns struct {
	mu   sync.Mutex
	busy map[[sha256.Size]byte]chan struct{}
}

// take waits for the turn of the key; done ends it. An error is why ctx ended first.
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

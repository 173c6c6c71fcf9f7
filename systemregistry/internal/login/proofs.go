package login

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"sync"

	"github.com/regcred/regcred/credentials"
)

// proofs remembers passwords that were correct a while ago, so that a client that logs in again neither waits for a
// slow hash nor is throttled because of guesses by others. It holds hashes keyed with a key of this process.
//
// The zero proofs is ready to use.
type proofs struct {
	once sync.Once
	key  []byte

	mu    sync.Mutex
	right map[string]proof // By the name of the account.
}

type proof struct {
	epoch string
	mac   [sha256.Size]byte
}

const maxProofs = 10_000

func (p *proofs) mac(name string, password credentials.Secret) [sha256.Size]byte {
	p.once.Do(func() {
		p.key = make([]byte, sha256.Size)
		_, _ = rand.Read(p.key) // Never fails: crypto/rand ends the program instead.
	})
	h := hmac.New(sha256.New, p.key)
	h.Write([]byte(name + "\x00"))
	h.Write(password.AppendTo(nil))
	return [sha256.Size]byte(h.Sum(nil))
}

// knows reports whether the password was correct for the account in the epoch.
func (p *proofs) knows(name, epoch string, password credentials.Secret) bool {
	mac := p.mac(name, password)
	p.mu.Lock()
	have, ok := p.right[name]
	p.mu.Unlock()
	return ok && have.epoch == epoch && hmac.Equal(have.mac[:], mac[:])
}

func (p *proofs) remember(name, epoch string, password credentials.Secret) {
	mac := p.mac(name, password)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.right == nil {
		p.right = make(map[string]proof)
	}
	for other := range p.right {
		if len(p.right) < maxProofs {
			break
		}
		delete(p.right, other)
	}
	p.right[name] = proof{epoch, mac}
}

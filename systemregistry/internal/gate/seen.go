package gate

import (
	"crypto/sha256"
	"sync"
	"time"

	"github.com/regcred/regcred/systemregistry/internal/token"
)

// seen remembers what valid access tokens say, for a client shows the same one with each request of a pull, and a
// signature costs more than to find a manifest. It decides nothing: when the token ends, whether the key that signed it
// still counts, and what its account may do is looked at each time. Only what was valid is put into it, so that nobody
// without a login can fill it. The zero seen is ready to use.
type seen struct {
	mu     sync.Mutex
	claims map[[sha256.Size]byte]token.Claims
}

// maxSeen bounds the memory, at a few MB.
const maxSeen = 4096

func (s *seen) get(text string, now time.Time) (token.Claims, bool) {
	key := sha256.Sum256([]byte(text))
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.claims[key]
	return c, ok && now.Before(c.Expiry.Time())
}

func (s *seen) put(text string, c token.Claims) {
	key := sha256.Sum256([]byte(text))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.claims == nil {
		s.claims = make(map[[sha256.Size]byte]token.Claims)
	}
	if len(s.claims) >= maxSeen { // Half at once, so that it is seldom; who is forgotten is checked again.
		for k := range s.claims {
			if len(s.claims) <= maxSeen/2 {
				break
			}
			delete(s.claims, k)
		}
	}
	s.claims[key] = c
}

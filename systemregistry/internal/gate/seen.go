package gate

import (
	"crypto/sha256"
	"sync"
	"time"

	"github.com/regcred/regcred/systemregistry/internal/token"
)

// seen remembers what valid access tokens say, for a client shows the same one with each request of a pull, and a
// signature costs more than to find a manifest. It decides nothing: when the token ends, whether the key that signed it
// still counts, and what its account may do is looked at each time. Anybody can have valid tokens for what is public, so what it
// holds is bounded by bytes. The zero seen is ready to use.
type seen struct {
	mu     sync.Mutex
	claims map[[sha256.Size]byte]token.Claims
	bytes  int // Of the tokens, by which the memory is bounded.
	sizes  map[[sha256.Size]byte]int
}

const (
	// maxSeenBytes bounds the memory, at some 10 MB: claims take about twice what their token does.
	maxSeenBytes = 4 << 20
	// maxSeenToken is above the length of a token for a few repositories.
	maxSeenToken = 4 << 10
	// seenOverhead is what a token takes beside its length.
	seenOverhead = 256
)

func (s *seen) get(text string, now time.Time) (token.Claims, bool) {
	key := sha256.Sum256([]byte(text))
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.claims[key]
	return c, ok && now.Before(c.Expiry.Time())
}

func (s *seen) put(text string, c token.Claims) {
	if len(text) > maxSeenToken {
		return
	}
	key := sha256.Sum256([]byte(text))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.claims == nil {
		s.claims, s.sizes = make(map[[sha256.Size]byte]token.Claims), make(map[[sha256.Size]byte]int)
	}
	size := len(text) + seenOverhead
	if s.bytes+size > maxSeenBytes { // Half at once, so that it is seldom; who is forgotten is checked again.
		for k, n := range s.sizes {
			if s.bytes <= maxSeenBytes/2 {
				break
			}
			delete(s.claims, k)
			delete(s.sizes, k)
			s.bytes -= n
		}
	}
	s.bytes += size - s.sizes[key]
	s.claims[key], s.sizes[key] = c, size
}

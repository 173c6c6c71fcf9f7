package gate

import (
	"crypto/sha256"
	"sync"
	"time"

	"github.com/regcred/regcred/systemregistry/internal/token"
)

// seen caches the claims of valid access tokens, because a client sends the same token with each request of a pull, and
// verifying a signature takes longer than finding a manifest. A cached token grants nothing by itself: expiry, the
// validity of the signing key and the rights of the account are checked each time. Anyone can get valid tokens for
// public repositories, so the cache is limited by bytes. The zero seen is ready to use.
type seen struct {
	mu     sync.Mutex
	claims map[[sha256.Size]byte]token.Claims
	bytes  int // Total size of the tokens, which limits the memory.
	sizes  map[[sha256.Size]byte]int
}

const (
	// maxSeenBytes limits the memory to about 10 MB: claims take about twice the size of their token.
	maxSeenBytes = 4 << 20
	// maxSeenToken is above the length of a token for a few repositories.
	maxSeenToken = 4 << 10
	// seenOverhead is the memory that a token takes beside its length.
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
	if s.bytes+size > maxSeenBytes { // Half at once, so that this is rare. A forgotten token is verified again.
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

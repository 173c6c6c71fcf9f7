package gate

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/systemregistry/internal/token"
)

func TestSeenEndsWithTheToken(t *testing.T) {
	var s seen
	now := time.Now().Truncate(time.Second)
	var c token.Claims
	c.Subject, c.Expiry = "ann", jwt.NewNumericDate(now.Add(time.Minute))
	s.put("text", c)
	got, ok := s.get("text", now.Add(time.Minute-1))
	require.True(t, ok)
	require.Equal(t, "ann", got.Subject)
	_, ok = s.get("text", now.Add(time.Minute))
	require.False(t, ok, "after its end")
	_, ok = s.get("texT", now)
	require.False(t, ok, "another text")
	for i := range 3 * maxSeenBytes / 1000 {
		s.put(fmt.Sprint(strings.Repeat("x", 1000), i), c)
	}
	require.LessOrEqual(t, len(s.claims), maxSeenBytes/1000)
	require.Len(t, s.sizes, len(s.claims))
	sum := 0
	for _, n := range s.sizes {
		sum += n
	}
	require.Equal(t, sum, s.bytes)
	long := strings.Repeat("x", maxSeenToken+1)
	s.put(long, c)
	_, ok = s.get(long, now)
	require.False(t, ok, "one that is longer than honest ones")
}

package gate

import (
	"fmt"
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
	for i := range 3 * maxSeen {
		s.put(fmt.Sprint(i), c)
	}
	require.LessOrEqual(t, len(s.claims), maxSeen)
}

package accounts

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"
)

// A hash that cannot be read, or of another cost, would make names that do not exist answer faster.
func TestDummyHashTakesAsLongAsOthers(t *testing.T) {
	for configured, want := range map[int]int{0: 10, 4: 4, 11: 11} {
		hash := (&Book{PasswordCost: configured}).dummyHash()
		cost, err := bcrypt.Cost(hash)
		require.NoError(t, err)
		require.Equal(t, want, cost)
	}
	require.ErrorIs(t, bcrypt.CompareHashAndPassword((&Book{PasswordCost: 4}).dummyHash(), []byte("any")), bcrypt.ErrMismatchedHashAndPassword)
}

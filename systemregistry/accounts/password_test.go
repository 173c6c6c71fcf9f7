package accounts

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/systemregistry/store"
)

// If the dummy hash were invalid, logins with names that do not exist would fail faster.
func TestDummyHashTakesAsLongAsOthers(t *testing.T) {
	for _, want := range []int{4, 10, 11} {
		cost, err := bcrypt.Cost(dummyHash(want))
		require.NoError(t, err)
		require.Equal(t, want, cost)
	}
	require.ErrorIs(t, bcrypt.CompareHashAndPassword(dummyHash(4), []byte("any")), bcrypt.ErrMismatchedHashAndPassword)
}

// After a change of the cost, logins with old, new and unknown names take the same time.
func TestTimeTellsNoNames(t *testing.T) {
	for _, costs := range [][2]int{{4, 9}, {9, 4}} {
		s := new(store.Memory)
		right := credentials.NewSecret("right password")
		before := &Manager{Store: s, PasswordCost: costs[0]}
		require.NoError(t, before.Create(t.Context(), Account{Name: "before"}, right))
		b := &Manager{Store: s, PasswordCost: costs[1]}
		require.NoError(t, b.Create(t.Context(), Account{Name: "after"}, right))
		_, err := b.Verify(t.Context(), "before", right)
		require.NoError(t, err)
		// Other load on the machine delays some checks, so the shortest of each count.
		shortest := make(map[string]time.Duration)
		alike := func() bool {
			for _, took := range shortest {
				if took >= 3*shortest["nobody"] || shortest["nobody"] >= 3*took {
					return false
				}
			}
			return true
		}
		for began, round := time.Now(), 0; round < 5 || !alike() && time.Since(began) < 2*time.Minute; round++ {
			for _, name := range []string{"before", "after", "nobody"} {
				began := time.Now()
				_, err := b.Verify(t.Context(), name, credentials.NewSecret("wrong password"))
				took := time.Since(began)
				require.ErrorIs(t, err, ErrWrongLogin)
				if best, ok := shortest[name]; !ok || took < best {
					shortest[name] = took
				}
			}
		}
		require.True(t, alike(), "from %d to %d: %v", costs[0], costs[1], shortest)
	}
}

func TestPasswordsAsTheyAreTyped(t *testing.T) {
	b := &Manager{Store: new(store.Memory), PasswordCost: 4}
	composed, decomposed := "caf\u00e9 au lait", "cafe\u0301 au lait"
	require.NoError(t, b.Create(t.Context(), Account{Name: "ann"}, credentials.NewSecret(decomposed)))
	for _, text := range []string{composed, decomposed} {
		_, err := b.Verify(t.Context(), "ann", credentials.NewSecret(text))
		require.NoError(t, err, "%q", text)
	}
	// bcrypt cannot distinguish these passwords.
	require.ErrorIs(t, b.Create(t.Context(), Account{Name: "bob"}, credentials.NewSecret("secret\x00secret")), ErrInvalidAccount)
	require.NoError(t, b.Create(t.Context(), Account{Name: "bob"}, credentials.NewSecret("password")))
	for _, text := range []string{"password\x00password", "password\x00", "password\x00password\x00"} {
		_, err := b.Verify(t.Context(), "bob", credentials.NewSecret(text))
		require.ErrorIs(t, err, ErrWrongLogin, "%q", text)
	}
}

func TestNoKeysForTheNameOfTheRegistry(t *testing.T) {
	b := &Manager{Store: new(store.Memory), PasswordCost: 4}
	require.NoError(t, b.Create(t.Context(), Account{Name: "regcred"}, credentials.NewSecret("long enough")))
	_, err := b.AddKey(t.Context(), "regcred", "regcred")
	require.ErrorIs(t, err, ErrInvalidAccount)
}

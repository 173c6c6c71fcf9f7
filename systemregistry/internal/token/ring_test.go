package token_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/systemregistry/internal/token"
	"github.com/regcred/regcred/systemregistry/store"
)

// While keys rotate for two weeks, two replicas sign and verify each other's tokens all the time, and no token is
// rejected before it expires.
func TestRotationWithoutOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(store.Memory)
		replicas := []*token.Ring{
			{Store: s, RotateEvery: 24 * time.Hour, MaxLife: 2 * time.Hour},
			{Store: s, RotateEvery: 24 * time.Hour, MaxLife: 2 * time.Hour},
		}
		ids := make(map[string]bool)
		var held []string // Tokens that have not expired.
		for step := range 15 * 24 {
			for _, r := range replicas {
				if step%3 == 0 {
					require.NoError(t, r.Rotate(t.Context()))
				}
				text, _, err := r.Sign(t.Context(), token.Login, claimsOf("ann"), service, 2*time.Hour)
				require.NoError(t, err)
				ids[text[:60]] = true // The header, with the ID of the key.
				held = append(held, text)
			}
			for _, text := range held {
				for _, r := range replicas {
					_, err := r.Parse(t.Context(), text, token.Login, service, nil)
					require.NoError(t, err, "step %d", step)
				}
			}
			if len(held) >= 4 {
				held = held[2:]
			}
			time.Sleep(59 * time.Minute)
		}
		require.Greater(t, len(ids), 10, "keys were not rotated")
	})
}

func TestReplayAfterItsEndAndAfterRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(store.Memory)
		r := &token.Ring{Store: s, RotateEvery: time.Hour, MaxLife: time.Hour}
		require.NoError(t, r.Rotate(t.Context()))
		text, _, err := r.Sign(t.Context(), token.Access, claimsOf("ann"), service, time.Minute)
		require.NoError(t, err)
		time.Sleep(time.Minute - time.Millisecond)
		_, err = r.Parse(t.Context(), text, token.Access, service, nil)
		require.NoError(t, err)
		time.Sleep(time.Millisecond)
		_, err = r.Parse(t.Context(), text, token.Access, service, nil)
		require.ErrorIs(t, err, token.ErrBad, "after its end")

		kept, err := s.Get(t.Context(), "keys/ring")
		require.NoError(t, err)
		for range 10 {
			time.Sleep(time.Hour)
			require.NoError(t, r.Rotate(t.Context()))
		}
		now, err := s.Get(t.Context(), "keys/ring")
		require.NoError(t, err)
		require.Less(t, len(now.Value), 4*len(kept.Value), "old keys are not forgotten")
	})
}

// broken is a store that is down.
type broken struct {
	store.Store
	err error
}

func (b *broken) Get(ctx context.Context, key string) (store.Entry, error) {
	if b.err != nil {
		return store.Entry{}, b.err
	}
	return b.Store.Get(ctx, key)
}

// A store that is down for a while does not block known accounts.
func TestStoreAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &broken{Store: new(store.Memory)}
		r := ring(t, s)
		text, _, err := r.Sign(t.Context(), token.Access, claimsOf("ann"), service, time.Hour)
		require.NoError(t, err)
		s.err = errors.New("away")
		time.Sleep(30 * time.Minute)
		_, err = r.Parse(t.Context(), text, token.Access, service, nil)
		require.NoError(t, err)

		cold := &token.Ring{Store: s, MaxLife: time.Hour}
		_, err = cold.Parse(t.Context(), text, token.Access, service, nil)
		require.ErrorIs(t, err, s.err)
		require.NotErrorIs(t, err, token.ErrBad, "what cannot be found out is not a refusal")
	})
}

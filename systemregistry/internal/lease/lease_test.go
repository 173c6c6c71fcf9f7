package lease_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/systemregistry/internal/lease"
	"github.com/regcred/regcred/systemregistry/store"
)

// away is a store that may not respond to puts.
type away struct {
	store.Store
	fails atomic.Bool
	puts  atomic.Int64
	hangs atomic.Bool // Until the context ends.
}

func (s *away) Put(ctx context.Context, key string, value []byte, version uint64) (uint64, error) {
	s.puts.Add(1)
	if s.hangs.Load() {
		<-ctx.Done()
		return 0, context.Cause(ctx)
	}
	if s.fails.Load() {
		return 0, errors.New("away")
	}
	return s.Store.Put(ctx, key, value, version)
}

const wait = 30 * time.Second

func TestOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(store.Memory)
		var inside, held atomic.Int64
		for range 20 {
			go func() {
				alone, release, err := lease.Hold(t.Context(), s, "a", wait)
				if err != nil {
					t.Error(err)
					return
				}
				if inside.Add(1) > 1 {
					t.Error("two hold it")
				}
				held.Add(1)
				time.Sleep(time.Second)
				inside.Add(-1)
				if alone.Err() != nil {
					t.Error(alone.Err())
				}
				release()
			}()
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		require.EqualValues(t, 20, held.Load())
		_, other, err := lease.Hold(t.Context(), s, "a", wait)
		require.NoError(t, err)
		_, another, err := lease.Hold(t.Context(), s, "b", time.Nanosecond)
		require.NoError(t, err, "another name")
		other()
		another()
	})
}

func TestHeldForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(store.Memory)
		alone, release, err := lease.Hold(t.Context(), s, "a", wait)
		require.NoError(t, err)
		for range 10 {
			_, _, err := lease.Hold(t.Context(), s, "a", wait)
			require.ErrorIs(t, err, lease.ErrBusy)
		}
		require.NoError(t, alone.Err())
		release()
		began := time.Now()
		_, release, err = lease.Hold(t.Context(), s, "a", wait)
		require.NoError(t, err)
		require.Zero(t, time.Since(began), "what was released has to be waited for")
		release()
	})
}

// A holder that crashed blocks others only briefly. A holder whose store does not respond stops before another holder
// starts, however the store fails.
func TestTakenOver(t *testing.T) {
	for name, leave := range map[string]func(*away){
		"fails": func(s *away) { s.fails.Store(true) },
		"hangs": func(s *away) { s.hangs.Store(true) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				table := new(store.Memory)
				s := &away{Store: table}
				alone, release, err := lease.Hold(t.Context(), s, "a", wait)
				require.NoError(t, err)
				time.Sleep(time.Minute)
				leave(s)
				_, second, err := lease.Hold(t.Context(), table, "a", wait)
				require.NoError(t, err)
				require.ErrorIs(t, context.Cause(alone), lease.ErrLost, "two hold it")
				s.fails.Store(false)
				s.hangs.Store(false)
				puts := s.puts.Load()
				release()
				require.Equal(t, puts, s.puts.Load(), "it released what is somebody else's")
				second()
			})
		})
	}
}

func TestEndOfTheCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(store.Memory)
		_, release, err := lease.Hold(t.Context(), s, "a", wait)
		require.NoError(t, err)
		defer release()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, _, err = lease.Hold(ctx, s, "a", wait)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		away := &away{Store: s}
		away.fails.Store(true)
		_, _, err = lease.Hold(t.Context(), away, "c", wait)
		require.ErrorContains(t, err, "away")
	})
}

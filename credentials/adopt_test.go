package credentials_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/credentials/credentialstest"
)

// issuedAt returns a credential with a lifetime of an hour.
func issuedAt(name string, at time.Time) credentials.Credential {
	return credentials.Credential{Username: "u", Password: credentials.NewSecret(name), IssuedAt: at, ExpiresAt: at.Add(time.Hour)}
}

func TestAdopt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now, key := time.Now(), credentials.Key{Issuer: "x"}
		issuer := &credentialstest.Issuer{}
		adopted := 0
		cache := credentials.Cache{Hooks: credentials.Hooks{Adopted: func(e credentials.Event) {
			adopted++
			require.Equal(t, key, e.Key)
			require.NotZero(t, e.NextCall)
		}}}
		get := func() credentials.Credential {
			c, err := cache.Credential(t.Context(), key, issuer)
			require.NoError(t, err)
			return c
		}
		anonymous, unknown, forever := issuedAt("a", now), issuedAt("u", now), issuedAt("f", now)
		anonymous.Anonymous, unknown.IssuedAt, forever.ExpiresAt = true, time.Time{}, time.Time{}
		for name, c := range map[string]credentials.Credential{
			"anonymous": anonymous, "of unknown issue": unknown, "without expiry": forever, "zero": {},
			"expired": issuedAt("e", now.Add(-2*time.Hour)), "due for renewal": issuedAt("d", now.Add(-49*time.Minute)),
		} {
			require.False(t, cache.Adopt(key, issuer, c), name)
		}
		require.False(t, cache.Adopt(key, nil, issuedAt("n", now)), "without a source to renew it from")
		_, known := cache.Lookup(key)
		require.False(t, known, "what was not adopted leaves nothing behind")

		require.True(t, cache.Adopt(key, issuer, issuedAt("first", now.Add(-20*time.Minute))))
		require.Equal(t, "first", get().Password.Reveal())
		require.False(t, cache.Adopt(key, issuer, issuedAt("older", now.Add(-21*time.Minute))))
		require.False(t, cache.Adopt(key, issuer, issuedAt("same age", now.Add(-20*time.Minute))))
		require.True(t, cache.Adopt(key, issuer, issuedAt("newer", now.Add(-10*time.Minute))), "as by another replica")
		require.Equal(t, "newer", get().Password.Reveal())
		require.Zero(t, issuer.Calls())

		cache.Invalidate(key, get())
		require.False(t, cache.Adopt(key, issuer, issuedAt("newer", now.Add(-10*time.Minute))), "it was refused")
		require.False(t, cache.Adopt(key, issuer, issuedAt("first", now.Add(-20*time.Minute))), "one before it")
		require.True(t, cache.Adopt(key, issuer, issuedAt("third", now.Add(-5*time.Minute))))
		require.Equal(t, 3, adopted)

		// The source renews it like one that it issued.
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _ = cache.Run(ctx) }()
		get()
		time.Sleep(50 * time.Minute)
		require.Equal(t, 1, issuer.Calls())
		cancel()
		synctest.Wait()
	})
}

// A credential that another replica received ends the failure of an issuer.
func TestAdoptWhileTheIssuerFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := credentials.Key{Issuer: "x"}
		issuer := &credentialstest.Issuer{Steps: []credentialstest.Step{{Err: context.DeadlineExceeded}}}
		var cache credentials.Cache
		_, err := cache.Credential(t.Context(), key, issuer)
		require.Error(t, err)
		require.True(t, cache.Adopt(key, issuer, issuedAt("theirs", time.Now())))
		c, err := cache.Credential(t.Context(), key, issuer)
		require.NoError(t, err)
		require.Equal(t, "theirs", c.Password.Reveal())
		entry, _ := cache.Lookup(key)
		require.Zero(t, entry.Failures)
	})
}

// Lookup returns the time of the next renewal, also while a renewal is in flight.
func TestLookupSaysWhenARenewalIsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := credentials.Key{Issuer: "x"}
		issuer := &credentialstest.Issuer{Steps: []credentialstest.Step{{Life: time.Hour}, {Hang: true}}}
		var cache credentials.Cache
		_, known := cache.Lookup(key)
		require.False(t, known)
		_, err := cache.Credential(t.Context(), key, issuer)
		require.NoError(t, err)
		entry, _ := cache.Lookup(key)
		require.WithinRange(t, entry.NextCall, time.Now().Add(48*time.Minute), time.Now().Add(54*time.Minute))
		time.Sleep(time.Until(entry.NextCall))
		_, err = cache.Credential(t.Context(), key, issuer)
		require.NoError(t, err)
		synctest.Wait()
		entry, _ = cache.Lookup(key)
		require.True(t, entry.Calling)
		require.Equal(t, time.Now().Add(30*time.Second), entry.NextCall, "when the call ends at the latest")
		issuer.Release()
		synctest.Wait()
	})
}

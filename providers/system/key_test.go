package system_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers/system"
	"github.com/regcred/regcred/registry"
)

func TestKeyRoundTrip(t *testing.T) {
	key := system.NewKey("team+ci", "regcred")
	got, err := system.ParseKey(key.Encode())
	require.NoError(t, err)
	require.Equal(t, key.Account, got.Account)
	require.Equal(t, key.Service, got.Service)
	require.Equal(t, key.ID, got.ID)
	require.Equal(t, key.Public(), got.Public())
	require.NotEqual(t, key.Public(), system.NewKey("team+ci", "regcred").Public())
}

func TestKeyPrintsWithoutItsSeed(t *testing.T) {
	key := system.NewKey("ann", "regcred")
	var text struct{ Seed string }
	require.NoError(t, json.Unmarshal(key.Encode().AppendTo(nil), &text))
	require.NotEmpty(t, text.Seed)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		require.NotContains(t, fmt.Sprintf(verb, key), text.Seed)
	}
}

func TestMint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(123 * time.Millisecond) // A token has whole seconds, so the credential must as well.
		key := system.NewKey("team+ci", "regcred")
		c, err := system.Provider{Lifetime: 10 * time.Minute}.Credential(t.Context(), registry.Profile{
			Name: "p", Kind: registry.System, Endpoint: "registry.example.com/team",
			Login: credentials.Login{Fields: map[string]credentials.Secret{"key": key.Encode()}},
		})
		require.NoError(t, err)
		require.Equal(t, "team+ci", c.Username)

		parts := strings.Split(c.Password.Reveal(), ".")
		require.Len(t, parts, 3)
		signature, err := base64.RawURLEncoding.DecodeString(parts[2])
		require.NoError(t, err)
		require.True(t, ed25519.Verify(key.Public(), []byte(parts[0]+"."+parts[1]), signature))

		payload, err := base64.RawURLEncoding.DecodeString(parts[1])
		require.NoError(t, err)
		var claims map[string]any
		require.NoError(t, json.Unmarshal(payload, &claims))
		require.Equal(t, []any{"pull"}, claims["actions"])
		require.Equal(t, []any{"team/**"}, claims["repositories"])
		require.Equal(t, "regcred", claims["aud"])
		require.Equal(t, float64(c.ExpiresAt.Unix()), claims["exp"])
		require.Equal(t, 10*time.Minute, c.ExpiresAt.Sub(c.IssuedAt))
	})
}

func FuzzParseKey(f *testing.F) {
	f.Add(system.NewKey("ann", "regcred").Encode().Reveal())
	f.Add(`{"kind":"regcred-system-key","account":"a","service":"s","id":"i","seed":"AA=="}`)
	f.Add(`{`)
	f.Fuzz(func(t *testing.T, text string) {
		key, err := system.ParseKey(credentials.NewSecret(text))
		if err != nil {
			if len(text) > 20 && strings.Contains(err.Error(), text) {
				t.Fatalf("the error quotes the key: %v", err)
			}
			return
		}
		again, err := system.ParseKey(key.Encode())
		if err != nil || again.ID != key.ID || !again.Public().Equal(key.Public()) {
			t.Fatalf("key changes when it is encoded: %v", err)
		}
	})
}

package token_test

import (
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/systemregistry/internal/token"
	"github.com/regcred/regcred/systemregistry/store"
)

const service = "regcred"

func ring(t *testing.T, s store.Store) *token.Ring {
	t.Helper()
	r := &token.Ring{Store: s, MaxLife: time.Hour}
	require.NoError(t, r.Rotate(t.Context()))
	return r
}

func claimsOf(subject string) token.Claims {
	c := token.Claims{Epoch: "epoch", Access: []token.Resource{{Type: "repository", Name: "a", Actions: []string{"pull"}}}}
	c.Subject = subject
	return c
}

func encode(v any) string {
	text, _ := json.Marshal(v)
	return base64.RawURLEncoding.EncodeToString(text)
}

// forge signs the claims with a key of the attacker.
func forge(key ed25519.PrivateKey, header, claims map[string]any) string {
	input := encode(header) + "." + encode(claims)
	return input + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(key, []byte(input)))
}

func TestRoundTrip(t *testing.T) {
	r := ring(t, new(store.Memory))
	text, signed, err := r.Sign(t.Context(), token.Access, claimsOf("ann"), service, time.Minute)
	require.NoError(t, err)
	got, err := r.Parse(t.Context(), text, token.Access, service, nil)
	require.NoError(t, err)
	require.Equal(t, "ann", got.Subject)
	require.Equal(t, signed.Access, got.Access)
	require.Equal(t, time.Minute, got.Expiry.Time().Sub(got.IssuedAt.Time()))
}

// Each row is an attack with a token that is not valid for the request.
func TestForgeries(t *testing.T) {
	s := new(store.Memory)
	r := ring(t, s)
	good, _, err := r.Sign(t.Context(), token.Access, claimsOf("ann"), service, time.Minute)
	require.NoError(t, err)
	parts := strings.Split(good, ".")
	header, payload := make(map[string]any), make(map[string]any)
	for i, into := range []*map[string]any{&header, &payload} {
		text, err := base64.RawURLEncoding.DecodeString(parts[i])
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(text, into))
	}
	_, mine, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	with := func(from map[string]any, change map[string]any) map[string]any {
		to := make(map[string]any)
		for _, m := range []map[string]any{from, change} {
			for k, v := range m {
				to[k] = v
			}
		}
		return to
	}
	// The registry's public key, which is not secret, is used as the secret of a symmetric algorithm.
	stored, err := s.Get(t.Context(), "keys/ring")
	require.NoError(t, err)
	var keys []struct{ Seed []byte }
	require.NoError(t, json.Unmarshal(stored.Value, &keys))
	symmetric := encode(with(header, map[string]any{"alg": "HS256"})) + "." + parts[1]
	mac := hmac.New(sha256.New, ed25519.NewKeyFromSeed(keys[0].Seed).Public().(ed25519.PublicKey))
	mac.Write([]byte(symmetric))
	symmetric += "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))

	// The attacker's own account has the attacker's own key.
	accountKey := func(_ context.Context, account, id string) (ed25519.PublicKey, bool, error) {
		return mine.Public().(ed25519.PublicKey), account == "mallory" && id == "m", nil
	}
	mallory := map[string]any{"alg": "EdDSA", "kid": "m", "typ": string(token.Access)}
	jwk := map[string]any{"kty": "OKP", "crv": "Ed25519", "x": base64.RawURLEncoding.EncodeToString(mine.Public().(ed25519.PublicKey))}
	own := func(change map[string]any) string {
		return forge(mine, mallory, with(with(payload, map[string]any{"iss": "mallory", "sub": "mallory"}), change))
	}
	in := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }

	tests := map[string]string{
		"nothing":                         "",
		"not a token":                     "a.b.c",
		"no signature":                    parts[0] + "." + parts[1] + ".",
		"algorithm none":                  encode(with(header, map[string]any{"alg": "none"})) + "." + parts[1] + ".",
		"algorithm of a shared secret":    symmetric,
		"other claims, same signature":    parts[0] + "." + encode(with(payload, map[string]any{"sub": "root"})) + "." + parts[2],
		"other header, same signature":    encode(with(header, map[string]any{"typ": "JWT"})) + "." + parts[1] + "." + parts[2],
		"signed by somebody":              forge(mine, header, payload),
		"signed by somebody, other kid":   forge(mine, with(header, map[string]any{"kid": "m"}), payload),
		"key in the header":               forge(mine, with(header, map[string]any{"jwk": jwk}), payload),
		"key at a URL":                    forge(mine, with(header, map[string]any{"jku": "https://mallory.example.com/keys"}), payload),
		"own key, for somebody else":      forge(mine, mallory, with(payload, map[string]any{"iss": "mallory", "sub": "ann"})),
		"own key, as the registry":        forge(mine, mallory, payload),
		"own key, no audience":            own(map[string]any{"aud": []string{}}),
		"own key, more than one audience": own(map[string]any{"aud": []string{service, "other"}}),
		"own key, no end":                 own(map[string]any{"exp": nil}),
		"own key, a far end":              own(map[string]any{"exp": in(1000 * time.Hour)}),
		"own key, from the future":        own(map[string]any{"iat": in(30 * time.Minute), "exp": in(40 * time.Minute)}),
		"own key, expired":                own(map[string]any{"iat": in(-time.Minute), "exp": in(-time.Second)}),
		"own key, for a service account":  own(map[string]any{"tokenIssuer": "https://cluster.example.com", "tokenSubject": "x"}),
		"all in JSON":                     `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`,
		"very long":                       good + strings.Repeat("A", 1<<17),
	}
	for name, text := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := r.Parse(t.Context(), text, token.Access, service, accountKey)
			require.ErrorIs(t, err, token.ErrBad)
		})
	}

	t.Run("none of the above is refused for want of a valid one", func(t *testing.T) {
		_, err := r.Parse(t.Context(), good, token.Access, service, accountKey)
		require.NoError(t, err)
		c, err := r.Parse(t.Context(), own(nil), token.Access, service, accountKey)
		require.NoError(t, err)
		require.Equal(t, "mallory", c.Subject)
	})
	t.Run("another type", func(t *testing.T) {
		for _, typ := range []token.Type{token.Login, token.Session} {
			_, err := r.Parse(t.Context(), good, typ, service, accountKey)
			require.ErrorIs(t, err, token.ErrBad)
		}
	})
	t.Run("another service", func(t *testing.T) {
		_, err := r.Parse(t.Context(), good, token.Access, "other", accountKey)
		require.ErrorIs(t, err, token.ErrBad)
	})
	t.Run("another registry of the same name", func(t *testing.T) {
		_, err := ring(t, new(store.Memory)).Parse(t.Context(), good, token.Access, service, accountKey)
		require.ErrorIs(t, err, token.ErrBad)
	})
}

func FuzzParse(f *testing.F) {
	r := &token.Ring{Store: new(store.Memory), MaxLife: time.Hour}
	if err := r.Rotate(f.Context()); err != nil {
		f.Fatal(err)
	}
	good, _, err := r.Sign(f.Context(), token.Access, claimsOf("ann"), service, time.Hour)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := r.Parse(t.Context(), text, token.Access, service, nil)
		if err == nil && c.Subject != "ann" {
			t.Fatalf("a token that was never made is for %q", c.Subject)
		}
	})
}

package issuertest_test

import (
	"encoding/base64"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/providers/issuertest"
)

func TestTrust(t *testing.T) {
	for _, algorithm := range []issuertest.Algorithm{issuertest.RS256, issuertest.ES256} {
		t.Run(string(algorithm), func(t *testing.T) {
			issuer := issuertest.New("https://issuer.example.com", algorithm)
			stranger := issuertest.New("https://issuer.example.com", algorithm)
			trust := issuertest.Trust{Issuer: issuer.URL, Keys: issuer.JWKS, Audiences: []string{"sts"}, Subject: "system:serviceaccount:shop:*"}
			const subject = "system:serviceaccount:shop:puller"
			good := issuer.Token(subject, "sts", time.Hour)

			token, err := trust.Verify(good)
			require.NoError(t, err)
			require.Equal(t, subject, token.Subject)
			require.WithinDuration(t, time.Now().Add(time.Hour), token.ExpiresAt, time.Minute)

			parts := strings.Split(good, ".")
			none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + parts[1] + "."
			for name, test := range map[string]struct {
				token string
				want  error
			}{
				"another audience":   {issuer.Token(subject, "other", time.Hour), issuertest.ErrAudience},
				"another subject":    {issuer.Token("system:serviceaccount:other:puller", "sts", time.Hour), issuertest.ErrSubjectName},
				"a longer subject":   {issuer.Token("system:serviceaccount:shop:a/b", "sts", time.Hour), issuertest.ErrSubjectName},
				"expired":            {issuer.Token(subject, "sts", -time.Minute), issuertest.ErrOutOfTime},
				"not yet":            {issuer.Sign(map[string]any{"sub": subject, "aud": "sts", "nbf": time.Now().Add(time.Hour).Unix(), "exp": time.Now().Add(2 * time.Hour).Unix()}), issuertest.ErrOutOfTime},
				"without an end":     {issuer.Sign(map[string]any{"sub": subject, "aud": "sts"}), issuertest.ErrOutOfTime},
				"another issuer":     {issuer.Sign(map[string]any{"iss": "https://evil.example.com", "sub": subject, "aud": "sts"}), issuertest.ErrIssuer},
				"another key":        {stranger.Token(subject, "sts", time.Hour), issuertest.ErrSignature},
				"changed claims":     {parts[0] + "." + strings.Split(issuer.Token(subject, "sts", 2*time.Hour), ".")[1] + "." + parts[2], issuertest.ErrSignature},
				"no signature":       {none, issuertest.ErrNotToken},
				"text":               {"secret", issuertest.ErrNotToken},
				"two audiences, one": {issuer.Sign(map[string]any{"sub": subject, "aud": []string{"a", "sts"}, "exp": time.Now().Add(time.Hour).Unix()}), nil},
			} {
				_, err := trust.Verify(test.token)
				require.ErrorIs(t, err, test.want, name)
			}

			other := trust
			other.Algorithms = []issuertest.Algorithm{"RS384"}
			_, err = other.Verify(good)
			require.ErrorIs(t, err, issuertest.ErrAlgorithm)

			issuer.Rotate()
			_, err = trust.Verify(good)
			require.NoError(t, err, "the older key is still published")
			_, err = trust.Verify(issuer.Token(subject, "sts", time.Hour))
			require.NoError(t, err)
			issuer.Forget()
			_, err = trust.Verify(good)
			require.ErrorIs(t, err, issuertest.ErrSignature)
			issuer.SetUnreachable(true)
			_, err = trust.Verify(issuer.Token(subject, "sts", time.Hour))
			require.ErrorIs(t, err, issuertest.ErrKeys)
		})
	}
}

func TestIssuerServesItsKeys(t *testing.T) {
	issuer := issuertest.New("https://issuer.example.com/", issuertest.ES256)
	get := func(path string) *httptest.ResponseRecorder {
		rec := httptest.NewRecorder()
		issuer.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), "GET", path, nil))
		return rec
	}
	require.Contains(t, get("/.well-known/openid-configuration").Body.String(), `"jwks_uri":"https://issuer.example.com/openid/v1/jwks"`)
	keys, err := issuer.JWKS()
	require.NoError(t, err)
	require.Equal(t, string(keys), get("/openid/v1/jwks").Body.String())
	require.NotContains(t, string(keys), `"d":`, "no private key")
	require.Equal(t, 404, get("/other").Code)
	issuer.SetUnreachable(true)
	require.Equal(t, 503, get("/openid/v1/jwks").Code)
}

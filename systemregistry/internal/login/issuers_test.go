package login_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/systemregistry/accounts"
	"github.com/regcred/regcred/systemregistry/internal/login"
	"github.com/regcred/regcred/systemregistry/internal/token"
)

const (
	issuerURL = "https://cluster.example.com"
	audience  = "https://registry.example.com"
	subject   = "system:serviceaccount:shop:puller"
)

// fakeIssuer is an issuer in memory, used as the transport of its clients.
type fakeIssuer struct {
	keys     map[string]crypto.Signer // By ID.
	away     bool
	says     string // The issuer in its document. If empty, issuerURL.
	requests int
}

func (f *fakeIssuer) RoundTrip(r *http.Request) (*http.Response, error) {
	f.requests++
	if f.away {
		return nil, errors.New("no route to host")
	}
	recorder := httptest.NewRecorder()
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		says := f.says
		if says == "" {
			says = issuerURL
		}
		_ = json.NewEncoder(recorder).Encode(map[string]any{"issuer": says, "jwks_uri": issuerURL + "/keys"})
	case "/keys":
		var set jose.JSONWebKeySet
		for _, id := range slices.Sorted(maps.Keys(f.keys)) {
			set.Keys = append(set.Keys, jose.JSONWebKey{Key: f.keys[id].Public(), KeyID: id, Use: "sig"})
		}
		_ = json.NewEncoder(recorder).Encode(set)
	default:
		recorder.WriteHeader(http.StatusNotFound)
	}
	return recorder.Result(), nil
}

// The keys are generated once, because generating RSA keys is slow.
var rsaKey, otherRSAKey = newRSA(), newRSA()

func newRSA() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
}

func newEC(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return key
}

func honest() jwt.Claims {
	now := time.Now()
	return jwt.Claims{
		Issuer: issuerURL, Subject: subject, Audience: jwt.Audience{audience},
		IssuedAt: jwt.NewNumericDate(now), NotBefore: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(time.Hour)),
	}
}

func signed(t *testing.T, algorithm jose.SignatureAlgorithm, key any, id string, claims any) credentials.Secret {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: jose.JSONWebKey{Key: key, KeyID: id}}, nil)
	require.NoError(t, err)
	text, err := jwt.Signed(signer).Claims(claims).Serialize()
	require.NoError(t, err)
	return credentials.NewSecret(text)
}

func federated(t *testing.T, f *fakeIssuer, change ...func(*accounts.Issuer)) *login.Authenticator {
	t.Helper()
	a := authenticator(t)
	i := accounts.Issuer{
		URL: issuerURL, Audience: audience, Client: &http.Client{Transport: f},
		Subjects: []accounts.Subject{{Pattern: "system:serviceaccount:shop:*", Tenant: "shop", Rules: pull("shop/**")}},
	}
	for _, c := range change {
		c(&i)
	}
	require.NoError(t, i.Validate())
	a.Issuers = login.NewIssuers([]accounts.Issuer{i})
	return a
}

func TestIssuerTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ec := newEC(t)
		f := &fakeIssuer{keys: map[string]crypto.Signer{"rsa": rsaKey, "ec": ec}}
		a := federated(t, f)
		for algorithm, s := range map[jose.SignatureAlgorithm]credentials.Secret{
			jose.RS256: signed(t, jose.RS256, rsaKey, "rsa", honest()),
			jose.ES256: signed(t, jose.ES256, ec, "ec", honest()),
			jose.PS512: signed(t, jose.PS512, rsaKey, "", honest()),
		} {
			for _, name := range []string{"", "anything", "ann", "team+robot"} {
				who, err := a.Login(t.Context(), home, name, s)
				require.NoError(t, err, algorithm)
				require.Equal(t, subject+"@cluster.example.com", who.Account.Name)
				require.Equal(t, honest().Expiry.Time(), who.ExpiresAt.UTC().In(who.ExpiresAt.Location()))
				require.True(t, who.Limited(), "it could change accounts")
				require.True(t, who.Allows(accounts.Pull, "shop/app"))
				require.False(t, who.Allows(accounts.Pull, "team/app"), "ann may")
			}
		}
		require.Equal(t, 2, f.requests, "its document and its keys, once")
	})
}

func TestIssuerTokensThatAreRefused(t *testing.T) {
	change := func(f func(*jwt.Claims)) func(t *testing.T) credentials.Secret {
		return func(t *testing.T) credentials.Secret {
			c := honest()
			f(&c)
			return signed(t, jose.RS256, rsaKey, "rsa", c)
		}
	}
	unsigned := func(header string) func(t *testing.T) credentials.Secret {
		return func(t *testing.T) credentials.Secret {
			parts := strings.Split(change(func(*jwt.Claims) {})(t).Reveal(), ".")
			return credentials.NewSecret(base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + parts[1] + ".")
		}
	}
	tests := map[string]func(t *testing.T) credentials.Secret{
		"another audience":    change(func(c *jwt.Claims) { c.Audience = jwt.Audience{"https://kubernetes.default.svc"} }),
		"no audience":         change(func(c *jwt.Claims) { c.Audience = nil }),
		"two audiences":       change(func(c *jwt.Claims) { c.Audience = append(c.Audience, "https://other.example.com") }),
		"another issuer":      change(func(c *jwt.Claims) { c.Issuer = "https://evil.example.com" }),
		"the registry itself": change(func(c *jwt.Claims) { c.Issuer = "regcred" }),
		"an account":          change(func(c *jwt.Claims) { c.Issuer, c.Subject = "ann", "ann" }),
		"another subject":     change(func(c *jwt.Claims) { c.Subject = "system:serviceaccount:other:puller" }),
		"no subject":          change(func(c *jwt.Claims) { c.Subject = "" }),
		"expired":             change(func(c *jwt.Claims) { c.Expiry = jwt.NewNumericDate(time.Now()) }),
		"no expiry":           change(func(c *jwt.Claims) { c.Expiry = nil }),
		"not yet":             change(func(c *jwt.Claims) { c.NotBefore = jwt.NewNumericDate(time.Now().Add(time.Hour)) }),
		"from the future":     change(func(c *jwt.Claims) { c.IssuedAt = jwt.NewNumericDate(time.Now().Add(time.Hour)) }),
		"another key":         func(t *testing.T) credentials.Secret { return signed(t, jose.RS256, otherRSAKey, "rsa", honest()) },
		"an unknown key":      func(t *testing.T) credentials.Secret { return signed(t, jose.RS256, otherRSAKey, "x", honest()) },
		"the public key as an HMAC key": func(t *testing.T) credentials.Secret {
			return signed(t, jose.HS256, rsaKey.N.Bytes(), "rsa", honest())
		},
		"no algorithm": unsigned(`{"alg":"none"}`),
		"NONE":         unsigned(`{"alg":"NONE","kid":"rsa"}`),
		"too long":     change(func(c *jwt.Claims) { c.ID = strings.Repeat("a", 64<<10) }),
	}
	for name, made := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := federated(t, &fakeIssuer{keys: map[string]crypto.Signer{"rsa": rsaKey}})
				_, err := a.Login(t.Context(), home, "ann", made(t))
				require.ErrorIs(t, err, accounts.ErrWrongLogin)
			})
		})
	}
}

func TestIssuerRotatesKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeIssuer{keys: map[string]crypto.Signer{"old": rsaKey}}
		a := federated(t, f)
		try := func(s credentials.Secret) error {
			_, err := a.Login(t.Context(), home, "token", s)
			return err
		}
		old := signed(t, jose.RS256, rsaKey, "old", honest())
		require.NoError(t, try(old))
		f.keys = map[string]crypto.Signer{"new": otherRSAKey}
		require.NoError(t, try(old), "keys are read for each token")
		time.Sleep(10 * time.Second)
		require.NoError(t, try(signed(t, jose.RS256, otherRSAKey, "new", honest())), "a new key is not found")
		require.ErrorIs(t, try(old), accounts.ErrWrongLogin, "the issuer took the key back")

		// A withdrawn key expires after a while, even if no new key is used.
		f.keys = map[string]crypto.Signer{"third": rsaKey}
		recent := signed(t, jose.RS256, otherRSAKey, "new", honest())
		require.NoError(t, try(recent))
		time.Sleep(5 * time.Minute)
		require.ErrorIs(t, try(recent), accounts.ErrWrongLogin)

		// Anyone can make tokens with unknown keys.
		before := f.requests
		for i := range 1000 {
			require.ErrorIs(t, try(signed(t, jose.RS256, rsaKey, fmt.Sprint(i), honest())), accounts.ErrWrongLogin)
		}
		require.LessOrEqual(t, f.requests-before, 2)
	})
}

func TestIssuerIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeIssuer{keys: map[string]crypto.Signer{"rsa": rsaKey}, away: true}
		a := federated(t, f)
		try := func() error {
			c := honest()
			_, err := a.Login(t.Context(), home, "token", signed(t, jose.RS256, rsaKey, "rsa", c))
			return err
		}
		for range 10 {
			err := try()
			require.Error(t, err)
			require.NotErrorIs(t, err, accounts.ErrWrongLogin, "it is not known whether the token is good")
			require.ErrorContains(t, err, "no route to host")
		}
		require.Equal(t, 1, f.requests)
		time.Sleep(10 * time.Second)
		f.away = false
		require.NoError(t, try())
		f.away = true
		time.Sleep(time.Hour)
		require.NoError(t, try(), "keys that were read are forgotten when the issuer restarts")
		time.Sleep(24 * time.Hour)
		require.Error(t, try(), "a key that may have been taken back counts for ever")
	})
}

func TestIssuerDocument(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeIssuer{keys: map[string]crypto.Signer{"rsa": rsaKey}, says: "https://evil.example.com"}
		_, err := federated(t, f).Login(t.Context(), home, "x", signed(t, jose.RS256, rsaKey, "rsa", honest()))
		require.ErrorContains(t, err, "did not match")
		// If KeysURL is set, the document is not used.
		a := federated(t, f, func(i *accounts.Issuer) { i.KeysURL = issuerURL + "/keys" })
		_, err = a.Login(t.Context(), home, "x", signed(t, jose.RS256, rsaKey, "rsa", honest()))
		require.NoError(t, err)
	})
}

// Access tokens grant only rights that the subject still has.
func TestIssuerRightsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeIssuer{keys: map[string]crypto.Signer{"rsa": rsaKey}}
		a := federated(t, f)
		who, err := a.Login(t.Context(), home, "x", signed(t, jose.RS256, rsaKey, "rsa", honest()))
		require.NoError(t, err)
		text, _, err := a.Ring.Sign(t.Context(), token.Access, who.Claims(), "regcred", time.Minute)
		require.NoError(t, err)
		c, err := a.Ring.Parse(t.Context(), text, token.Access, "regcred", nil)
		require.NoError(t, err)
		account, err := a.Current(t.Context(), c)
		require.NoError(t, err)
		require.Equal(t, who.Account, account)
		b := federated(t, f, func(i *accounts.Issuer) { i.Subjects = nil })
		for _, without := range []*login.Authenticator{b, authenticator(t)} {
			_, err = without.Current(t.Context(), c)
			require.ErrorIs(t, err, accounts.ErrWrongLogin)
		}
	})
}

// Package issuertest has an OpenID Connect issuer for tests, which really signs its tokens, and the verification of
// tokens by a server that trusts the issuer.
//
// Fakes of clouds and registries verify tokens with a [Trust], so that a wrong audience, subject or key fails in a test
// as it fails in production. It is not for production: use github.com/coreos/go-oidc there.
package issuertest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// An Algorithm is the signature algorithm of a token (RFC 7518, section 3.1).
type Algorithm string

// The algorithms of an Issuer.
const (
	RS256 Algorithm = "RS256"
	ES256 Algorithm = "ES256"
)

// An Issuer signs tokens and serves its keys. Make one with [New]. All methods are safe for concurrent use.
type Issuer struct {
	// URL is the value of the claim iss, without a slash at its end.
	URL string

	mu          sync.Mutex
	algorithm   Algorithm
	keys        []jose.JSONWebKey // The last key signs.
	unreachable bool
	serial      int
}

// New returns an issuer with one key. The URL is the claim iss; tests that serve the issuer use the server's address.
func New(url string, algorithm Algorithm) *Issuer {
	i := &Issuer{URL: strings.TrimSuffix(url, "/"), algorithm: algorithm}
	i.Rotate()
	return i
}

// Rotate makes a new key, which signs from now on. Tokens of the older keys stay valid until [Issuer.Forget].
func (i *Issuer) Rotate() {
	i.mu.Lock()
	defer i.mu.Unlock()
	var private any
	var err error
	if i.algorithm == ES256 {
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	} else {
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		panic(err) // crypto/rand does not fail.
	}
	i.serial++
	i.keys = append(i.keys, jose.JSONWebKey{Key: private, KeyID: "key-" + strconv.Itoa(i.serial), Use: "sig", Algorithm: string(i.algorithm)})
}

// Forget removes all keys but the newest: tokens that older keys signed are rejected from now on.
func (i *Issuer) Forget() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = i.keys[len(i.keys)-1:]
}

// SetUnreachable makes the issuer's keys unavailable, like the keys of a private cluster. With false, it makes them
// available again.
func (i *Issuer) SetUnreachable(yes bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.unreachable = yes
}

// Token returns a token that is issued now for the subject and audience, and expires after lifetime.
func (i *Issuer) Token(subject, audience string, lifetime time.Duration) string {
	now := time.Now()
	return i.Sign(map[string]any{
		"sub": subject, "aud": []string{audience}, "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(lifetime).Unix(),
	})
}

// Sign returns a token with these claims. If they have no iss, Sign adds the URL of the issuer.
func (i *Issuer) Sign(claims map[string]any) string {
	i.mu.Lock()
	defer i.mu.Unlock()
	claims = maps.Clone(claims)
	if _, ok := claims["iss"]; !ok {
		claims["iss"] = i.URL
	}
	key := i.keys[len(i.keys)-1]
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(i.algorithm), Key: key}, nil)
	if err != nil {
		panic(err) // The algorithm always matches the key.
	}
	token, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		panic(err) // The claims of a test can be encoded.
	}
	return token
}

// JWKS returns the public keys as a JSON Web Key Set. It fails if the issuer is unreachable.
func (i *Issuer) JWKS() ([]byte, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.unreachable {
		return nil, fmt.Errorf("issuer %s is unreachable", i.URL)
	}
	var set jose.JSONWebKeySet
	for _, key := range i.keys {
		set.Keys = append(set.Keys, key.Public())
	}
	return json.Marshal(set)
}

// ServeHTTP serves the discovery document and the keys (OpenID Connect Discovery 1.0, section 4). It responds with
// status 503 while the issuer is unreachable.
func (i *Issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	keys, err := i.JWKS()
	switch {
	case err != nil:
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	case r.URL.Path == "/.well-known/openid-configuration":
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{
			"issuer": i.URL, "jwks_uri": i.URL + "/openid/v1/jwks", "response_types_supported": []string{"id_token"},
			"subject_types_supported": []string{"public"}, "id_token_signing_alg_values_supported": []string{string(i.algorithm)},
		})
	case r.URL.Path == "/openid/v1/jwks":
		w.Header().Set("Content-Type", "application/jwk-set+json")
		_, _ = w.Write(keys)
	default:
		http.NotFound(w, r)
	}
}

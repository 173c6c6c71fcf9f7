package issuertest

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// Keys returns an issuer's public keys as a JSON Web Key Set. [Issuer.JWKS] is one; the keys of a real API server are
// another.
type Keys func() ([]byte, error)

// A Trust is what a server is configured with: whose tokens it accepts.
type Trust struct {
	// Issuer is the claim iss, compared as text.
	Issuer string
	Keys   Keys
	// Audiences are those of which a token must have one.
	Audiences []string
	// Subject is the claim sub, or a pattern of package path. Empty means any.
	Subject string
	// Algorithms are the accepted ones. None means all that this package knows.
	Algorithms []Algorithm
	// Leeway is how far the clocks may differ.
	Leeway time.Duration
}

// The reasons for which a Trust rejects a token. Fakes choose their vendor's response by them.
var (
	ErrNotToken    = errors.New("the text is not a token")
	ErrIssuer      = errors.New("the issuer is not trusted")
	ErrKeys        = errors.New("the keys of the issuer are unavailable")
	ErrAlgorithm   = errors.New("the signature algorithm is not accepted")
	ErrSignature   = errors.New("the signature is wrong")
	ErrOutOfTime   = errors.New("the token is not valid at this time")
	ErrAudience    = errors.New("the audience does not match")
	ErrSubjectName = errors.New("the subject does not match")
)

// A Token is a token that was read, and by [Trust.Verify] verified.
type Token struct {
	Issuer, Subject     string
	Audience            []string
	IssuedAt, ExpiresAt time.Time
}

// Verify checks signature, issuer, time, audience and subject in this order. The error wraps one of this package's. The
// token is returned with an error too where it can be read, because vendors quote it.
func (t Trust) Verify(text string) (Token, error) {
	parsed, err := jwt.ParseSigned(text, []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.ES256})
	if err != nil || len(parsed.Headers) != 1 {
		return Token{}, ErrNotToken
	}
	var c jwt.Claims
	if parsed.UnsafeClaimsWithoutVerification(&c) != nil {
		return Token{}, ErrNotToken
	}
	token := Token{Issuer: c.Issuer, Subject: c.Subject, Audience: c.Audience, IssuedAt: c.IssuedAt.Time(), ExpiresAt: c.Expiry.Time()}
	if c.Issuer != t.Issuer {
		return token, fmt.Errorf("%w: %q", ErrIssuer, c.Issuer)
	}
	if algorithm := parsed.Headers[0].Algorithm; len(t.Algorithms) > 0 && !slices.Contains(t.Algorithms, Algorithm(algorithm)) {
		return token, fmt.Errorf("%w: %q", ErrAlgorithm, algorithm)
	}
	keys, err := t.Keys()
	if err != nil {
		return token, fmt.Errorf("%w: %w", ErrKeys, err)
	}
	var set jose.JSONWebKeySet
	if json.Unmarshal(keys, &set) != nil {
		return token, ErrKeys
	}
	if parsed.Claims(set, &c) != nil {
		return token, ErrSignature
	}
	if c.Expiry == nil || c.ValidateWithLeeway(jwt.Expected{Time: time.Now()}, t.Leeway) != nil {
		return token, ErrOutOfTime
	}
	if !slices.ContainsFunc(token.Audience, func(a string) bool { return slices.Contains(t.Audiences, a) }) {
		return token, fmt.Errorf("%w: %q", ErrAudience, token.Audience)
	}
	if ok, err := path.Match(t.Subject, c.Subject); t.Subject != "" && (err != nil || !ok && t.Subject != c.Subject) {
		return token, fmt.Errorf("%w: %q", ErrSubjectName, c.Subject)
	}
	return token, nil
}

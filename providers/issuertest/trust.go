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

// Keys is a function that returns an issuer's public keys as a JSON Web Key Set. [Issuer.JWKS] is a Keys; a function
// that fetches the keys of a real API server is another.
type Keys func() ([]byte, error)

// A Trust is the configuration of a server that accepts tokens of an issuer.
type Trust struct {
	// Issuer is the claim iss, compared as text.
	Issuer string
	Keys   Keys
	// Audiences are the accepted audiences. A token must have at least one of them.
	Audiences []string
	// Subject is the claim sub, or a pattern of package path. If empty, every subject is accepted.
	Subject string
	// Algorithms are the accepted algorithms. If empty, all algorithms of this package are accepted.
	Algorithms []Algorithm
	// Leeway is the accepted difference between the clocks.
	Leeway time.Duration
}

// The reasons why a Trust rejects a token. Simulated servers select their vendor's response by these errors.
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

// A Token holds the claims of a token that [Trust.Verify] has parsed. They are verified if its error is nil.
type Token struct {
	Issuer, Subject     string
	Audience            []string
	IssuedAt, ExpiresAt time.Time
}

// Verify checks signature, issuer, time, audience and subject, in this order. Its error wraps an error of this
// package. If the token can be parsed, Verify returns its claims even with an error, because vendors quote them.
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

package token

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// A Type is the kind of a token. It is in the token's header, so that one kind is never accepted as another (RFC 8725,
// section 3.11).
type Type string

// The types. A Login may also be signed by a key of an account.
const (
	Access  Type = "regcred-access+jwt"
	Login   Type = "regcred-login+jwt"
	Session Type = "regcred-session+jwt"
)

// Claims are the claims of a token.
type Claims struct {
	jwt.Claims
	// Epoch is the account's epoch at the time of issue. A token that an account's own key signed has none.
	Epoch string `json:"epoch,omitempty"`
	// TokenIssuer and TokenSubject identify an account by the subject of an OpenID Connect issuer. Such an account is
	// in no store and has no epoch. They are used only in tokens that the registry itself signed.
	TokenIssuer  string `json:"tokenIssuer,omitempty"`
	TokenSubject string `json:"tokenSubject,omitempty"`
	// Access lists the rights of an access token.
	Access []Resource `json:"access,omitempty"`
	// Repositories are patterns, and Actions the highest rights of a login there.
	Repositories []string `json:"repositories,omitempty"`
	Actions      []string `json:"actions,omitempty"`
	// Key is the ID of the key by which Parse verified the token. It is not in the token's claims.
	Key string `json:"-"`
}

// A Resource is an object, such as a repository, and the actions that an access token grants on it. The names come from
// distribution's token specification.
type Resource struct {
	Type    string   `json:"type"`
	Name    string   `json:"name"`
	Actions []string `json:"actions"`
}

// ErrBad reports a token that is not valid: not signed by a known key, of another type, expired, not yet valid, or for
// another audience.
var ErrBad = errors.New("token is not valid")

const (
	// leeway tolerates differences between the clocks of replicas, and of programs that issue logins with their own
	// keys.
	leeway = time.Minute
	// maxLength is far above the length of a valid token. Longer tokens are not even parsed.
	maxLength = 64 << 10
)

// Sign returns a token with the claims for the audience, valid from now on for life, in whole seconds.
func (r *Ring) Sign(ctx context.Context, typ Type, c Claims, service string, life time.Duration) (string, Claims, error) {
	k, err := r.signer(ctx)
	if err != nil {
		return "", c, err
	}
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: jose.EdDSA, Key: jose.JSONWebKey{Key: ed25519.NewKeyFromSeed(k.Seed), KeyID: k.ID}},
		(&jose.SignerOptions{}).WithType(jose.ContentType(typ)))
	if err != nil {
		return "", c, fmt.Errorf("sign token: %w", err)
	}
	now := time.Now().Truncate(time.Second)
	c.Issuer, c.Audience = service, jwt.Audience{service}
	c.IssuedAt, c.NotBefore, c.Expiry = jwt.NewNumericDate(now), jwt.NewNumericDate(now), jwt.NewNumericDate(now.Add(life))
	text, err := jwt.Signed(signer).Claims(c).Serialize()
	if err != nil {
		return "", c, fmt.Errorf("sign token: %w", err)
	}
	return text, c, nil
}

// An AccountKey is a function that returns the account's public key with the ID, or false. It fails if the key could
// not be read.
type AccountKey func(ctx context.Context, account, id string) (ed25519.PublicKey, bool, error)

// Parse returns the claims of the token if it is valid now, of the type, and for the service. Otherwise, it fails with
// an error that wraps [ErrBad]. If the issuer of the token is not the service itself, Parse verifies the token with a
// key of the issuing account, and the token is valid for that account only. If accountKey is nil, such tokens are
// rejected.
func (r *Ring) Parse(ctx context.Context, text string, typ Type, service string, accountKey AccountKey) (Claims, error) {
	var c Claims
	if len(text) > maxLength {
		return c, fmt.Errorf("%w: it is too long", ErrBad)
	}
	parsed, err := jwt.ParseSigned(text, []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil || len(parsed.Headers) != 1 {
		return c, fmt.Errorf("%w: it cannot be read, or is signed in another way", ErrBad)
	}
	header := parsed.Headers[0]
	if header.ExtraHeaders[jose.HeaderType] != string(typ) {
		return c, fmt.Errorf("%w: it is of another type", ErrBad)
	}
	var unsafe jwt.Claims
	if parsed.UnsafeClaimsWithoutVerification(&unsafe) != nil {
		return c, fmt.Errorf("%w: its claims cannot be read", ErrBad)
	}
	// The issuer selects the key. Whether the issuer may sign for the subject is checked below.
	public, known, err := ed25519.PublicKey(nil), false, error(nil)
	own := unsafe.Issuer == service
	switch {
	case own:
		public, known, err = r.public(ctx, header.KeyID)
	case accountKey != nil:
		public, known, err = accountKey(ctx, unsafe.Issuer, header.KeyID)
	}
	if err != nil {
		return c, err
	}
	if !known {
		return c, fmt.Errorf("%w: its key is not known", ErrBad)
	}
	if parsed.Claims(public, &c) != nil {
		return Claims{}, fmt.Errorf("%w: its signature is wrong", ErrBad)
	}
	if err := r.check(c, service, own); err != nil {
		return Claims{}, fmt.Errorf("%w: %w", ErrBad, err)
	}
	c.Key = header.KeyID
	return c, nil
}

func (r *Ring) check(c Claims, service string, own bool) error {
	now := time.Now()
	switch {
	case c.Expiry == nil || c.IssuedAt == nil:
		return errors.New("it has no expiry")
	case !now.Before(c.Expiry.Time()): // No leeway for the expiry.
		return errors.New("it is expired")
	case now.Add(leeway).Before(c.IssuedAt.Time()) || c.NotBefore != nil && now.Add(leeway).Before(c.NotBefore.Time()):
		return errors.New("it is not valid yet")
	case c.Expiry.Time().Sub(c.IssuedAt.Time()) > r.MaxLife:
		return errors.New("its lifetime is too long")
	case len(c.Audience) != 1 || c.Audience[0] != service:
		return errors.New("it is for another service")
	case !own && c.Issuer != c.Subject:
		return errors.New("its issuer cannot speak for its subject")
	case !own && c.TokenIssuer != "":
		return errors.New("its issuer cannot speak for another one")
	case own && c.Epoch == "" && c.Subject != "" && c.TokenIssuer == "":
		return errors.New("it names no epoch of its account")
	}
	return nil
}

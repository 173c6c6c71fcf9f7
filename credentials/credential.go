package credentials

import (
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// A Credential is what is sent to a registry: a user name and a password, and how long they are good.
//
// One value flows unchanged from its issuer, through the check, into the pull secret. It is plain data, may be copied
// and shared, and never prints its password.
type Credential struct {
	// Anonymous says that nothing is sent. It is never what is left over when something else is missing: see
	// [Credential.Validate].
	Anonymous bool

	// Username and Password are sent as they are. Clouds have fixed names for the holder of a token, such as "AWS" and
	// "oauth2accesstoken".
	Username string
	Password Secret

	// IssuedAt is when the issuer made the credential. Zero means not known.
	IssuedAt time.Time
	// ExpiresAt is when the registry ends to accept it: the issuer's own instant, never moved. Zero means never.
	ExpiresAt time.Time
}

// What [Credential.Validate] reports. Package registry gives each of them a code.
var (
	ErrEmpty             = errors.New("credential is empty")
	ErrCredentialExpired = errors.New("credential is expired")
	ErrImplausibleDates  = errors.New("credential has impossible dates")
)

// Validate reports whether the credential is one that may be handed out at the instant now: [ErrEmpty] if it has no
// user name or no password and does not say Anonymous, or has them and says Anonymous; [ErrImplausibleDates] if it expires before
// it was issued; [ErrCredentialExpired] if it is expired.
func (c Credential) Validate(now time.Time) error {
	if c.Anonymous {
		if c.Username != "" || !c.Password.IsZero() {
			return fmt.Errorf("%w: it says anonymous, and has a user name or password", ErrEmpty)
		}
	} else if c.Username == "" || c.Password.IsZero() {
		return fmt.Errorf("%w: no user name or no password, and it does not say anonymous", ErrEmpty)
	}
	if !c.ExpiresAt.IsZero() && !c.IssuedAt.IsZero() && !c.ExpiresAt.After(c.IssuedAt) {
		return fmt.Errorf("%w: it is issued at %s, and expires at %s", ErrImplausibleDates, stamp(c.IssuedAt), stamp(c.ExpiresAt))
	}
	if c.Expired(now) {
		return fmt.Errorf("%w since %s", ErrCredentialExpired, stamp(c.ExpiresAt))
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// Expired reports whether the credential is expired at the instant now. It compares wall clocks, so that a machine that
// was suspended does not believe an old token.
func (c Credential) Expired(now time.Time) bool {
	return !c.ExpiresAt.IsZero() && !now.Round(0).Before(c.ExpiresAt.Round(0))
}

// Equal reports whether both are the same credential: all fields are equal, instants whatever their location.
func (c Credential) Equal(other Credential) bool {
	return c.Anonymous == other.Anonymous && c.Username == other.Username && c.Password.Equal(other.Password) &&
		c.IssuedAt.Equal(other.IssuedAt) && c.ExpiresAt.Equal(other.ExpiresAt)
}

// LogValue logs all but the password.
func (c Credential) LogValue() slog.Value {
	if c.Anonymous {
		return slog.GroupValue(slog.Bool("anonymous", true))
	}
	attrs := []slog.Attr{slog.String("username", c.Username)}
	if !c.IssuedAt.IsZero() {
		attrs = append(attrs, slog.Time("issuedAt", c.IssuedAt))
	}
	if !c.ExpiresAt.IsZero() {
		attrs = append(attrs, slog.Time("expiresAt", c.ExpiresAt))
	}
	return slog.GroupValue(attrs...)
}

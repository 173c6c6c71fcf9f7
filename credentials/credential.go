package credentials

import (
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// A Credential is a user name and a password for a registry, with the time at which they expire.
//
// The same value flows unchanged from its issuer, through the check, into the pull secret. It is plain data, may be
// copied and shared, and never prints its password.
type Credential struct {
	// Anonymous means that requests are sent without authentication. It is always explicit: an empty Credential is
	// invalid, see [Credential.Validate].
	Anonymous bool

	// Username and Password are sent unchanged. Clouds use fixed names with a token, such as "AWS" and
	// "oauth2accesstoken".
	Username string
	Password Secret

	// IssuedAt is the time at which the issuer made the credential. The zero time means that it is unknown.
	IssuedAt time.Time
	// ExpiresAt is the time at which the credential expires, exactly as reported by the issuer. The zero time means never.
	ExpiresAt time.Time
}

// Errors of [Credential.Validate]. Package registry gives each of them a code.
var (
	ErrEmpty             = errors.New("credential is empty")
	ErrCredentialExpired = errors.New("credential is expired")
	ErrImplausibleDates  = errors.New("credential has impossible dates")
)

// Validate returns an error if the credential may not be used at the time now: [ErrEmpty] if it has no user name or no
// password and is not Anonymous, or is Anonymous and has one of them; [ErrImplausibleDates] if it expires before it was
// issued; [ErrCredentialExpired] if it is expired.
func (c Credential) Validate(now time.Time) error {
	if c.Anonymous {
		if c.Username != "" || !c.Password.IsZero() {
			return fmt.Errorf("%w: anonymous is set beside a user name or password", ErrEmpty)
		}
	} else if c.Username == "" || c.Password.IsZero() {
		return fmt.Errorf("%w: the user name or the password is missing, and anonymous is not set", ErrEmpty)
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

// Expired reports whether the credential is expired at the time now. It compares wall clocks, so that an old token is
// not taken for valid on a machine that was suspended.
func (c Credential) Expired(now time.Time) bool {
	return !c.ExpiresAt.IsZero() && !now.Round(0).Before(c.ExpiresAt.Round(0))
}

// Equal reports whether all fields are equal. Times are compared as instants, whatever their location.
func (c Credential) Equal(other Credential) bool {
	return c.Anonymous == other.Anonymous && c.Username == other.Username && c.Password.Equal(other.Password) &&
		c.IssuedAt.Equal(other.IssuedAt) && c.ExpiresAt.Equal(other.ExpiresAt)
}

// LogValue returns all fields but the password.
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

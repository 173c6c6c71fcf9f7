// Package login authenticates clients: it turns a name and a password into an [Identity].
//
// A password is the password of a person, the secret of a robot, a login token that represents either with fewer rights
// and a shorter lifetime, or the token of an OpenID Connect issuer. [Authenticator] checks all of them, and throttles
// guesses without locking out clients that know their password.
package login

import (
	"slices"
	"time"

	"github.com/regcred/regcred/systemregistry/accounts"
	"github.com/regcred/regcred/systemregistry/internal/token"
)

// An Identity is an authenticated identity and its rights. The zero Identity is anonymous: it has no name and no
// rights.
type Identity struct {
	Account accounts.Account
	// ExpiresAt is the time at which the proof of the identity expires. If zero, it does not expire.
	ExpiresAt time.Time
	// Session is the ID of the session that proves the identity. It is empty if a password or token was sent instead.
	Session string

	// limited means that a login token grants less than the account has: Actions on Repositories.
	limited      bool
	repositories []string
	actions      []accounts.Action

	// issuer and subject come from the token of an OpenID Connect issuer. Its account is in no store.
	issuer, subject string
}

// Claims returns the claims that identify this account in the registry's own tokens.
func (i Identity) Claims() token.Claims {
	c := token.Claims{Epoch: i.Account.Epoch, TokenIssuer: i.issuer, TokenSubject: i.subject}
	c.Subject = i.Account.Name
	return c
}

// Anonymous reports whether the client has not logged in.
func (i Identity) Anonymous() bool { return i.Account.Name == "" }

// Limited reports whether the identity has fewer rights than its account, or an account that is in no store. It may
// then change images only.
func (i Identity) Limited() bool { return i.limited || i.issuer != "" }

// Allows reports whether the identity may perform the action on the repository.
func (i Identity) Allows(action accounts.Action, repository string) bool {
	if !i.Account.Allows(action, repository) {
		return false
	}
	return !i.limited || slices.Contains(i.actions, action) && slices.ContainsFunc(i.repositories, func(pattern string) bool {
		return accounts.Match(pattern, repository)
	})
}

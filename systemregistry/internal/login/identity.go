// Package login finds out who is there: it turns a name and a password into an [Identity].
//
// A password is that of a person, the secret of a robot, a login token that stands for either with fewer rights and a
// shorter life, or the token of an OpenID Connect issuer. [Authenticator] checks all of them, and keeps those who guess from guessing fast, without keeping out
// those who know.
package login

import (
	"slices"
	"time"

	"github.com/regcred/regcred/systemregistry/accounts"
	"github.com/regcred/regcred/systemregistry/internal/token"
)

// An Identity is who somebody proved to be, and what they may do. The zero Identity is anybody: it has no name and no
// rights.
type Identity struct {
	Account accounts.Account
	// ExpiresAt is when the proof ends. Zero means never.
	ExpiresAt time.Time
	// Session is the ID of the session that proves it. Empty means that a password or token was sent along.
	Session string

	// limited says that a login token gives less than the account has: Actions on Repositories.
	limited      bool
	repositories []string
	actions      []accounts.Action

	// issuer and subject are those of the token of an OpenID Connect issuer; its account is in no store.
	issuer, subject string
}

// Claims returns what the registry's own tokens say of who it is.
func (i Identity) Claims() token.Claims {
	c := token.Claims{Epoch: i.Account.Epoch, TokenIssuer: i.issuer, TokenSubject: i.subject}
	c.Subject = i.Account.Name
	return c
}

// Anonymous reports whether nobody logged in.
func (i Identity) Anonymous() bool { return i.Account.Name == "" }

// Limited reports whether it stands for its account with fewer rights, or has an account that is in no store; it may
// then not change anything but images.
func (i Identity) Limited() bool { return i.limited || i.issuer != "" }

// Allows reports whether it may do action to the repository.
func (i Identity) Allows(action accounts.Action, repository string) bool {
	if !i.Account.Allows(action, repository) {
		return false
	}
	return !i.limited || slices.Contains(i.actions, action) && slices.ContainsFunc(i.repositories, func(pattern string) bool {
		return accounts.Match(pattern, repository)
	})
}

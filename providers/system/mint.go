package system

import (
	"crypto/rand"
	"time"

	"github.com/regcred/regcred/credentials"
)

const loginType = "regcred-login+jwt"

// claims are the claims of a minted login, under the names that the registry expects.
type claims struct {
	Issuer       string   `json:"iss"`
	Subject      string   `json:"sub"`
	Audience     string   `json:"aud"`
	IssuedAt     int64    `json:"iat"`
	ExpiresAt    int64    `json:"exp"`
	ID           string   `json:"jti"`
	Repositories []string `json:"repositories"`
	Actions      []string `json:"actions"`
}

// mint returns a pull-only login for the patterns of repositories.
func (k Key) mint(repositories []string, lifetime time.Duration) credentials.Credential {
	// Tokens have whole seconds. The credential has the same times as the token.
	now := time.Now().Truncate(time.Second)
	ends := now.Add(lifetime).Truncate(time.Second)
	return credentials.Credential{
		Username: k.Account,
		Password: k.sign(claims{
			Issuer: k.Account, Subject: k.Account, Audience: k.Service,
			IssuedAt: now.Unix(), ExpiresAt: ends.Unix(), ID: rand.Text(),
			Repositories: repositories, Actions: []string{"pull"},
		}),
		IssuedAt:  now,
		ExpiresAt: ends,
	}
}

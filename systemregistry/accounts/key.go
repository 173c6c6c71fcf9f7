package accounts

import (
	"crypto/ed25519"
	"fmt"
	"strings"
	"time"
)

// A Key is the public half of a key that mints logins for an account without asking the registry.
type Key struct {
	// ID tells the keys of an account apart.
	ID string `json:"id"`
	// Public is what signatures are checked with.
	Public ed25519.PublicKey `json:"public"`
	// CreatedAt is when it was added.
	CreatedAt time.Time `json:"createdAt,omitzero"`
}

func (k Key) validate() error {
	if k.ID == "" || len(k.ID) > maxName || strings.Trim(k.ID, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != "" {
		return fmt.Errorf("key ID %q is not letters and digits, at most %d", k.ID, maxName)
	}
	if len(k.Public) != ed25519.PublicKeySize {
		return fmt.Errorf("key %s is not an Ed25519 public key", k.ID)
	}
	return nil
}

package accounts

import (
	"crypto/ed25519"
	"fmt"
	"strings"
	"time"
)

// A Key is the public half of a key that issues logins for an account without a request to the registry.
type Key struct {
	// ID identifies the key among the keys of an account.
	ID string `json:"id"`
	// Public is the public key that verifies signatures.
	Public ed25519.PublicKey `json:"public"`
	// CreatedAt is the time at which the key was added.
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

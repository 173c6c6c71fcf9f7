package profilestore

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/regcred/regcred/credentials"
)

// A Keyring encrypts secrets with AES-256-GCM under data keys that the program holds, and that a key management service
// or a file of the deployment protects. Its methods Seal and Open are a [Sealer] and an [Opener].
//
// To rotate, add a key, make it the primary one, encode every stored profile again, and remove the old key. A Keyring
// must not be changed while it is in use. It is safe for concurrent use.
type Keyring struct {
	// Primary is the ID of the key that encrypts.
	Primary string
	// Keys are the keys by ID, each of 32 random bytes. An ID has no colon, and is never reused for another key.
	Keys map[string]credentials.Secret
}

// Seal encrypts a secret with the primary key and a random nonce. One key may encrypt at most 2^32 secrets (NIST SP
// 800-38D, 8.3).
func (k Keyring) Seal(_ context.Context, place Place, secret credentials.Secret) (string, error) {
	aead, err := k.aead(k.Primary)
	if err != nil {
		return "", err
	}
	sealed := aead.Seal(nil, nil, secret.AppendTo(nil), place.Bytes())
	return k.Primary + ":" + base64.RawStdEncoding.EncodeToString(sealed), nil
}

// Open decrypts a secret that was sealed at the same place with any of the keys.
func (k Keyring) Open(_ context.Context, place Place, sealed string) (credentials.Secret, error) {
	id, text, ok := strings.Cut(sealed, ":")
	data, err := base64.RawStdEncoding.DecodeString(text)
	if !ok || err != nil {
		return credentials.Secret{}, errors.New("is not sealed by a keyring")
	}
	aead, err := k.aead(id)
	if err != nil {
		return credentials.Secret{}, err
	}
	plain, err := aead.Open(nil, nil, data, place.Bytes())
	if err != nil {
		return credentials.Secret{}, fmt.Errorf("was changed, or sealed with another key or at another place than %v", place)
	}
	return credentials.NewSecret(string(plain)), nil
}

func (k Keyring) aead(id string) (cipher.AEAD, error) {
	key, ok := k.Keys[id]
	switch {
	case !ok:
		return nil, fmt.Errorf("no key %q in the keyring", id)
	case key.Len() != 32:
		return nil, fmt.Errorf("key %q has %d bytes: expected 32", id, key.Len())
	case id == "" || strings.Contains(id, ":"):
		return nil, fmt.Errorf("key %q: expected an ID that is not empty and has no colon", id)
	}
	block, err := aes.NewCipher(key.AppendTo(nil))
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

package system

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"

	"github.com/regcred/regcred/credentials"
)

// A Key mints logins for one account of a registry. The registry keeps the public half. The zero Key is not usable: see
// [NewKey] and [ParseKey]. It prints without its private half.
type Key struct {
	// Account is whom the logins are for, and Service the name of the registry that takes them.
	Account, Service string
	// ID tells the keys of an account apart.
	ID string

	seed credentials.Secret // Raw, of ed25519.SeedSize bytes.
}

// keyFile is the text of a key. Kind tells people and programs what they found.
type keyFile struct {
	Kind    string `json:"kind"`
	Account string `json:"account"`
	Service string `json:"service"`
	ID      string `json:"id"`
	Seed    []byte `json:"seed"`
}

const keyKind = "regcred-system-key"

// NewKey returns a new key. Only registries call it; they store what [Key.Public] returns, and hand out what
// [Key.Encode] does.
func NewKey(account, service string) Key {
	var id [8]byte
	seed := make([]byte, ed25519.SeedSize)
	_, _ = rand.Read(id[:]) // Never fails: crypto/rand ends the program instead.
	_, _ = rand.Read(seed)
	return Key{account, service, hex.EncodeToString(id[:]), credentials.NewSecret(string(seed))}
}

// ParseKey reads the text that [Key.Encode] made. Its error does not quote it.
func ParseKey(text credentials.Secret) (Key, error) {
	var f keyFile
	decoder := json.NewDecoder(strings.NewReader(text.Reveal()))
	if err := decoder.Decode(&f); err != nil {
		return Key{}, errors.New("is not the JSON of a key")
	}
	switch {
	case f.Kind != keyKind:
		return Key{}, errors.New("is not of kind " + keyKind)
	case f.Account == "" || f.Service == "" || f.ID == "":
		return Key{}, errors.New("names no account, no service or no ID")
	case len(f.Seed) != ed25519.SeedSize:
		return Key{}, errors.New("has a seed of a wrong length")
	}
	return Key{f.Account, f.Service, f.ID, credentials.NewSecret(string(f.Seed))}, nil
}

// Encode returns the text of the key: JSON, for the field "key" of a profile's login.
func (k Key) Encode() credentials.Secret {
	text, _ := json.Marshal(keyFile{keyKind, k.Account, k.Service, k.ID, k.seed.AppendTo(nil)}) // Texts and bytes always encode.
	return credentials.NewSecret(string(text))
}

// Public returns the public half.
func (k Key) Public() ed25519.PublicKey {
	return k.private().Public().(ed25519.PublicKey)
}

func (k Key) private() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(k.seed.AppendTo(nil)) }

// sign returns the JSON Web Signature of the claims in its compact form (RFC 7515, RFC 8037). The type in the header
// keeps a login from being taken for another token (RFC 8725, section 3.11).
func (k Key) sign(claims any) credentials.Secret {
	header, _ := json.Marshal(map[string]string{"alg": "EdDSA", "typ": loginType, "kid": k.ID})
	payload, _ := json.Marshal(claims)
	input := base64.RawURLEncoding.EncodeToString(header) + "." + base64.RawURLEncoding.EncodeToString(payload)
	signature := ed25519.Sign(k.private(), []byte(input))
	return credentials.NewSecret(input + "." + base64.RawURLEncoding.EncodeToString(signature))
}

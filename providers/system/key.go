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

// A Key is a private key that mints logins for one account of a registry. The registry keeps the public half. The zero
// Key is not usable; see [NewKey] and [ParseKey]. Its private half is never printed.
type Key struct {
	// Account is the account of the logins, and Service the name of the registry that accepts them.
	Account, Service string
	// ID distinguishes the keys of an account.
	ID string

	seed credentials.Secret // Raw, of ed25519.SeedSize bytes.
}

// keyFile is the text form of a key. Kind identifies the format to people and programs.
type keyFile struct {
	Kind    string `json:"kind"`
	Account string `json:"account"`
	Service string `json:"service"`
	ID      string `json:"id"`
	Seed    []byte `json:"seed"`
}

const keyKind = "regcred-system-key"

// NewKey returns a new key. Only registries call it; they store the result of [Key.Public], and give the result of
// [Key.Encode] to the user.
func NewKey(account, service string) Key {
	var id [8]byte
	seed := make([]byte, ed25519.SeedSize)
	_, _ = rand.Read(id[:]) // Never fails: crypto/rand crashes the program instead.
	_, _ = rand.Read(seed)
	return Key{account, service, hex.EncodeToString(id[:]), credentials.NewSecret(string(seed))}
}

// ParseKey parses the text from [Key.Encode]. Its error does not quote the text.
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
	text, _ := json.Marshal(keyFile{keyKind, k.Account, k.Service, k.ID, k.seed.AppendTo(nil)}) // Cannot fail.
	return credentials.NewSecret(string(text))
}

// Public returns the public half.
func (k Key) Public() ed25519.PublicKey {
	return k.private().Public().(ed25519.PublicKey)
}

func (k Key) private() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(k.seed.AppendTo(nil)) }

// sign returns the JSON Web Signature of the claims in its compact form (RFC 7515, RFC 8037). The type in the header
// prevents the use of a login as another kind of token (RFC 8725, section 3.11).
func (k Key) sign(claims any) credentials.Secret {
	header, _ := json.Marshal(map[string]string{"alg": "EdDSA", "typ": loginType, "kid": k.ID})
	payload, _ := json.Marshal(claims)
	input := base64.RawURLEncoding.EncodeToString(header) + "." + base64.RawURLEncoding.EncodeToString(payload)
	signature := ed25519.Sign(k.private(), []byte(input))
	return credentials.NewSecret(input + "." + base64.RawURLEncoding.EncodeToString(signature))
}

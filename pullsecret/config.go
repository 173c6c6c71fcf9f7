package pullsecret

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/regcred/regcred/credentials"
)

// A Config is the content of a pull secret: the value of the key .dockerconfigjson. [Build], [Split], [Parse] and
// [Merge] return one.
//
// It holds passwords. Like a [credentials.Secret] it prints and logs as [redacted], and encoders fail. Only
// [Config.Reveal] returns the text. The zero Config has no entry. A Config is immutable and may be copied and shared
// between goroutines.
type Config struct {
	_ [0]func() // Not comparable: see Equal.
	p *content
}

type content struct {
	members []member // In ascending order of their keys.
	// text is the parsed text. It is empty if the config was built; Reveal then writes it.
	text credentials.Secret
	// bare reports that the text is from a kubernetes.io/dockercfg secret, which has the object of entries only.
	bare bool

	indexed sync.Once
	ix      index
}

// A member is one entry of the object "auths".
type member struct {
	key        string // As written in the object.
	credential credentials.Credential
	entry      int // The position among the arguments of Build; -1 if it is not from there.
}

// noEntry is the [Match.Entry] of a member that is not from Build.
const noEntry = -1

func (c Config) members() []member {
	if c.p == nil {
		return nil
	}
	return c.p.members
}

// Reveal returns the JSON text, with the passwords in it. No other method does. The same entries always give the same
// bytes; a parsed text is returned unchanged. The caller owns the bytes.
func (c Config) Reveal() []byte {
	if c.p == nil {
		return render(nil)
	}
	if !c.p.text.IsZero() {
		return c.p.text.AppendTo(nil)
	}
	return render(c.p.members)
}

// Size returns the length of the text in bytes.
func (c Config) Size() int {
	if c.p != nil && !c.p.text.IsZero() {
		return c.p.text.Len()
	}
	size, _ := sizes(c.members())
	return size
}

// Keys returns the keys of all entries as written in the config, sorted.
func (c Config) Keys() []string {
	members := c.members()
	keys := make([]string, len(members))
	for i, m := range members {
		keys[i] = m.key
	}
	return keys
}

// Credential returns the user name and password of the entry with this key, and reports whether there is one. If
// several logins have the key, it returns the first.
func (c Config) Credential(key string) (credentials.Credential, bool) {
	for _, m := range c.members() {
		if m.key == key {
			return m.credential, true
		}
	}
	return credentials.Credential{}, false
}

// ExpiresAt returns the time when the first of the credentials expires. Zero means never, or not known: the text of a
// secret has no expiry, so only the expiry of entries from [Build] is known.
func (c Config) ExpiresAt() time.Time {
	var first time.Time
	for _, m := range c.members() {
		if at := m.credential.ExpiresAt; !at.IsZero() && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	return first
}

// Equal reports whether both configs reveal the same bytes.
func (c Config) Equal(other Config) bool {
	return c.p == other.p || hmac.Equal(c.Reveal(), other.Reveal())
}

// Hash returns 32 hexadecimal digits that identify the bytes, the same in every process. In a label or an annotation,
// it shows whether anything changed.
//
// The hash is keyed, because a weak password could be found by trying a list of passwords against the plain hash. Keep
// the key from readers who may see the hash and not the secret. With an empty key, a weak password can be found from the
// hash.
func (c Config) Hash(key []byte) string {
	h := hmac.New(sha256.New, key)
	h.Write(c.Reveal())
	return hex.EncodeToString(h.Sum(nil)[:16])
}

const redacted = "[redacted]"

// Format prints [redacted], whatever the verb.
func (c Config) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// String returns "[redacted]".
func (c Config) String() string { return redacted }

// LogValue logs [redacted].
func (c Config) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText fails with [credentials.ErrSecretEncoded], and so does every encoder of text: JSON, YAML, XML.
func (c Config) MarshalText() ([]byte, error) { return nil, credentials.ErrSecretEncoded }

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

// A Config is the content of a pull secret: what stands under .dockerconfigjson. It comes from [Build], [Split],
// [Parse] or [Merge].
//
// It holds passwords. Like a [credentials.Secret] it prints and logs as [redacted], and encoders fail; [Config.Reveal]
// is the only way to the text. The zero Config has no entry. A Config is immutable and may be copied and shared between
// goroutines.
type Config struct {
	_ [0]func() // Not comparable: see Equal.
	p *content
}

type content struct {
	members []member // In ascending order of their keys.
	// text is what was parsed. It is empty for what was built: that is written when it is asked for.
	text credentials.Secret
	// bare says that the text is that of a kubernetes.io/dockercfg, which is the object of entries itself.
	bare bool

	indexed sync.Once
	ix      index
}

// A member is one entry of the object "auths".
type member struct {
	key        string // As it stands in the object.
	credential credentials.Credential
	entry      int // The position among the arguments of Build; -1 if it is not from there.
}

// noEntry is the [Match.Entry] of what is not from Build.
const noEntry = -1

func (c Config) members() []member {
	if c.p == nil {
		return nil
	}
	return c.p.members
}

// Reveal returns the JSON text, with the passwords in it. It is the only method that does. The same entries always give
// the same bytes; what was parsed is returned as it was. The caller owns the bytes.
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

// Keys returns the keys of all entries as they stand in the config, sorted.
func (c Config) Keys() []string {
	members := c.members()
	keys := make([]string, len(members))
	for i, m := range members {
		keys[i] = m.key
	}
	return keys
}

// Credential returns the user name and password of the entry with this key, and whether there is one. If several logins
// have the key, it is the first.
func (c Config) Credential(key string) (credentials.Credential, bool) {
	for _, m := range c.members() {
		if m.key == key {
			return m.credential, true
		}
	}
	return credentials.Credential{}, false
}

// ExpiresAt returns when the first of the credentials expires. Zero means never, or not known: the text of a secret
// does not say it, so it is known only of entries from [Build].
func (c Config) ExpiresAt() time.Time {
	var first time.Time
	for _, m := range c.members() {
		if at := m.credential.ExpiresAt; !at.IsZero() && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	return first
}

// Equal reports whether both reveal the same bytes.
func (c Config) Equal(other Config) bool {
	return c.p == other.p || hmac.Equal(c.Reveal(), other.Reveal())
}

// Hash returns 32 hexadecimal digits that stand for the bytes, the same in every process: to see from a label or an
// annotation whether anything changed.
//
// It is keyed, because a weak password could be found by trying a list of passwords against the plain hash. Whoever may
// see the hash and not the secret must not know the key. A nil key gives the plain hash.
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

package credentials

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"time"
)

// A Fingerprint stands for a value that must not be shown, such as a login: equal values have equal fingerprints.
//
// It is a keyed hash whose key is drawn again by each process, so that a fingerprint in a log or on a status page cannot
// be tried against a list of likely passwords. It means nothing to another process; do not store it.
// The zero Fingerprint is that of no value.
type Fingerprint [16]byte

// String returns the fingerprint in hexadecimal digits.
func (f Fingerprint) String() string { return hex.EncodeToString(f[:]) }

var fingerprintKey = newFingerprintKey()

func newFingerprintKey() []byte {
	key := make([]byte, sha256.Size)
	_, _ = rand.Read(key) // Never fails: crypto/rand ends the program instead.
	return key
}

// A Hasher makes a [Fingerprint] from the values written to it, in their order. Each value is written with its length,
// so that ("a", "bc") and ("ab", "c") differ. Make one with [NewHasher]. It is not safe for concurrent use.
type Hasher struct {
	h hash.Hash
	b [128]byte // What a hash.Hash is given escapes, so it is copied here. No text stays in it: it may be a secret.
}

// NewHasher returns an empty Hasher. The purpose keeps fingerprints of different things apart.
func NewHasher(purpose string) *Hasher {
	d := &Hasher{h: hmac.New(sha256.New, fingerprintKey)}
	d.Text(purpose)
	return d
}

// NewKeyedHasher returns an empty Hasher whose fingerprints depend on the key and not on the process: whoever has the key
// gets the same ones. They may be stored where others can read them, because without the key a weak password cannot be
// found by trying a list. The key needs 16 random bytes at least, and is to be kept as the passwords are.
func NewKeyedHasher(key Secret, purpose string) *Hasher {
	d := &Hasher{h: hmac.New(sha256.New, key.AppendTo(nil))}
	d.Text(purpose)
	return d
}

// Text writes s.
func (d *Hasher) Text(s string) {
	d.int(len(s))
	for s != "" {
		n := copy(d.b[:], s)
		d.h.Write(d.b[:n])
		s = s[n:]
	}
	clear(d.b[:])
}

// Texts writes the number of texts and each of them.
func (d *Hasher) Texts(texts []string) {
	d.int(len(texts))
	for _, s := range texts {
		d.Text(s)
	}
}

// Secret writes the text of s.
func (d *Hasher) Secret(s Secret) {
	d.int(s.Len())
	d.h.Write(s.AppendTo(d.b[:0]))
	clear(d.b[:])
}

// int writes n.
func (d *Hasher) int(n int) {
	d.h.Write(binary.BigEndian.AppendUint64(d.b[:0], uint64(n)))
}

// Bool writes b.
func (d *Hasher) Bool(b bool) {
	if b {
		d.int(1)
	} else {
		d.int(0)
	}
}

// Time writes the instant t, whatever its location.
func (d *Hasher) Time(t time.Time) {
	d.Bool(t.IsZero())
	if !t.IsZero() {
		d.Text(t.UTC().Format(time.RFC3339Nano))
	}
}

// Sum returns the fingerprint of what was written so far.
func (d *Hasher) Sum() Fingerprint {
	return Fingerprint(d.h.Sum(d.b[:0])[:len(Fingerprint{})])
}

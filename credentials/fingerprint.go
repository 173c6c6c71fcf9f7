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
// It is a keyed hash whose key is drawn anew by each process, so that a fingerprint in a log or on a status page cannot
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

// A Digest makes a [Fingerprint] from the values written to it, in their order. Each value is written with its length,
// so that ("a", "bc") and ("ab", "c") differ. Make one with [NewDigest]. It is not safe for concurrent use.
type Digest struct {
	h hash.Hash
	b [128]byte // What a hash.Hash is given escapes, so it is copied here. No text stays in it: it may be a secret.
}

// NewDigest returns an empty Digest. The purpose keeps fingerprints of different things apart.
func NewDigest(purpose string) *Digest {
	d := &Digest{h: hmac.New(sha256.New, fingerprintKey)}
	d.String(purpose)
	return d
}

// String writes s.
func (d *Digest) String(s string) {
	d.Int(len(s))
	for s != "" {
		n := copy(d.b[:], s)
		d.h.Write(d.b[:n])
		s = s[n:]
	}
	clear(d.b[:])
}

// Strings writes the number of texts and each of them.
func (d *Digest) Strings(texts []string) {
	d.Int(len(texts))
	for _, s := range texts {
		d.String(s)
	}
}

// Secret writes the text of s.
func (d *Digest) Secret(s Secret) {
	d.Int(s.Len())
	d.h.Write(s.AppendTo(d.b[:0]))
	clear(d.b[:])
}

// Int writes n.
func (d *Digest) Int(n int) {
	d.h.Write(binary.BigEndian.AppendUint64(d.b[:0], uint64(n)))
}

// Bool writes b.
func (d *Digest) Bool(b bool) {
	if b {
		d.Int(1)
	} else {
		d.Int(0)
	}
}

// Time writes the instant t, whatever its location.
func (d *Digest) Time(t time.Time) {
	d.Bool(t.IsZero())
	if !t.IsZero() {
		d.String(t.UTC().Format(time.RFC3339Nano))
	}
}

// Sum returns the fingerprint of what was written so far.
func (d *Digest) Sum() Fingerprint {
	return Fingerprint(d.h.Sum(d.b[:0])[:len(Fingerprint{})])
}

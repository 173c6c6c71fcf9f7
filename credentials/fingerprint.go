package credentials

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"sync"
	"time"
)

// A Fingerprint is a keyed hash of a confidential value, such as a login. Equal values have equal fingerprints.
//
// Each process draws a new random key, so that a fingerprint from a log or a status page cannot be compared with a list
// of likely passwords. Fingerprints of different processes are not comparable; do not store one. The zero Fingerprint
// means no value.
type Fingerprint [16]byte

// String returns the fingerprint in hexadecimal digits.
func (f Fingerprint) String() string { return hex.EncodeToString(f[:]) }

var fingerprintKey = newFingerprintKey()

func newFingerprintKey() []byte {
	key := make([]byte, sha256.Size)
	_, _ = rand.Read(key) // Never fails: crypto/rand crashes the program instead.
	return key
}

// A Hasher makes a [Fingerprint] from the values written to it, in their order. Each value is written with its length,
// so that ("a", "bc") and ("ab", "c") differ. Make one with [NewHasher]. It is not safe for concurrent use.
type Hasher struct {
	h hash.Hash
	b [128]byte // A buffer, because arguments of a hash.Hash escape. It is cleared after use: the text may be a secret.
}

// NewHasher returns an empty Hasher. Hashers with different purposes give different fingerprints of the same values.
func NewHasher(purpose string) *Hasher {
	d := &Hasher{h: hmac.New(sha256.New, fingerprintKey)}
	d.Text(purpose)
	return d
}

// NewKeyedHasher returns an empty Hasher whose fingerprints depend on the key and not on the process: every process
// that has the key computes the same ones. They may be stored where others can read them, because without the key a
// weak password cannot be found by trying a list. The key needs at least 16 random bytes, and must be protected like
// the passwords.
func NewKeyedHasher(key Secret, purpose string) *Hasher {
	d := &Hasher{h: hmac.New(sha256.New, key.AppendTo(nil))}
	d.Text(purpose)
	return d
}

// hashers is a pool of Hashers for FingerprintOf, because making a Hasher costs more than hashing a short text.
var hashers = sync.Pool{New: func() any { return &Hasher{h: hmac.New(sha256.New, fingerprintKey)} }}

// FingerprintOf returns the fingerprint of data. It equals the Sum of NewHasher(purpose) after Text(string(data)), and
// costs no allocation.
func FingerprintOf(purpose string, data []byte) Fingerprint {
	d := hashers.Get().(*Hasher)
	defer hashers.Put(d)
	d.h.Reset()
	d.Text(purpose)
	d.int(len(data))
	d.h.Write(data)
	return d.Sum()
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

// Time writes the time t as an instant, whatever its location.
func (d *Hasher) Time(t time.Time) {
	d.Bool(t.IsZero())
	if !t.IsZero() {
		d.Text(t.UTC().Format(time.RFC3339Nano))
	}
}

// Sum returns the fingerprint of the values written so far.
func (d *Hasher) Sum() Fingerprint {
	return Fingerprint(d.h.Sum(d.b[:0])[:len(Fingerprint{})])
}

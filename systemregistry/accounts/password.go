package accounts

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"

	"golang.org/x/crypto/bcrypt"
	"golang.org/x/text/unicode/norm"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/internal/option"
)

// A person's password is hashed slowly, for people choose what can be guessed. The secret of a robot is 256 random
// bits, which nobody can guess however fast they try, so a fast hash is as safe, and a cluster that starts a thousand
// pods does not cost a minute of computing.
const (
	// defaultCost gives about 50 ms on today's machines; OWASP's Password Storage Cheat Sheet asks for 10 at least.
	defaultCost = 10
	// bcrypt looks at no more than 72 bytes.
	maxPassword = 72
	minPassword = 8

	robotSecretBytes = 32
	// robotPrefix makes a secret that was published by mistake easy to find.
	robotPrefix = "rcr_"
)

// typed returns the bytes of a password in Unicode's normal form C: keyboards and systems write the same letter in
// different ways. It returns false for what can be no password: bcrypt repeats a password with a zero byte at its end, so
// that "a" and "a", zero, "a" are the same to it.
func typed(p credentials.Secret) ([]byte, bool) {
	text := norm.NFC.Bytes(p.AppendTo(nil))
	return text, len(text) <= maxPassword && !bytes.Contains(text, []byte{0})
}

func (b *Book) cost() int { return option.OrDefault(b.PasswordCost, defaultCost) }

func (b *Book) hash(p credentials.Secret) ([]byte, error) {
	text, ok := typed(p)
	if len(text) < minPassword || len(text) > maxPassword {
		return nil, fmt.Errorf("password has %d bytes, expected %d to %d", len(text), minPassword, maxPassword)
	}
	if !ok {
		return nil, errors.New("password has a zero byte")
	}
	return bcrypt.GenerateFromPassword(text, b.cost())
}

func newRobotSecret() (credentials.Secret, []byte) {
	random := make([]byte, robotSecretBytes)
	_, _ = rand.Read(random) // Never fails: crypto/rand ends the program instead.
	text := robotPrefix + base64.RawURLEncoding.EncodeToString(random)
	sum := sha256.Sum256([]byte(text))
	return credentials.NewSecret(text), sum[:]
}

func robotMatches(hash []byte, p credentials.Secret) bool {
	sum := sha256.Sum256(p.AppendTo(nil))
	return subtle.ConstantTimeCompare(sum[:], hash) == 1
}

// personMatches takes the same time for each hash, and for none, where there is no account of the name: the time of the
// answer does not tell which names exist, also after PasswordCost was changed. Each step of the cost doubles the time,
// so what is missing to the highest cost is the sum of the steps between.
func (b *Book) personMatches(ctx context.Context, hash []byte, p credentials.Secret) bool {
	text, ok := typed(p)
	if !ok {
		return false
	}
	highest := b.highestCost(ctx)
	cost, err := bcrypt.Cost(hash)
	if err != nil {
		_ = bcrypt.CompareHashAndPassword(dummyHash(highest), text)
		return false
	}
	ok = bcrypt.CompareHashAndPassword(hash, text) == nil
	for ; cost < highest; cost++ {
		_ = bcrypt.CompareHashAndPassword(dummyHash(cost), text)
	}
	return ok
}

// highestCost returns the highest cost of any password: that of new ones, or of old ones from before it was lowered.
func (b *Book) highestCost(ctx context.Context) int {
	b.costs.mu.Lock()
	defer b.costs.mu.Unlock()
	if !b.costs.known {
		for e, err := range b.Store.List(ctx, prefix) {
			var r record
			if err == nil {
				r, err = decode(e)
			}
			if err != nil {
				return max(b.cost(), b.costs.highest) // It is looked at again next time.
			}
			if cost, err := bcrypt.Cost(r.Hash); err == nil {
				b.costs.highest = max(b.costs.highest, cost)
			}
		}
		b.costs.known = true
	}
	return max(b.cost(), b.costs.highest)
}

// dummyHash is compared with to take the time of a comparison. No password is known for it: its salt and its end are
// random.
func dummyHash(cost int) []byte {
	return fmt.Appendf(nil, "$2a$%02d$X/8z/dVjAVqxkzn69ZKhM.IxezixaY8H9xBXyPUHz61SqmLKdGPIq", cost)
}

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

// A person's password is hashed slowly, because people choose passwords that can be guessed. The secret of a robot is
// 256 random bits, which cannot be guessed at any speed. A fast hash is as safe for it, and a cluster that starts a
// thousand pods does not cost a minute of computing.
const (
	// defaultCost takes about 50 ms on today's machines. OWASP's Password Storage Cheat Sheet recommends at least 10.
	defaultCost = 10
	// bcrypt uses at most 72 bytes.
	maxPassword = 72
	minPassword = 8

	robotSecretBytes = 32
	// robotPrefix makes secrets that were published by mistake easy to find.
	robotPrefix = "rcr_"
)

// typed returns the bytes of a password in Unicode's normal form C, because keyboards and systems encode the same
// letter in different ways. It returns false for a text that cannot be a password: bcrypt repeats a password with a
// zero byte at its end, so that it cannot distinguish "a" from "a", zero, "a".
func typed(p credentials.Secret) ([]byte, bool) {
	text := norm.NFC.Bytes(p.AppendTo(nil))
	return text, len(text) <= maxPassword && !bytes.Contains(text, []byte{0})
}

func (m *Manager) cost() int { return option.OrDefault(m.PasswordCost, defaultCost) }

func (m *Manager) hash(p credentials.Secret) ([]byte, error) {
	text, ok := typed(p)
	if len(text) < minPassword || len(text) > maxPassword {
		return nil, fmt.Errorf("password has %d bytes, expected %d to %d", len(text), minPassword, maxPassword)
	}
	if !ok {
		return nil, errors.New("password has a zero byte")
	}
	return bcrypt.GenerateFromPassword(text, m.cost())
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

// personMatches reports whether the password matches the hash. It takes the same time for every hash, and for a nil
// hash, which means that the account does not exist. So the response time does not reveal which names exist, even after
// PasswordCost was changed. Each step of the cost doubles the time, so one extra comparison at each cost from the
// hash's own up to the highest makes up the difference.
func (m *Manager) personMatches(ctx context.Context, hash []byte, p credentials.Secret) bool {
	text, ok := typed(p)
	if !ok {
		return false
	}
	highest := m.highestCost(ctx)
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

// highestCost returns the highest cost of any password. Old passwords keep their cost after PasswordCost was lowered.
func (m *Manager) highestCost(ctx context.Context) int {
	m.costs.mu.Lock()
	defer m.costs.mu.Unlock()
	if !m.costs.known {
		for e, err := range m.Store.List(ctx, prefix) {
			var r record
			if err == nil {
				r, err = decode(e)
			}
			if err != nil {
				return max(m.cost(), m.costs.highest) // The next call reads the accounts again.
			}
			if cost, err := bcrypt.Cost(r.Hash); err == nil {
				m.costs.highest = max(m.costs.highest, cost)
			}
		}
		m.costs.known = true
	}
	return max(m.cost(), m.costs.highest)
}

// dummyHash returns a hash that is compared only to take the time of a comparison. Its password is unknown, because its
// salt and its end are random.
func dummyHash(cost int) []byte {
	return fmt.Appendf(nil, "$2a$%02d$X/8z/dVjAVqxkzn69ZKhM.IxezixaY8H9xBXyPUHz61SqmLKdGPIq", cost)
}

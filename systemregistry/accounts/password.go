package accounts

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"

	"golang.org/x/crypto/bcrypt"

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

func checkPassword(p credentials.Secret) error {
	if p.Len() < minPassword || p.Len() > maxPassword {
		return fmt.Errorf("password has %d bytes, expected %d to %d", p.Len(), minPassword, maxPassword)
	}
	return nil
}

func (b *Book) cost() int { return option.OrDefault(b.PasswordCost, defaultCost) }

func (b *Book) hash(p credentials.Secret) ([]byte, error) {
	if err := checkPassword(p); err != nil {
		return nil, err
	}
	return bcrypt.GenerateFromPassword(p.AppendTo(nil), b.cost())
}

func newRobotSecret() (credentials.Secret, []byte) {
	random := make([]byte, robotSecretBytes)
	_, _ = rand.Read(random) // Never fails: crypto/rand ends the program instead.
	text := robotPrefix + base64.RawURLEncoding.EncodeToString(random)
	sum := sha256.Sum256([]byte(text))
	return credentials.NewSecret(text), sum[:]
}

func matches(robot bool, hash []byte, p credentials.Secret) bool {
	if robot {
		sum := sha256.Sum256(p.AppendTo(nil))
		return subtle.ConstantTimeCompare(sum[:], hash) == 1
	}
	return p.Len() <= maxPassword && bcrypt.CompareHashAndPassword(hash, p.AppendTo(nil)) == nil
}

// dummyHash is compared with where there is no account of a name, so that the time of the answer does not tell which
// names exist. No password is known for it: its salt and its end are random.
func (b *Book) dummyHash() []byte {
	return fmt.Appendf(nil, "$2a$%02d$X/8z/dVjAVqxkzn69ZKhM.IxezixaY8H9xBXyPUHz61SqmLKdGPIq", b.cost())
}

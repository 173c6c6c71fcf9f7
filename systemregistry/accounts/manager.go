package accounts

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers/system"
	"github.com/regcred/regcred/systemregistry/store"
)

// The errors of a [Manager], beside the errors of its store.
var (
	// ErrAccountNotFound reports that the account does not exist.
	ErrAccountNotFound = errors.New("account not found")
	// ErrAccountExists reports that the account exists already.
	ErrAccountExists = errors.New("account exists")
	// ErrInvalidAccount reports an account or password that is not valid.
	ErrInvalidAccount = errors.New("account is not valid")
	// ErrWrongLogin reports that the name and password do not belong to an active account. It does not reveal which of
	// them is wrong.
	ErrWrongLogin = errors.New("wrong name or password")
)

// A Manager manages accounts in a store. It is safe for concurrent use, and must not be copied.
type Manager struct {
	// Store stores the accounts. It must be set.
	Store store.Store
	// PasswordCost is the bcrypt cost of new passwords, from 4 to 31; each step doubles the time of a login. If zero,
	// it is 10, about 50 ms.
	PasswordCost int

	decoded decoded
	costs   struct {
		mu      sync.Mutex
		known   bool
		highest int
	}
}

// Account returns the account, or fails with [ErrAccountNotFound].
func (m *Manager) Account(ctx context.Context, name string) (Account, error) {
	r, err := m.read(ctx, name)
	return r.Account, err
}

func (m *Manager) read(ctx context.Context, name string) (record, error) {
	e, err := m.Store.Get(ctx, prefix+name)
	if errors.Is(err, store.ErrNoKey) {
		return record{}, fmt.Errorf("%w: %s", ErrAccountNotFound, name)
	}
	if err != nil {
		return record{}, fmt.Errorf("read account %s: %w", name, err)
	}
	return m.decoded.decode(e)
}

func (m *Manager) write(ctx context.Context, r record) error {
	if err := r.Validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalidAccount, err)
	}
	value, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("write account %s: %w", r.Name, err)
	}
	_, err = m.Store.Put(ctx, prefix+r.Name, value, r.version)
	if errors.Is(err, store.ErrKeyChanged) && r.version == 0 {
		return fmt.Errorf("%w: %s", ErrAccountExists, r.Name)
	}
	if err != nil {
		return fmt.Errorf("write account %s: %w", r.Name, err)
	}
	return nil
}

// All yields the accounts in the order of their names. An error ends the iteration.
func (m *Manager) All(ctx context.Context) iter.Seq2[Account, error] {
	return func(yield func(Account, error) bool) {
		for e, err := range m.Store.List(ctx, prefix) {
			var r record
			if err == nil {
				r, err = decode(e)
			}
			if !yield(r.Account, err) || err != nil {
				return
			}
		}
	}
}

// Create creates a person's account with the password, of 8 to 72 bytes. It fails with [ErrAccountExists] or
// [ErrInvalidAccount].
func (m *Manager) Create(ctx context.Context, a Account, password credentials.Secret) error {
	if a.Robot() {
		return fmt.Errorf("%w: %s is the name of a robot", ErrInvalidAccount, a.Name)
	}
	if err := a.Validate(); err != nil { // Before hashing, which is slow.
		return fmt.Errorf("%w: %w", ErrInvalidAccount, err)
	}
	hash, err := m.hash(password)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalidAccount, err)
	}
	a.CreatedAt, a.Epoch, a.version = time.Now().UTC(), rand.Text(), 0
	return m.write(ctx, record{Account: a, Hash: hash})
}

// CreateRobot creates a robot's account and returns its secret. The Manager does not store the secret and cannot return
// it again. CreateRobot fails with [ErrAccountExists] or [ErrInvalidAccount].
func (m *Manager) CreateRobot(ctx context.Context, a Account) (credentials.Secret, error) {
	if !a.Robot() {
		return credentials.Secret{}, fmt.Errorf("%w: %s is not the name of a robot", ErrInvalidAccount, a.Name)
	}
	secret, hash := newRobotSecret()
	a.CreatedAt, a.Epoch, a.version = time.Now().UTC(), rand.Text(), 0
	if err := m.write(ctx, record{Account: a, Hash: hash}); err != nil {
		return credentials.Secret{}, err
	}
	return secret, nil
}

// A Check is called with an account just before the account is changed. If it returns an error, nothing is changed, and
// the change fails with that error. So a change can depend on the account's tenant: another caller may have deleted the
// account meanwhile, and created it again with the same name. It may be called several times, and must not change the
// account.
type Check func(Account) error

func all(checks []Check, a Account) error {
	for _, check := range checks {
		if err := check(a); err != nil {
			return err
		}
	}
	return nil
}

// Delete deletes the account, or fails with [ErrAccountNotFound] or the error of a check. The account's tokens are
// rejected from then on.
func (m *Manager) Delete(ctx context.Context, name string, checks ...Check) error {
	var err error
	for range updateTries {
		var r record
		if r, err = m.read(ctx, name); err != nil {
			return err
		}
		if err := all(checks, r.Account); err != nil {
			return err
		}
		if err = m.Store.Delete(ctx, prefix+name, r.version); !errors.Is(err, store.ErrKeyChanged) {
			break
		}
	}
	if errors.Is(err, store.ErrNoKey) {
		return fmt.Errorf("%w: %s", ErrAccountNotFound, name)
	}
	if err != nil {
		return fmt.Errorf("delete account %s: %w", name, err)
	}
	return nil
}

// Update changes the account, except for its name, time of creation and epoch. Two concurrent updates both take effect:
// Update calls change again on the result of the other update if necessary.
func (m *Manager) Update(ctx context.Context, name string, change func(*Account) error) error {
	return m.update(ctx, name, nil, func(r *record) error {
		kept := r.Account
		err := change(&r.Account)
		r.Name, r.CreatedAt, r.Epoch, r.version = kept.Name, kept.CreatedAt, kept.Epoch, kept.version
		r.OldSecretEndsAt, r.OldEpoch = kept.OldSecretEndsAt, kept.OldEpoch
		return err
	})
}

// updateTries is far above the number of concurrent updates of one account.
const updateTries = 20

func (m *Manager) update(ctx context.Context, name string, checks []Check, change func(*record) error) error {
	var err error
	for range updateTries {
		var r record
		if r, err = m.read(ctx, name); err != nil {
			return err
		}
		if err := all(checks, r.Account); err != nil {
			return err
		}
		if err := change(&r); err != nil {
			return err
		}
		if err = m.write(ctx, r); !errors.Is(err, store.ErrKeyChanged) {
			return err
		}
	}
	return err
}

// SetPassword sets the password of a person's account. It fails with [ErrAccountNotFound], [ErrInvalidAccount] or the
// error of a check.
func (m *Manager) SetPassword(ctx context.Context, name string, password credentials.Secret, checks ...Check) error {
	hash, err := m.hash(password)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalidAccount, err)
	}
	return m.update(ctx, name, checks, func(r *record) error {
		if r.Robot() {
			return fmt.Errorf("%w: %s is a robot", ErrInvalidAccount, name)
		}
		r.Hash, r.Epoch = hash, rand.Text()
		return nil
	})
}

// NewSecret gives a robot a new secret and returns it. All earlier secrets are rejected from then on.
func (m *Manager) NewSecret(ctx context.Context, name string) (credentials.Secret, error) {
	return m.RotateSecret(ctx, name, time.Time{})
}

// RotateSecret gives a robot a new secret and returns it. The current secret, and credentials that were issued for it,
// stay valid beside the new secret until oldEndsAt, so that a rotation has no gap. The secret before the current one is
// rejected from then on. If oldEndsAt is zero or in the past, the current secret expires at once. RotateSecret fails
// with [ErrAccountNotFound], [ErrInvalidAccount] or the error of a check.
func (m *Manager) RotateSecret(ctx context.Context, name string, oldEndsAt time.Time, checks ...Check) (credentials.Secret, error) {
	secret, hash := newRobotSecret()
	err := m.update(ctx, name, checks, func(r *record) error {
		if !r.Robot() {
			return fmt.Errorf("%w: %s is not a robot", ErrInvalidAccount, name)
		}
		r.OldHash, r.OldEpoch, r.OldSecretEndsAt = nil, "", time.Time{}
		if time.Now().Before(oldEndsAt) {
			r.OldHash, r.OldEpoch, r.OldSecretEndsAt = r.Hash, r.Epoch, oldEndsAt.UTC()
		}
		r.Hash, r.Epoch = hash, rand.Text()
		return nil
	})
	if err != nil {
		return credentials.Secret{}, err
	}
	return secret, nil
}

// AddKey creates a key that can issue logins for the account, as [system.Provider] does, and returns its text for the
// login of a profile. The Manager does not store the text. Service is the name of the registry that accepts the tokens.
// The key is valid until it is removed from the account's Keys. AddKey fails with [ErrAccountNotFound],
// [ErrInvalidAccount] or the error of a check.
func (m *Manager) AddKey(ctx context.Context, name, service string, checks ...Check) (credentials.Secret, error) {
	if name == service { // A token names its issuer, the registry or an account.
		return credentials.Secret{}, fmt.Errorf("%w: %s is the name of the registry itself, so it can have no keys", ErrInvalidAccount, name)
	}
	key := system.NewKey(name, service)
	err := m.update(ctx, name, checks, func(r *record) error {
		r.Keys = append(slices.Clone(r.Keys), Key{ID: key.ID, Public: key.Public(), CreatedAt: time.Now().UTC()})
		return nil
	})
	if err != nil {
		return credentials.Secret{}, err
	}
	return key.Encode(), nil
}

// Verify returns the account if it is active and the password is correct, and fails with [ErrWrongLogin] if not. Other
// errors mean that the check failed. If the password is a robot's previous secret, the account has the Epoch and the
// expiry of that secret. For persons, the check takes the time of a bcrypt hash (see PasswordCost), even if the account
// does not exist.
func (m *Manager) Verify(ctx context.Context, name string, password credentials.Secret) (Account, error) {
	r, err := m.read(ctx, name)
	if err != nil && !errors.Is(err, ErrAccountNotFound) {
		return Account{}, err
	}
	now := time.Now()
	robot := strings.Contains(name, "+")
	if robot && err == nil && now.Before(r.OldSecretEndsAt) && robotMatches(r.OldHash, password) && r.Active(now) {
		// Tokens that are issued for the old secret expire with it.
		r.Epoch = r.OldEpoch
		if r.ExpiresAt.IsZero() || r.OldSecretEndsAt.Before(r.ExpiresAt) {
			r.ExpiresAt = r.OldSecretEndsAt
		}
		return r.Account, nil
	}
	ok := false
	if robot {
		ok = robotMatches(r.Hash, password)
	} else {
		ok = m.personMatches(ctx, r.Hash, password)
	}
	if !ok || err != nil || !r.Active(now) {
		return Account{}, ErrWrongLogin
	}
	return r.Account, nil
}

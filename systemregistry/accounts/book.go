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

// What the methods of a [Book] report, beside errors of its store.
var (
	// ErrAccountNotFound is an account that does not exist.
	ErrAccountNotFound = errors.New("account not found")
	// ErrAccountExists is an account that exists already.
	ErrAccountExists = errors.New("account exists")
	// ErrInvalidAccount is an account or password that cannot be.
	ErrInvalidAccount = errors.New("account is not valid")
	// ErrWrongLogin is a name and password that are not those of an active account. It does not say which of it is wrong.
	ErrWrongLogin = errors.New("wrong name or password")
)

// A Book keeps accounts. It is safe for concurrent use, and must not be copied.
type Book struct {
	// Store is where they are kept. It must be set.
	Store store.Store
	// PasswordCost is bcrypt's cost of the passwords that are set, from 4 to 31; each step doubles the time of a login.
	// Zero means 10, about 50 ms.
	PasswordCost int

	decoded decoded
	costs   struct {
		mu      sync.Mutex
		known   bool
		highest int
	}
}

// Account returns the account, or [ErrAccountNotFound].
func (b *Book) Account(ctx context.Context, name string) (Account, error) {
	r, err := b.read(ctx, name)
	return r.Account, err
}

func (b *Book) read(ctx context.Context, name string) (record, error) {
	e, err := b.Store.Get(ctx, prefix+name)
	if errors.Is(err, store.ErrNoKey) {
		return record{}, fmt.Errorf("%w: %s", ErrAccountNotFound, name)
	}
	if err != nil {
		return record{}, fmt.Errorf("read account %s: %w", name, err)
	}
	return b.decoded.decode(e)
}

func (b *Book) write(ctx context.Context, r record) error {
	if err := r.Validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalidAccount, err)
	}
	value, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("write account %s: %w", r.Name, err)
	}
	_, err = b.Store.Put(ctx, prefix+r.Name, value, r.version)
	if errors.Is(err, store.ErrKeyChanged) && r.version == 0 {
		return fmt.Errorf("%w: %s", ErrAccountExists, r.Name)
	}
	if err != nil {
		return fmt.Errorf("write account %s: %w", r.Name, err)
	}
	return nil
}

// All yields the accounts by name; an error is the last thing that it yields.
func (b *Book) All(ctx context.Context) iter.Seq2[Account, error] {
	return func(yield func(Account, error) bool) {
		for e, err := range b.Store.List(ctx, prefix) {
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

// Create makes a person's account with the password, of 8 to 72 bytes. It fails with [ErrAccountExists] or [ErrInvalidAccount].
func (b *Book) Create(ctx context.Context, a Account, password credentials.Secret) error {
	if a.Robot() {
		return fmt.Errorf("%w: %s is the name of a robot", ErrInvalidAccount, a.Name)
	}
	if err := a.Validate(); err != nil { // Before the hash, which takes its time.
		return fmt.Errorf("%w: %w", ErrInvalidAccount, err)
	}
	hash, err := b.hash(password)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalidAccount, err)
	}
	a.CreatedAt, a.Epoch, a.version = time.Now().UTC(), rand.Text(), 0
	return b.write(ctx, record{Account: a, Hash: hash})
}

// CreateRobot makes a robot's account and returns its secret, which is not kept and cannot be asked for again. It fails
// with [ErrAccountExists] or [ErrInvalidAccount].
func (b *Book) CreateRobot(ctx context.Context, a Account) (credentials.Secret, error) {
	if !a.Robot() {
		return credentials.Secret{}, fmt.Errorf("%w: %s is not the name of a robot", ErrInvalidAccount, a.Name)
	}
	secret, hash := newRobotSecret()
	a.CreatedAt, a.Epoch, a.version = time.Now().UTC(), rand.Text(), 0
	if err := b.write(ctx, record{Account: a, Hash: hash}); err != nil {
		return credentials.Secret{}, err
	}
	return secret, nil
}

// Delete removes the account, or fails with [ErrAccountNotFound]. Tokens that it has are worth nothing from then on.
func (b *Book) Delete(ctx context.Context, name string) error {
	err := b.Store.Delete(ctx, prefix+name, 0)
	if errors.Is(err, store.ErrNoKey) {
		return fmt.Errorf("%w: %s", ErrAccountNotFound, name)
	}
	if err != nil {
		return fmt.Errorf("delete account %s: %w", name, err)
	}
	return nil
}

// Update changes the account, but for its name, its time of creation and its epoch. Two updates at once both take
// effect: change may be called again, on what the other one left.
func (b *Book) Update(ctx context.Context, name string, change func(*Account) error) error {
	return b.update(ctx, name, func(r *record) error {
		kept := r.Account
		err := change(&r.Account)
		r.Name, r.CreatedAt, r.Epoch, r.version = kept.Name, kept.CreatedAt, kept.Epoch, kept.version
		r.OldSecretEndsAt, r.OldEpoch = kept.OldSecretEndsAt, kept.OldEpoch
		return err
	})
}

// updateTries is far above the number of updates of one account that are ever under way at once.
const updateTries = 20

func (b *Book) update(ctx context.Context, name string, change func(*record) error) error {
	var err error
	for range updateTries {
		var r record
		if r, err = b.read(ctx, name); err != nil {
			return err
		}
		if err := change(&r); err != nil {
			return err
		}
		if err = b.write(ctx, r); !errors.Is(err, store.ErrKeyChanged) {
			return err
		}
	}
	return err
}

// SetPassword gives a person's account a new password.
func (b *Book) SetPassword(ctx context.Context, name string, password credentials.Secret) error {
	hash, err := b.hash(password)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalidAccount, err)
	}
	return b.update(ctx, name, func(r *record) error {
		if r.Robot() {
			return fmt.Errorf("%w: %s is a robot", ErrInvalidAccount, name)
		}
		r.Hash, r.Epoch = hash, rand.Text()
		return nil
	})
}

// NewSecret gives a robot a new secret and returns it. All secrets before are worth nothing from then on.
func (b *Book) NewSecret(ctx context.Context, name string) (credentials.Secret, error) {
	return b.RotateSecret(ctx, name, time.Time{})
}

// RotateSecret gives a robot a new secret and returns it. The current secret, and what was issued for it, stays valid
// beside the new one until oldEndsAt, so that a rotation has no gap; a secret from before that is worth nothing from then
// on. A zero time, or one that has passed, ends the current secret at once.
func (b *Book) RotateSecret(ctx context.Context, name string, oldEndsAt time.Time) (credentials.Secret, error) {
	secret, hash := newRobotSecret()
	err := b.update(ctx, name, func(r *record) error {
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

// AddKey makes a key that mints logins for the account, as [system.Provider] does, and returns its text, which is not
// kept: it goes into a profile's login. Service is the name of the registry that tokens are meant for. The key stays
// good until it is removed from the account's Keys.
func (b *Book) AddKey(ctx context.Context, name, service string) (credentials.Secret, error) {
	if name == service { // Tokens say who signed them, the registry or an account, by the name.
		return credentials.Secret{}, fmt.Errorf("%w: %s is the name of the registry itself, so it can have no keys", ErrInvalidAccount, name)
	}
	key := system.NewKey(name, service)
	err := b.update(ctx, name, func(r *record) error {
		r.Keys = append(slices.Clone(r.Keys), Key{ID: key.ID, Public: key.Public(), CreatedAt: time.Now().UTC()})
		return nil
	})
	if err != nil {
		return credentials.Secret{}, err
	}
	return key.Encode(), nil
}

// Verify returns the account if the password is its password and it is active, or [ErrWrongLogin]; other errors mean that
// it could not find out. For a robot's previous secret, the account's Epoch is that of this secret, and it expires when
// the secret does. For a person it takes some computing, see PasswordCost, also where there is no such account.
func (b *Book) Verify(ctx context.Context, name string, password credentials.Secret) (Account, error) {
	r, err := b.read(ctx, name)
	if err != nil && !errors.Is(err, ErrAccountNotFound) {
		return Account{}, err
	}
	now := time.Now()
	robot := strings.Contains(name, "+")
	if robot && err == nil && now.Before(r.OldSecretEndsAt) && robotMatches(r.OldHash, password) && r.Active(now) {
		// What is issued for the old secret ends with it.
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
		ok = b.personMatches(ctx, r.Hash, password)
	}
	if !ok || err != nil || !r.Active(now) {
		return Account{}, ErrWrongLogin
	}
	return r.Account, nil
}

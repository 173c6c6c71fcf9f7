package login

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/systemregistry/accounts"
	"github.com/regcred/regcred/systemregistry/internal/token"
)

// An Authenticator checks logins. Set its fields before first use; it is then safe for concurrent use. It must not be
// copied.
type Authenticator struct {
	Accounts *accounts.Manager
	Ring     *token.Ring
	Service  string
	// Issuers are OpenID Connect issuers whose tokens are accepted as passwords. If nil, there are none.
	Issuers *Issuers

	throttle throttle
	proofs   proofs
	turns    turns
	later    later

	slotsOnce sync.Once
	slots     chan struct{} // One slot for each concurrent slow hash.
	queue     chan struct{} // One slot for each login that waits or computes.
}

// A Throttled is an error for a login that was not checked, because too many logins before it were wrong, or too many
// others are being checked.
type Throttled struct{ Wait time.Duration }

// Error returns a text with the time to wait.
func (t *Throttled) Error() string {
	return fmt.Sprintf("too many logins: try again in %s", t.Wait.Round(time.Second))
}

// queueLength limits the slow hashes that wait. At 50 ms each, the last of them waits three seconds on one core.
const queueLength = 64

// Login returns the identity with the name and password. If the name is empty, the password is a login token, which
// names its account. Address is the client's address, with or without a port. Login fails with [accounts.ErrWrongLogin]
// if the login is wrong, and with a [Throttled] if it was not checked. Other errors mean that the check failed.
func (a *Authenticator) Login(ctx context.Context, address, name string, password credentials.Secret) (Identity, error) {
	text := password.Reveal()
	if strings.Count(text, ".") == 2 && strings.HasPrefix(text, "eyJ") {
		if issuer, ok := a.Issuers.of(text); ok { // For any user name: Docker requires one, and the token names its subject.
			return issuer.identity(ctx, text)
		}
		return a.byToken(ctx, name, text)
	}
	if !accounts.ValidName(name) { // Nothing is recorded or looked up under such a name.
		return Identity{}, accounts.ErrWrongLogin
	}
	if strings.Contains(name, "+") { // A robot, whose secret cannot be guessed and is cheap to check.
		account, err := a.Accounts.Verify(ctx, name, password)
		return Identity{Account: account, ExpiresAt: account.ExpiresAt}, err
	}
	account, err := a.person(ctx, ClientKey(address), name, password)
	return Identity{Account: account, ExpiresAt: account.ExpiresAt}, err
}

// Password checks the stored password of a person, and accepts no token in its place. It proves that the person is
// present now, which an open session and a login created in it do not. It fails with the same errors as Login.
func (a *Authenticator) Password(ctx context.Context, address, name string, password credentials.Secret) error {
	_, err := a.person(ctx, ClientKey(address), name, password)
	return err
}

func (a *Authenticator) person(ctx context.Context, client, name string, password credentials.Secret) (accounts.Account, error) {
	if account, _, ok := a.find(ctx, name, password); ok {
		return account, nil
	}
	done, err := a.turns.take(ctx, a.proofs.mac(name, password))
	if err != nil {
		return accounts.Account{}, err
	}
	defer done()
	account, exists, proved := a.find(ctx, name, password)
	if proved { // Another login may have proved it meanwhile.
		return account, nil
	}
	if wait, others := a.throttle.take(client, name, time.Now()); wait > 0 {
		if others && exists {
			a.postpone(client, name, password)
		}
		if others {
			wait = max(wait, 2*laterEvery)
		}
		return accounts.Account{}, &Throttled{wait}
	}
	release, err := a.slot(ctx)
	if err != nil {
		a.throttle.giveBack(client, name)
		return accounts.Account{}, err
	}
	defer release()
	account, err = a.Accounts.Verify(ctx, name, password)
	if err == nil {
		a.proofs.remember(name, account.Epoch, password)
	}
	if !errors.Is(err, accounts.ErrWrongLogin) {
		a.throttle.giveBack(client, name)
	}
	return account, err
}

// find returns the account, whether it exists and is active, and whether the password was correct for it a while ago.
func (a *Authenticator) find(ctx context.Context, name string, password credentials.Secret) (account accounts.Account, exists, proved bool) {
	account, err := a.Accounts.Account(ctx, name)
	exists = err == nil && account.Active(time.Now())
	return account, exists, exists && a.proofs.knows(name, account.Epoch, password)
}

// slot waits for permission to compute a slow hash.
func (a *Authenticator) slot(ctx context.Context) (release func(), err error) {
	a.slotsOnce.Do(func() {
		a.slots = make(chan struct{}, runtime.GOMAXPROCS(0))
		a.queue = make(chan struct{}, runtime.GOMAXPROCS(0)*queueLength)
	})
	select {
	case a.queue <- struct{}{}:
	default:
		return nil, &Throttled{time.Second}
	}
	select {
	case a.slots <- struct{}{}:
		return func() { <-a.slots; <-a.queue }, nil
	case <-ctx.Done():
		<-a.queue
		return nil, context.Cause(ctx)
	}
}

// byToken checks a login token.
func (a *Authenticator) byToken(ctx context.Context, name, text string) (Identity, error) {
	c, err := a.Ring.Parse(ctx, text, token.Login, a.Service, a.accountKey)
	if errors.Is(err, token.ErrBad) || err == nil && name != "" && name != c.Subject {
		return Identity{}, accounts.ErrWrongLogin
	}
	if err != nil {
		return Identity{}, err
	}
	account, err := a.Current(ctx, c)
	if err != nil {
		return Identity{}, err
	}
	i := Identity{Account: account, ExpiresAt: c.Expiry.Time(), limited: true, repositories: c.Repositories}
	for _, action := range c.Actions {
		i.actions = append(i.actions, accounts.Action(action))
	}
	if !account.ExpiresAt.IsZero() && account.ExpiresAt.Before(i.ExpiresAt) {
		i.ExpiresAt = account.ExpiresAt
	}
	return i, nil
}

// Current returns the current account of a valid token. It fails with [accounts.ErrWrongLogin] if the account is
// deleted, not active, or has another password since.
func (a *Authenticator) Current(ctx context.Context, c token.Claims) (accounts.Account, error) {
	if c.TokenIssuer != "" {
		account, ok := a.Issuers.current(c.TokenIssuer, c.TokenSubject)
		if !ok {
			return accounts.Account{}, accounts.ErrWrongLogin
		}
		return account, nil
	}
	account, err := a.Accounts.Account(ctx, c.Subject)
	if errors.Is(err, accounts.ErrAccountNotFound) {
		return accounts.Account{}, accounts.ErrWrongLogin
	}
	if err != nil {
		return accounts.Account{}, err
	}
	// A token that an account's own key signed has no epoch: such a key is valid until it is removed.
	if !account.Active(time.Now()) || c.Issuer == a.Service && !account.Valid(c.Epoch, time.Now()) {
		return accounts.Account{}, accounts.ErrWrongLogin
	}
	return account, nil
}

func (a *Authenticator) accountKey(ctx context.Context, name, id string) (ed25519.PublicKey, bool, error) {
	account, err := a.Accounts.Account(ctx, name)
	if errors.Is(err, accounts.ErrAccountNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	for _, k := range account.Keys {
		if k.ID == id {
			return k.Public, true, nil
		}
	}
	return nil, false, nil
}

package login

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/systemregistry/accounts"
)

const (
	// laterEvery is the interval between two late checks, so that they use at most a tenth of one core at 50 ms each.
	laterEvery = 500 * time.Millisecond
	// maxLater limits the clients whose logins wait for a late check.
	maxLater = 256
	// laterAgain is the shortest time between two late checks of a name for a client.
	laterAgain = time.Hour
)

// later holds logins that were rejected without a check, because too many logins under other names from the same
// address were wrong. Another client behind that address may be guessing passwords. The logins are checked afterwards,
// one at a time, so that the next attempt with the same password succeeds. A client learns nothing from a late check of
// a wrong password: the response was sent before the check, and the check takes none of the client's attempts.
//
// The zero later is ready to use.
type later struct {
	mu      sync.Mutex
	waiting map[string]attempt // One for each client.
	wake    chan struct{}
}

type attempt struct {
	client, name string
	password     credentials.Secret
}

func (l *later) signal() chan struct{} {
	if l.wake == nil {
		l.wake = make(chan struct{}, 1)
	}
	return l.wake
}

// add adds the attempt, and reports whether there was room.
func (l *later) add(a attempt) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.waiting[a.client]; ok || len(l.waiting) >= maxLater {
		return false
	}
	if l.waiting == nil {
		l.waiting = make(map[string]attempt)
	}
	l.waiting[a.client] = a
	select {
	case l.signal() <- struct{}{}:
	default:
	}
	return true
}

// take returns the attempt of some client, or blocks until there is one. It returns false if ctx ends.
func (l *later) take(ctx context.Context) (attempt, bool) {
	for {
		l.mu.Lock()
		wake := l.signal()
		for client, a := range l.waiting {
			delete(l.waiting, client)
			l.mu.Unlock()
			return a, true
		}
		l.mu.Unlock()
		select {
		case <-wake:
		case <-ctx.Done():
			return attempt{}, false
		}
	}
}

// postpone remembers a login for a late check, if the account exists and the client has caused no late check of it
// lately. So a client can cause one late check for each existing name an hour.
func (a *Authenticator) postpone(client, name string, password credentials.Secret) {
	if a.throttle.first(client, name, time.Now()) && !a.later.add(attempt{client, name, password}) {
		a.throttle.forget(client, name)
	}
}

// CheckLater checks logins that were rejected because of other logins of the same client, until ctx ends.
func (a *Authenticator) CheckLater(ctx context.Context) {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-pause.C:
		case <-ctx.Done():
			return
		}
		next, ok := a.later.take(ctx)
		if !ok {
			return
		}
		a.check(ctx, next)
		pause.Reset(laterEvery)
	}
}

func (a *Authenticator) check(ctx context.Context, next attempt) {
	release, err := a.slot(ctx)
	if err != nil {
		a.throttle.forget(next.client, next.name) // It was not checked.
		return
	}
	defer release()
	account, err := a.Accounts.Verify(ctx, next.name, next.password)
	if err == nil {
		a.proofs.remember(next.name, account.Epoch, next.password)
	}
	if !errors.Is(err, accounts.ErrWrongLogin) {
		a.throttle.forget(next.client, next.name)
	}
}

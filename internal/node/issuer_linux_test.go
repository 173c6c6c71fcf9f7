package node

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
)

// An issuer makes a new token whenever it is asked for one. The registry asks it which are good.
type issuer struct {
	life time.Duration // Of a token.

	mu    sync.Mutex
	count int
	good  []credentials.Credential // Those that were not revoked.
}

func (i *issuer) Credential(context.Context, registry.Profile) (credentials.Credential, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.count++
	now := time.Now()
	c := credentials.Credential{
		// The registry writes down who came, and by this, with which token.
		Username: fmt.Sprint("robot-", i.count), Password: credentials.NewSecret(fmt.Sprint("token-", i.count)),
		IssuedAt: now, ExpiresAt: now.Add(i.life),
	}
	i.good = append(i.good, c)
	return c, nil
}

func (i *issuer) account(username string, password credentials.Secret) (registrytest.Account, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	n := slices.IndexFunc(i.good, func(c credentials.Credential) bool { return c.Username == username && c.Password.Equal(password) })
	if n < 0 {
		return registrytest.Account{}, false
	}
	return registrytest.Account{Username: username, Password: password, ExpiresAt: i.good[n].ExpiresAt, Pull: []string{"acme/*"}}, true
}

// revoke ends all tokens, and what the registry gave for them.
func (w *world) revoke() {
	w.issuer.mu.Lock()
	w.issuer.good = nil
	w.issuer.mu.Unlock()
	w.images.ExpireTokens()
}

package e2e

import (
	"context"
	"net/url"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/systemregistry"
	"github.com/regcred/regcred/systemregistry/accounts"
)

const systemPassword = "right as long as that"

// startSystem starts a System registry with the images of every comparison. The password of ann and bob is
// systemPassword.
func startSystem(t *testing.T, image v1.Image) (host string) {
	t.Helper()
	logrus.SetLevel(logrus.PanicLevel) // Distribution logs each request there.
	ready := make(chan systemregistry.Ready, 1)
	s := systemregistry.Server{
		Addr: "127.0.0.1:0", PlainHTTP: true, Public: []string{"public/**"}, PasswordCost: 4,
		OnReady: func(at systemregistry.Ready) { ready <- at },
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-ended)
	}))
	select {
	case at := <-ready:
		u, err := url.Parse(at.URL)
		require.NoError(t, err)
		for name, patterns := range map[string][]string{"ann": {"team/**", "public/**"}, "bob": {"other/**"}} {
			account := accounts.Account{Name: name}
			for _, pattern := range patterns {
				account.Rules = append(account.Rules, accounts.Rule{Repositories: pattern, Actions: []accounts.Action{accounts.Pull, accounts.Push}})
			}
			require.NoError(t, at.Registry.Accounts().Create(t.Context(), account, credentials.NewSecret(systemPassword)))
		}
		for to, name := range comparedImages {
			pushWith(t, u.Host, to, authn.Basic{Username: name, Password: systemPassword}, image)
		}
		return u.Host
	case err := <-ended:
		ended <- err
		require.FailNow(t, "the registry does not start", "%v", err)
		return ""
	}
}

package gate

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/distribution/distribution/v3/registry/auth"
	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/systemregistry/accounts"
	"github.com/regcred/regcred/systemregistry/internal/login"
	"github.com/regcred/regcred/systemregistry/internal/token"
	"github.com/regcred/regcred/systemregistry/store"
)

const robot = "team+ci"

// opened returns a gate with one robot that may pull team/app, and a token of the robot for five minutes that the gate
// has cached.
func opened(t *testing.T) (*Gate, string) {
	t.Helper()
	s := new(store.Memory)
	book := &accounts.Manager{Store: s}
	_, err := book.CreateRobot(t.Context(), accounts.Account{
		Name: robot, Tenant: "team", Rules: []accounts.Rule{{Repositories: "team/**", Actions: []accounts.Action{accounts.Pull}}},
	})
	require.NoError(t, err)
	ring := &token.Ring{Store: s, MaxLife: time.Hour}
	require.NoError(t, ring.Rotate(t.Context()))
	g := &Gate{
		Authenticator: &login.Authenticator{Accounts: book, Ring: ring, Service: "regcred"}, Ring: ring, Service: "regcred",
		BaseURL: func(*http.Request) string { return "https://registry.example.com" },
	}
	text := signed(t, g)
	require.NoError(t, ask(g, text))
	require.Equal(t, 1, len(g.seen.claims), "it is not remembered, and the test shows nothing")
	return g, text
}

func signed(t *testing.T, g *Gate) string {
	t.Helper()
	account, err := g.Authenticator.Accounts.Account(t.Context(), robot)
	require.NoError(t, err)
	var c token.Claims
	c.Subject, c.Epoch = account.Name, account.Epoch
	c.Access = []token.Resource{{Type: "repository", Name: "team/app", Actions: []string{"pull"}}}
	text, _, err := g.Ring.Sign(t.Context(), token.Access, c, g.Service, 5*time.Minute)
	require.NoError(t, err)
	return text
}

func ask(g *Gate, text string) error {
	r := httptest.NewRequest("GET", "/v2/team/app/manifests/1", nil)
	r.Header.Set("Authorization", "Bearer "+text)
	_, err := g.Authorized(r, auth.Access{Resource: auth.Resource{Type: "repository", Name: "team/app"}, Action: "pull"})
	return err
}

// A change of an account applies to the next request, even though its token is cached.
func TestRememberedTokenOfAnAccountThatChanged(t *testing.T) {
	change := func(f func(*accounts.Account)) func(*testing.T, *accounts.Manager) error {
		return func(t *testing.T, b *accounts.Manager) error {
			return b.Update(t.Context(), robot, func(a *accounts.Account) error { f(a); return nil })
		}
	}
	for name, revoke := range map[string]func(*testing.T, *accounts.Manager) error{
		"deleted":          func(t *testing.T, b *accounts.Manager) error { return b.Delete(t.Context(), robot) },
		"disabled":         change(func(a *accounts.Account) { a.Disabled = true }),
		"at its end":       change(func(a *accounts.Account) { a.ExpiresAt = time.Now() }),
		"without the rule": change(func(a *accounts.Account) { a.Rules = nil }),
		"with a new secret": func(t *testing.T, b *accounts.Manager) error {
			_, err := b.NewSecret(t.Context(), robot)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			g, text := opened(t)
			require.NoError(t, revoke(t, g.Authenticator.Accounts))
			require.Error(t, ask(g, text))
		})
	}
}

func TestRememberedTokenEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, text := opened(t)
		time.Sleep(5*time.Minute - time.Millisecond)
		require.NoError(t, ask(g, text))
		time.Sleep(time.Millisecond)
		require.Error(t, ask(g, text))
	})
}

// A key that was removed from the store, as after a theft, is valid no longer than replicas take to read the change.
func TestRememberedTokenOfARetiredKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, text := opened(t)
		require.NoError(t, g.Ring.Store.Delete(t.Context(), "keys/ring", 0))
		require.NoError(t, (&token.Ring{Store: g.Ring.Store, MaxLife: time.Hour}).Rotate(t.Context())) // On another replica.
		time.Sleep(time.Minute)
		require.Error(t, ask(g, text))
		require.NoError(t, ask(g, signed(t, g)), "a token of the new key")
	})
}

// Forged tokens are not cached, whatever part of them is valid.
func TestForgedTokensAreNotRemembered(t *testing.T) {
	g, text := opened(t)
	parts := strings.Split(text, ".")
	for i := range 100 {
		require.Error(t, ask(g, fmt.Sprint(text, i)))
		require.Error(t, ask(g, parts[0]+"."+parts[1]+"."+fmt.Sprint(i)+parts[2][3:]))
	}
	stranger, _ := opened(t)
	require.Error(t, ask(g, signed(t, stranger)), "of another registry")
	login, _, err := g.Ring.Sign(t.Context(), token.Login, token.Claims{Epoch: "epoch"}, g.Service, time.Minute)
	require.NoError(t, err)
	require.Error(t, ask(g, login), "of another type")
	require.Equal(t, 1, len(g.seen.claims))
}

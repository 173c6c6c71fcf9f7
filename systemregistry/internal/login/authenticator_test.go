package login_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers/system"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/systemregistry/accounts"
	"github.com/regcred/regcred/systemregistry/internal/login"
	"github.com/regcred/regcred/systemregistry/internal/token"
	"github.com/regcred/regcred/systemregistry/store"
)

var right, wrong = credentials.NewSecret("right password"), credentials.NewSecret("wrong password")

func pull(pattern string) []accounts.Rule {
	return []accounts.Rule{{Repositories: pattern, Actions: []accounts.Action{accounts.Pull, accounts.Push}}}
}

func authenticator(t *testing.T) *login.Authenticator {
	t.Helper()
	s := new(store.Memory)
	a := &login.Authenticator{Accounts: &accounts.Manager{Store: s, PasswordCost: 4}, Ring: &token.Ring{Store: s, MaxLife: time.Hour}, Service: "regcred"}
	require.NoError(t, a.Ring.Rotate(t.Context()))
	require.NoError(t, a.Accounts.Create(t.Context(), accounts.Account{Name: "ann", Rules: pull("team/**")}, right))
	return a
}

const home, attacker = "10.0.0.1:1234", "203.0.113.9:999"

func TestGuessingIsSlowedDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := authenticator(t)
		refused := 0
		for i := range 10_000 {
			_, err := a.Login(t.Context(), fmt.Sprintf("203.0.113.9:%d", i), "ann", wrong)
			throttled, slow := errors.AsType[*login.Throttled](err)
			if !slow {
				require.ErrorIs(t, err, accounts.ErrWrongLogin)
				refused++
			} else {
				require.Positive(t, throttled.Wait)
			}
		}
		require.Equal(t, 10, refused, "how many guesses were looked at")

		// The owner can log in from elsewhere meanwhile, and later from everywhere.
		_, err := a.Login(t.Context(), home, "ann", right)
		require.NoError(t, err)
		time.Sleep(time.Minute)
		_, err = a.Login(t.Context(), attacker, "ann", wrong)
		require.ErrorIs(t, err, accounts.ErrWrongLogin)
	})
}

// A client that logged in before can still log in from the address of the attacker, for example behind the same proxy.
func TestGuessingBesideSomebodyWhoKnows(t *testing.T) {
	a := authenticator(t)
	_, err := a.Login(t.Context(), attacker, "ann", right)
	require.NoError(t, err)
	for range 50 {
		_, err := a.Login(t.Context(), attacker, "ann", wrong)
		require.Error(t, err)
	}
	_, err = a.Login(t.Context(), attacker, "ann", right)
	require.NoError(t, err)
	require.NoError(t, a.Accounts.SetPassword(t.Context(), "ann", credentials.NewSecret("another password")))
	_, err = a.Login(t.Context(), home, "ann", right)
	require.ErrorIs(t, err, accounts.ErrWrongLogin, "what was right before the change")
}

// A client that has never logged in can do so while another client behind the same address guesses passwords, under any
// names, even if that client knows the names of others.
func TestGuessingManyNamesBesideSomebody(t *testing.T) {
	for what, known := range map[string]int{"names that do not exist": 0, "names that exist": 40} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := authenticator(t)
				ctx, cancel := context.WithCancel(t.Context())
				var wg sync.WaitGroup
				defer wg.Wait()
				defer cancel()
				wg.Go(func() { a.CheckLater(ctx) })
				name := func(i int) string { return fmt.Sprint("name", i) }
				for i := range known {
					require.NoError(t, a.Accounts.Create(t.Context(), accounts.Account{Name: name(i)}, right))
				}
				guess := func(i int) {
					_, err := a.Login(t.Context(), attacker, name(i), wrong)
					require.Error(t, err)
				}
				for i := range 150 {
					guess(1000 + i)
				}
				var err error
				began := time.Now()
				for n := 0; time.Since(began) < 5*time.Minute; n++ {
					for i := range 50 {
						guess(i)
					}
					_, err = a.Login(t.Context(), attacker, "ann", right)
					if err == nil {
						break
					}
					_, slow := errors.AsType[*login.Throttled](err)
					require.True(t, slow, err)
					_, err := a.Login(t.Context(), attacker, "ann", wrong)
					require.Error(t, err)
					_, err = a.Login(t.Context(), attacker, "nobody", right)
					require.Error(t, err)
					time.Sleep(time.Second)
				}
				require.NoError(t, err)
				require.Less(t, time.Since(began), time.Duration(2+known)*time.Second)
			})
		})
	}
}

func TestRightLoginsAreNeverSlowedDown(t *testing.T) {
	a := authenticator(t)
	var wg sync.WaitGroup
	errs := make([]error, 100)
	for i := range errs {
		wg.Go(func() { _, errs[i] = a.Login(t.Context(), home, "ann", right) })
	}
	wg.Wait()
	require.NoError(t, errors.Join(errs...))
}

func TestCallerLeaves(t *testing.T) {
	a := authenticator(t)
	reason := errors.New("reason")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(reason)
	_, err := a.Login(ctx, home, "ann", right)
	require.ErrorIs(t, err, reason)
}

func (f fixture) login(t *testing.T, c credentials.Credential) (login.Identity, error) {
	t.Helper()
	return f.Login(t.Context(), home, c.Username, c.Password)
}

type fixture struct{ *login.Authenticator }

// minted returns a login that the key of ann's account issued for team/app.
func (f fixture) minted(t *testing.T) credentials.Credential {
	t.Helper()
	key, err := f.Accounts.AddKey(t.Context(), "ann", "regcred")
	require.NoError(t, err)
	c, err := system.Provider{}.Credential(t.Context(), registry.Profile{
		Name: "p", Kind: registry.System, Endpoint: "registry.example.com/team/app",
		Login: credentials.Login{Fields: map[string]credentials.Secret{"key": key}},
	})
	require.NoError(t, err)
	return c
}

func TestMintedLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fixture{authenticator(t)}
		c := f.minted(t)
		who, err := f.login(t, c)
		require.NoError(t, err)
		require.True(t, who.Allows(accounts.Pull, "team/app/base"))
		require.False(t, who.Allows(accounts.Push, "team/app"), "the account may, the login may not")
		require.False(t, who.Allows(accounts.Pull, "team/other"), "the account may, the login may not")
		require.False(t, who.Allows(accounts.Pull, "other/app"), "neither may")
		require.Equal(t, c.ExpiresAt, who.ExpiresAt.UTC().In(c.ExpiresAt.Location()))

		_, err = f.Login(t.Context(), home, "bob", c.Password)
		require.ErrorIs(t, err, accounts.ErrWrongLogin, "under another name")
		time.Sleep(time.Hour)
		_, err = f.login(t, c)
		require.ErrorIs(t, err, accounts.ErrWrongLogin, "after its end")
	})
}

func TestMintedLoginEndsWithWhatItStandsFor(t *testing.T) {
	tests := map[string]func(context.Context, *accounts.Manager) error{
		"the key is removed": func(ctx context.Context, b *accounts.Manager) error {
			return b.Update(ctx, "ann", func(a *accounts.Account) error { a.Keys = nil; return nil })
		},
		"the account is disabled": func(ctx context.Context, b *accounts.Manager) error {
			return b.Update(ctx, "ann", func(a *accounts.Account) error { a.Disabled = true; return nil })
		},
		"the account is deleted": func(ctx context.Context, b *accounts.Manager) error { return b.Delete(ctx, "ann") },
	}
	for name, end := range tests {
		t.Run(name, func(t *testing.T) {
			f := fixture{authenticator(t)}
			c := f.minted(t)
			_, err := f.login(t, c)
			require.NoError(t, err)
			require.NoError(t, end(t.Context(), f.Accounts))
			_, err = f.login(t, c)
			require.ErrorIs(t, err, accounts.ErrWrongLogin)
		})
	}
}

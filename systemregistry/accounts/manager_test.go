package accounts_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers/system"
	"github.com/regcred/regcred/systemregistry/accounts"
	"github.com/regcred/regcred/systemregistry/store"
)

func pull(pattern string) []accounts.Rule {
	return []accounts.Rule{{Repositories: pattern, Actions: []accounts.Action{accounts.Pull}}}
}

// book hashes fast, because a test has no secrets to protect.
func book(s store.Store) *accounts.Manager { return &accounts.Manager{Store: s, PasswordCost: 4} }

var right, wrong = credentials.NewSecret("right password"), credentials.NewSecret("wrong password")

func TestPersonLogsIn(t *testing.T) {
	b := book(new(store.Memory))
	require.NoError(t, b.Create(t.Context(), accounts.Account{Name: "ann", Rules: pull("**")}, right))
	got, err := b.Verify(t.Context(), "ann", right)
	require.NoError(t, err)
	require.Equal(t, pull("**"), got.Rules)

	for name, password := range map[string]credentials.Secret{"ann": wrong, "bob": right, "": right, "ANN": right} {
		_, err := b.Verify(t.Context(), name, password)
		require.ErrorIs(t, err, accounts.ErrWrongLogin, name)
	}
	_, err = b.Verify(t.Context(), "ann", credentials.Secret{})
	require.ErrorIs(t, err, accounts.ErrWrongLogin)
	require.ErrorIs(t, b.Create(t.Context(), accounts.Account{Name: "ann"}, right), accounts.ErrAccountExists)
}

func TestInactiveIsRefused(t *testing.T) {
	b := book(new(store.Memory))
	require.NoError(t, b.Create(t.Context(), accounts.Account{Name: "ann"}, right))
	tests := map[string]func(*accounts.Account) error{
		"disabled": func(a *accounts.Account) error { a.Disabled, a.ExpiresAt = true, time.Time{}; return nil },
		"expired": func(a *accounts.Account) error {
			a.Disabled, a.ExpiresAt = false, time.Now().Add(-time.Second)
			return nil
		},
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, b.Update(t.Context(), "ann", change))
			_, err := b.Verify(t.Context(), "ann", right)
			require.ErrorIs(t, err, accounts.ErrWrongLogin)
		})
	}
}

func TestRobotSecret(t *testing.T) {
	b := book(new(store.Memory))
	name := accounts.RobotName("team", "ci")
	first, err := b.CreateRobot(t.Context(), accounts.Account{Name: name, Tenant: "team", Rules: pull("team/**")})
	require.NoError(t, err)
	before, err := b.Verify(t.Context(), name, first)
	require.NoError(t, err)

	second, err := b.NewSecret(t.Context(), name)
	require.NoError(t, err)
	_, err = b.Verify(t.Context(), name, first)
	require.ErrorIs(t, err, accounts.ErrWrongLogin, "the secret before")
	after, err := b.Verify(t.Context(), name, second)
	require.NoError(t, err)
	require.NotEqual(t, before.Epoch, after.Epoch, "tokens from before the change stay good")
	require.ErrorIs(t, b.SetPassword(t.Context(), name, right), accounts.ErrInvalidAccount, "robots have no password that can be guessed")
}

func TestTwoSecrets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := book(new(store.Memory))
		name := accounts.RobotName("team", "ci")
		first, err := b.CreateRobot(t.Context(), accounts.Account{Name: name, Tenant: "team", Rules: pull("team/**")})
		require.NoError(t, err)
		before, err := b.Verify(t.Context(), name, first)
		require.NoError(t, err)

		end := time.Now().Add(time.Hour)
		second, err := b.RotateSecret(t.Context(), name, end)
		require.NoError(t, err)
		after, err := b.Verify(t.Context(), name, second)
		require.NoError(t, err)
		require.Zero(t, after.ExpiresAt)
		old, err := b.Verify(t.Context(), name, first)
		require.NoError(t, err, "the secret before is worth nothing at once")
		require.Equal(t, before.Epoch, old.Epoch)
		require.True(t, end.Equal(old.ExpiresAt), "what is issued for the old secret outlives it")
		require.True(t, after.Valid(before.Epoch, time.Now()))
		require.False(t, after.Valid("", time.Now()))

		// Other changes keep both secrets, and cannot change the time at which the old one ends.
		require.NoError(t, b.Update(t.Context(), name, func(a *accounts.Account) error {
			a.Description, a.OldSecretEndsAt = "changed", time.Now().Add(100*time.Hour)
			return nil
		}))
		time.Sleep(time.Hour - time.Second)
		_, err = b.Verify(t.Context(), name, first)
		require.NoError(t, err)
		time.Sleep(time.Second)
		_, err = b.Verify(t.Context(), name, first)
		require.ErrorIs(t, err, accounts.ErrWrongLogin, "after its end")
		now, err := b.Verify(t.Context(), name, second)
		require.NoError(t, err)
		require.False(t, now.Valid(before.Epoch, time.Now()))

		// There are at most two secrets, and a rotation without an end time ends both.
		third, err := b.RotateSecret(t.Context(), name, time.Now().Add(time.Hour))
		require.NoError(t, err)
		fourth, err := b.RotateSecret(t.Context(), name, time.Now().Add(time.Hour))
		require.NoError(t, err)
		for i, secret := range []credentials.Secret{first, second, third, fourth} {
			_, err = b.Verify(t.Context(), name, secret)
			require.Equal(t, i >= 2, err == nil)
		}
		fifth, err := b.NewSecret(t.Context(), name)
		require.NoError(t, err)
		for i, secret := range []credentials.Secret{third, fourth, fifth} {
			_, err = b.Verify(t.Context(), name, secret)
			require.Equal(t, i == 2, err == nil)
		}
	})
}

func TestSecretsAreNotStored(t *testing.T) {
	s := new(store.Memory)
	b := book(s)
	require.NoError(t, b.Create(t.Context(), accounts.Account{Name: "ann"}, right))
	secret, err := b.CreateRobot(t.Context(), accounts.Account{Name: "robot+ci"})
	require.NoError(t, err)
	text, err := b.AddKey(t.Context(), "robot+ci", "regcred")
	require.NoError(t, err)
	var key struct{ Seed string }
	require.NoError(t, json.Unmarshal(text.AppendTo(nil), &key))
	for e, err := range s.List(t.Context(), "") {
		require.NoError(t, err)
		for _, hidden := range []string{right.Reveal(), secret.Reveal(), key.Seed} {
			require.NotContains(t, string(e.Value), hidden)
		}
	}
}

func TestInvalidAccounts(t *testing.T) {
	b := book(new(store.Memory))
	tests := map[string]struct {
		account  accounts.Account
		password credentials.Secret
	}{
		"no name":                {accounts.Account{}, right},
		"capitals":               {accounts.Account{Name: "Ann"}, right},
		"a path":                 {accounts.Account{Name: "a/../b"}, right},
		"a control character":    {accounts.Account{Name: "ann", Description: "a\nb"}, right},
		"a robot's name":         {accounts.Account{Name: "robot+ann"}, right},
		"a short password":       {accounts.Account{Name: "ann"}, credentials.NewSecret("short")},
		"an unknown action":      {accounts.Account{Name: "ann", Rules: []accounts.Rule{{Repositories: "**", Actions: []accounts.Action{"own"}}}}, right},
		"a rule of no tenant":    {accounts.Account{Name: "ann", Tenant: "team", Rules: pull("**")}, right},
		"a rule of another":      {accounts.Account{Name: "ann", Tenant: "team", Rules: pull("team-b/**")}, right},
		"a tenant with wildcard": {accounts.Account{Name: "ann", Tenant: "*", Rules: pull("*/a")}, right},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			require.ErrorIs(t, b.Create(t.Context(), tt.account, tt.password), accounts.ErrInvalidAccount)
		})
	}
	_, err := b.CreateRobot(t.Context(), accounts.Account{Name: "other+ci", Tenant: "team"})
	require.ErrorIs(t, err, accounts.ErrInvalidAccount, "the name of another tenant's robot")
	_, err = b.CreateRobot(t.Context(), accounts.Account{Name: "team+ci", Tenant: "team", Admin: true})
	require.ErrorIs(t, err, accounts.ErrInvalidAccount, "a robot that manages accounts")
}

func TestUpdatesAtOnceAllTakeEffect(t *testing.T) {
	b := book(new(store.Memory))
	require.NoError(t, b.Create(t.Context(), accounts.Account{Name: "ann"}, right))
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() {
			errs[i] = b.Update(t.Context(), "ann", func(a *accounts.Account) error {
				a.Rules = append(a.Rules, pull(fmt.Sprintf("r%d", i))...)
				return nil
			})
		})
	}
	wg.Wait()
	require.NoError(t, errors.Join(errs...))
	got, err := b.Account(t.Context(), "ann")
	require.NoError(t, err)
	require.Len(t, got.Rules, len(errs))
}

func TestUpdateKeepsWhatIsNotItsBusiness(t *testing.T) {
	b := book(new(store.Memory))
	require.NoError(t, b.Create(t.Context(), accounts.Account{Name: "ann"}, right))
	before, err := b.Account(t.Context(), "ann")
	require.NoError(t, err)
	require.NoError(t, b.Update(t.Context(), "ann", func(a *accounts.Account) error {
		a.Name, a.Epoch, a.CreatedAt = "bob", "mine", time.Time{}
		return nil
	}))
	after, err := b.Account(t.Context(), "ann")
	require.NoError(t, err)
	require.Equal(t, before.Epoch, after.Epoch)
	require.Equal(t, before.CreatedAt, after.CreatedAt)
	_, err = b.Account(t.Context(), "bob")
	require.ErrorIs(t, err, accounts.ErrAccountNotFound)
}

func TestKeyIsThatOfTheAccount(t *testing.T) {
	b := book(new(store.Memory))
	require.NoError(t, b.Create(t.Context(), accounts.Account{Name: "ann"}, right))
	text, err := b.AddKey(t.Context(), "ann", "regcred")
	require.NoError(t, err)
	key, err := system.ParseKey(text)
	require.NoError(t, err)
	require.Equal(t, "ann", key.Account)
	got, err := b.Account(t.Context(), "ann")
	require.NoError(t, err)
	require.Len(t, got.Keys, 1)
	require.Equal(t, key.ID, got.Keys[0].ID)
	require.Equal(t, key.Public(), got.Keys[0].Public)
}

func TestAll(t *testing.T) {
	b := book(new(store.Memory))
	for _, name := range []string{"bob", "ann"} {
		require.NoError(t, b.Create(t.Context(), accounts.Account{Name: name}, right))
	}
	require.NoError(t, b.Delete(t.Context(), "bob"))
	require.ErrorIs(t, b.Delete(t.Context(), "bob"), accounts.ErrAccountNotFound)
	var names []string
	for a, err := range b.All(t.Context()) {
		require.NoError(t, err)
		names = append(names, a.Name)
	}
	require.Equal(t, []string{"ann"}, names)
}

// A caller's changes to a returned account do not affect the Manager.
func TestAccountsAreTheCallersOwn(t *testing.T) {
	b := book(new(store.Memory))
	name := accounts.RobotName("team", "ci")
	_, err := b.CreateRobot(t.Context(), accounts.Account{Name: name, Tenant: "team", Rules: pull("team/**")})
	require.NoError(t, err)
	_, err = b.AddKey(t.Context(), name, "regcred")
	require.NoError(t, err)
	want, err := b.Account(t.Context(), name)
	require.NoError(t, err)
	for range 2 {
		got, err := b.Account(t.Context(), name)
		require.NoError(t, err)
		require.Equal(t, want, got)
		got.Rules[0].Actions[0], got.Rules[0].Repositories, got.Keys[0].ID = accounts.Delete, "**", "mine"
	}
}

// A check decides about the account that is changed, even if it was deleted and created again meanwhile.
func TestCheck(t *testing.T) {
	errOther := errors.New("of another tenant")
	for name, change := range map[string]func(*accounts.Manager, accounts.Check) error{
		"delete":   func(b *accounts.Manager, c accounts.Check) error { return b.Delete(t.Context(), "ann", c) },
		"password": func(b *accounts.Manager, c accounts.Check) error { return b.SetPassword(t.Context(), "ann", right, c) },
		"key": func(b *accounts.Manager, c accounts.Check) error {
			_, err := b.AddKey(t.Context(), "ann", "regcred", c)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := book(new(store.Memory))
			require.NoError(t, b.Create(t.Context(), accounts.Account{Name: "ann", Tenant: "a"}, right))
			var made accounts.Account
			err := change(b, func(now accounts.Account) error {
				if now.Tenant == "a" {
					require.NoError(t, b.Delete(t.Context(), "ann"))
					require.NoError(t, b.Create(t.Context(), accounts.Account{Name: "ann", Tenant: "b"}, right))
					var err error
					made, err = b.Account(t.Context(), "ann")
					require.NoError(t, err)
					return nil
				}
				return errOther
			})
			require.ErrorIs(t, err, errOther)
			now, err := b.Account(t.Context(), "ann")
			require.NoError(t, err)
			require.Equal(t, made, now)
			_, err = b.Verify(t.Context(), "ann", right)
			require.NoError(t, err)
		})
	}
}

package accounts_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/regcred/regcred/systemregistry/accounts"
	"github.com/regcred/regcred/systemregistry/store"
)

// A robot gets a new secret without a gap: the old one is valid beside it for a while.
func ExampleManager_RotateSecret() {
	ctx := context.Background()
	book := &accounts.Manager{Store: &store.Memory{}} // For the Manager of a registry, call Registry.Accounts.
	robot := accounts.Account{
		Name: accounts.RobotName("team", "cluster"), Tenant: "team",
		Rules: []accounts.Rule{{Repositories: "team/**", Actions: []accounts.Action{accounts.Pull}}},
	}
	first, err := book.CreateRobot(ctx, robot)
	if err != nil {
		fmt.Println(err)
		return
	}
	second, err := book.RotateSecret(ctx, robot.Name, time.Now().Add(time.Hour))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, secret := range []struct {
		name string
		err  func() error
	}{
		{"first", func() error { _, err := book.Verify(ctx, robot.Name, first); return err }},
		{"second", func() error { _, err := book.Verify(ctx, robot.Name, second); return err }},
	} {
		fmt.Println(secret.name, secret.err())
	}
	if _, err := book.NewSecret(ctx, robot.Name); err != nil { // After a leak: all earlier secrets end at once.
		fmt.Println(err)
		return
	}
	_, err = book.Verify(ctx, robot.Name, second)
	fmt.Println("second", errors.Is(err, accounts.ErrWrongLogin))
	// Output:
	// first <nil>
	// second <nil>
	// second true
}

// A tenant limits an account, whatever its rules grant.
func ExampleAccount_Allows() {
	account := accounts.Account{
		Name: "ann", Tenant: "team",
		Rules: []accounts.Rule{{Repositories: "**", Actions: []accounts.Action{accounts.Pull}}},
	}
	for _, repository := range []string{"team/app", "team/tools/lint", "other/app"} {
		fmt.Println(repository, account.Allows(accounts.Pull, repository), account.Allows(accounts.Push, repository))
	}
	// Output:
	// team/app true false
	// team/tools/lint true false
	// other/app false false
}

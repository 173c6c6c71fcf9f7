package pgstore_test

import (
	"context"
	"fmt"

	"github.com/regcred/regcred/systemregistry/store"
	"github.com/regcred/regcred/systemregistry/store/pgstore"
)

// Each replica of a System registry opens the same database. The example is compiled and not run, because it needs a
// database; the tests of this package start one.
func ExampleOpen() {
	ctx := context.Background()
	shared, err := pgstore.Open(ctx, "postgres://regcred@db.example.com/registry?sslmode=verify-full&pool_max_conns=8")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = shared.Close() }()

	var s store.Store = shared // For the field Store of systemregistry.Server.
	for account, err := range s.List(ctx, "accounts/") {
		fmt.Println(account.Key, err)
	}
}

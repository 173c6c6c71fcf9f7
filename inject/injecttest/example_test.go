package injecttest_test

import (
	"context"
	"fmt"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/inject/injecttest"
	"github.com/regcred/regcred/registry"
)

// A test of a program that keeps pull secrets: another client deletes one, and the next pass restores it.
func ExampleCluster() {
	ctx := context.Background()
	cluster := &injecttest.Cluster{}
	if err := cluster.CreateNamespace(ctx, "shop", nil); err != nil {
		fmt.Println(err)
		return
	}
	syncer := &inject.Syncer{
		Cluster: cluster,
		Credential: func(_ context.Context, p registry.Profile) (credentials.Credential, error) {
			return credentials.Credential{Username: p.Login.Username, Password: p.Login.Password}, nil
		},
	}
	profile := registry.Profile{
		Name: "shop", Kind: registry.Custom, Endpoint: "registry.example.com",
		Login: credentials.Login{Username: "robot", Password: credentials.NewSecret("s3cret")},
	}
	targets := []inject.Target{{
		Name:       "registry",
		Profiles:   []registry.Profile{profile},
		Namespaces: inject.Selection{Names: []string{"*"}},
		Accounts:   inject.Selection{Names: []string{"default"}},
	}}
	sync := func() {
		result, err := syncer.Sync(ctx, targets)
		fmt.Println("problems:", len(result.Problems), "error:", err, "writes:", cluster.Writes())
	}
	sync()
	sync() // Nothing has changed.
	if err := cluster.DeleteSecret(ctx, "shop", "registry"); err != nil {
		fmt.Println(err)
		return
	}
	sync()
	secret, err := cluster.Secret(ctx, "shop", "registry")
	if err != nil {
		fmt.Println(err)
		return
	}
	account, err := cluster.Account(ctx, "shop", "default")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(secret.Type, account.PullSecrets)
	// Output:
	// problems: 0 error: <nil> writes: 2
	// problems: 0 error: <nil> writes: 2
	// problems: 0 error: <nil> writes: 3
	// kubernetes.io/dockerconfigjson [registry]
}

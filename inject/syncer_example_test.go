package inject_test

import (
	"context"
	"fmt"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/inject/injecttest"
	"github.com/regcred/regcred/registry"
)

func ExampleSyncer_Plan() {
	ctx := context.Background()
	var cluster injecttest.Cluster // Or a kube.Cluster.
	for _, name := range []string{"kube-system", "team-a", "team-b"} {
		if err := cluster.CreateNamespace(ctx, name, nil); err != nil {
			panic(err)
		}
	}
	syncer := &inject.Syncer{
		Cluster: &cluster,
		Credential: func(context.Context, registry.Profile) (credentials.Credential, error) { // In a real program, a cache.
			return credentials.Credential{Username: "robot", Password: credentials.NewSecret("hunter2")}, nil
		},
	}
	targets := []inject.Target{{
		Name: "regcred",
		Profiles: []registry.Profile{{
			Name: "quay", Kind: registry.Custom, Endpoint: "quay.io/team",
			Login: credentials.Login{Username: "robot", Password: credentials.NewSecret("hunter2")},
		}},
		Namespaces: inject.Selection{Names: []string{"team-*"}},
		Accounts:   inject.Selection{Names: []string{"default"}},
	}}

	plan, err := syncer.Plan(ctx, targets)
	if err != nil {
		panic(err)
	}
	fmt.Print(plan)
	result, err := syncer.Sync(ctx, targets)
	if err != nil {
		panic(err)
	}
	fmt.Println(len(result.Changed), "changes made")
	plan, err = syncer.Plan(ctx, targets)
	fmt.Println(len(plan.Changes), "left", err)
	// Output:
	// + secret team-a/regcred: new; profiles quay
	// ~ serviceaccount team-a/default: imagePullSecrets +regcred
	// + secret team-b/regcred: new; profiles quay
	// ~ serviceaccount team-b/default: imagePullSecrets +regcred
	// 4 changes made
	// 0 left <nil>
}

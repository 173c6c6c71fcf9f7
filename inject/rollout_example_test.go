package inject_test

import (
	"context"
	"fmt"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/inject/injecttest"
	"github.com/regcred/regcred/registry"
)

// This example reports the progress of a credential's rotation over two clusters. In one of them, a webhook rejects
// the change in one namespace.
func ExampleRolloutOf() {
	ctx := context.Background()
	issued := time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
	credential := func(context.Context, registry.Profile) (credentials.Credential, error) { // Usually of a regcred.Pipeline.
		return credentials.Credential{Username: "AWS", Password: credentials.NewSecret(issued.String()), IssuedAt: issued, ExpiresAt: issued.Add(12 * time.Hour)}, nil
	}
	eu, us := &injecttest.Cluster{}, &injecttest.Cluster{}
	syncers := map[string]*inject.Syncer{
		"eu": {Cluster: eu, Credential: credential},
		"us": {Cluster: us, Credential: credential},
	}
	for _, cluster := range []*injecttest.Cluster{eu, us} {
		for _, name := range []string{"shop", "blog"} {
			if err := cluster.CreateNamespace(ctx, name, nil); err != nil {
				fmt.Println(err)
			}
		}
	}
	targets := []inject.Target{{
		Name: "regcred", Namespaces: inject.Selection{Names: []string{"*"}},
		Profiles: []registry.Profile{{
			Name: "ecr", Kind: registry.ECR, Endpoint: "123456789012.dkr.ecr.eu-central-1.amazonaws.com", Login: credentials.Login{Ambient: true},
		}},
	}}
	rollOut := func() {
		for name, outcome := range inject.SyncEach(ctx, syncers, targets) {
			if outcome.Err != nil {
				fmt.Println(name, outcome.Err)
			}
		}
	}
	rollOut()

	us.Before = func(_ context.Context, change inject.Change) error {
		if change.Namespace == "blog" {
			return fmt.Errorf("admission webhook: %w", registry.ErrDenied)
		}
		return nil
	}
	issued = issued.Add(10 * time.Hour)
	rollOut()

	// The rollout of one target; nil selects all targets. To select by profile, look for it in t.Profiles.
	fmt.Print(inject.RolloutOf(syncers, func(t inject.Target) bool { return t.Name == "regcred" }))
	// Output:
	// 3 of 4 secrets hold the newest credentials
	//   us: blog/regcred holds older ones until 2100-01-01T12:00:00Z: admission webhook: denied
}

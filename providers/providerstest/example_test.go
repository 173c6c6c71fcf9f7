package providerstest_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/providers/providerstest"
	"github.com/regcred/regcred/registry"
)

// vault is a custom provider under test.
func vault(ctx context.Context, p registry.Profile) (credentials.Credential, error) {
	if ctx.Err() != nil {
		return credentials.Credential{}, context.Cause(ctx)
	}
	return credentials.Credential{Username: "vault", Password: p.Login.Fields["role"]}, nil
}

func ExampleTestProvider() {
	// In a file that ends in _test.go:
	testVault := func(t *testing.T) {
		providerstest.TestProvider(t, providerstest.Subject{
			Provider: providers.Set{"vault": providers.Func(vault)},
			Profiles: []registry.Profile{{
				Name: "team", Kind: "vault", Endpoint: "registry.example.com",
				Login: credentials.Login{Fields: map[string]credentials.Secret{"role": credentials.NewSecret("pull-only")}},
			}},
		})
	}
	ok := testing.RunTests(func(string, string) (bool, error) { return true, nil }, []testing.InternalTest{{Name: "TestVault", F: testVault}})
	fmt.Println(ok)
	// Output:
	// true
}

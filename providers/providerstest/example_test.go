package providerstest_test

import (
	"context"
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

func TestVault(t *testing.T) {
	providerstest.TestProvider(t, providerstest.Fixture{
		Provider: providers.Set{"vault": providers.Func(vault)},
		Profiles: []registry.Profile{{
			Name: "team", Kind: "vault", Endpoint: "registry.example.com",
			Login: credentials.Login{Fields: map[string]credentials.Secret{"role": credentials.NewSecret("pull-only")}},
		}},
	})
}

// The example is compiled and not run, because it needs the t of a test function. TestVault runs the same call.
func ExampleTestProvider() {
	var t *testing.T // That of func TestVault(t *testing.T), in a file that ends in _test.go.

	providerstest.TestProvider(t, providerstest.Fixture{
		Provider: providers.Set{"vault": providers.Func(vault)},
		Profiles: []registry.Profile{{
			Name: "team", Kind: "vault", Endpoint: "registry.example.com",
			Login: credentials.Login{Fields: map[string]credentials.Secret{"role": credentials.NewSecret("pull-only")}},
		}},
	})
}

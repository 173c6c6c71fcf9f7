package injectotel_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/field"
	"github.com/regcred/regcred/inject/injectotel"
	"github.com/regcred/regcred/inject/injecttest"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/providers/providerstest"
	"github.com/regcred/regcred/registry"
)

func TestClusterIsOne(t *testing.T) {
	w := newWorld(t)
	injecttest.TestCluster(t, injecttest.Fixture{Cluster: w.syncer.Cluster, World: &w.cluster})
}

// An eu is a provider with all optional methods.
type eu struct{ providerstest.Fake }

func (*eu) Scope(registry.Profile) string { return "eu" }

func (*eu) Validate(p registry.Profile) error {
	var problems field.List
	if p.Name == "us" {
		problems.Add("name", `is "us"`, "one of the EU")
	}
	return problems.Err("profile")
}

func TestProviderIsOne(t *testing.T) {
	tracer := newWorld(t).tracer()
	profile := func(name, password string) registry.Profile {
		return registry.Profile{
			Name: name, Kind: registry.Custom, Endpoint: name + ".example.com",
			Login: credentials.Login{Username: "robot", Password: credentials.NewSecret(password)},
		}
	}
	providerstest.TestProvider(t, providerstest.Fixture{
		Provider: injectotel.Provider(&eu{}, tracer),
		Profiles: []registry.Profile{profile("a", "password-1"), profile("a", "password-2")},
		Failing: injectotel.Provider(&eu{providerstest.Fake{
			Fail: func(int) error { return registry.ErrUnauthorized },
		}}, tracer),
		Stalled: injectotel.Provider(&eu{providerstest.Fake{Delay: time.Hour}}, tracer),
	})
}

// The optional methods of a provider determine which credentials are shared, and which problems are reported early.
func TestProviderKeepsWhatIsOptional(t *testing.T) {
	tracer := newWorld(t).tracer()
	profile := registry.Profile{Name: "us", Kind: registry.Custom, Endpoint: "us.example.com", Login: credentials.Login{Anonymous: true}}
	for name, next := range map[string]providers.Provider{"both": &eu{}, "none": &providerstest.Fake{}} {
		t.Run(name, func(t *testing.T) {
			wrapped := injectotel.Provider(next, tracer)
			require.Equal(t, providers.Key(next, profile), providers.Key(wrapped, profile))
			require.Equal(t, providers.Validate(next, profile), providers.Validate(wrapped, profile))
		})
	}
	require.Equal(t, "eu", providers.Key(injectotel.Provider(&eu{}, tracer), profile).Scope)
	require.Error(t, providers.Validate(injectotel.Provider(&eu{}, tracer), profile))
}

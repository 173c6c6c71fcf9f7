package providerstest_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/providers/providerstest"
	"github.com/regcred/regcred/registry"
)

func ExampleFake() {
	fake := &providerstest.Fake{Fail: func(call int) error {
		if call == 1 {
			return registry.ErrUnavailable
		}
		return nil
	}}
	set := providers.Set{registry.Custom: fake}
	profile := registry.Profile{
		Name: "team-a", Kind: registry.Custom, Endpoint: "registry.example.com",
		Login: credentials.Login{Username: "jo", Password: credentials.NewSecret("...")},
	}
	_, err := set.Credential(context.Background(), profile)
	fmt.Println(registry.CodeOf(err))
	credential, err := set.Credential(context.Background(), profile)
	fmt.Println(credential.Password.Reveal(), err)
	fmt.Println(fake.Calls(), "calls")
	// Output:
	// unavailable
	// fake-secret-2 <nil>
	// 2 calls
}

func TestFakeKeepsTheContract(t *testing.T) {
	s := fixture(new(providerstest.Fake))
	s.Invalid, s.Check = nil, nil
	s.Stalled = &providerstest.Fake{Delay: time.Hour}
	s.Failing = &providerstest.Fake{Fail: func(int) error { return registry.ErrUnauthorized }}
	providerstest.TestProvider(t, s)
}

func TestFakeTakesItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := &providerstest.Fake{Delay: time.Minute, Lifetime: time.Hour}
		start := time.Now()
		c, err := fake.Credential(t.Context(), fixture(nil).Profiles[0])
		require.NoError(t, err)
		require.Equal(t, time.Minute, time.Since(start))
		require.Equal(t, start.Add(time.Minute), c.IssuedAt)
		require.Equal(t, start.Add(time.Hour+time.Minute), c.ExpiresAt)

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = fake.Credential(ctx, fixture(nil).Profiles[0])
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, registry.ErrCanceled)
		require.Equal(t, 2, fake.Calls())
	})
}

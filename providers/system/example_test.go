package system_test

import (
	"context"
	"fmt"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/providers/system"
	"github.com/regcred/regcred/registry"
)

// A key mints the credential without a network call, so this runs without a registry.
func ExampleProvider() {
	key := system.NewKey("team+cluster", "regcred") // As the registry made it, for its robot.
	profile := registry.Profile{
		Name: "internal", Kind: registry.System, Endpoint: "registry.example.com/team",
		Login: credentials.Login{Fields: map[string]credentials.Secret{"key": key.Encode()}},
	}
	set := providers.Set{registry.System: system.Provider{Lifetime: 30 * time.Minute}}
	c, err := set.Credential(context.Background(), profile)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(c.Username, c.Password, c.ExpiresAt.Sub(c.IssuedAt))
	// Output: team+cluster [redacted] 30m0s
}

package orascredentials_test

import (
	"context"
	"fmt"

	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/regcred/regcred"
	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/credentials/orascredentials"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
)

// oras-go pulls from a Harbor in memory with the login of a profile.
func ExampleStore() {
	ctx := context.Background()
	password := credentials.NewSecret("s3cret")
	harbor := &registrytest.Registry{
		Dialect:  registrytest.Harbor(),
		Accounts: []registrytest.Account{{Username: "robot$shop", Password: password, Pull: []string{"shop/*"}}},
	}
	if _, err := harbor.Add("shop/chart:1.0", registrytest.Image{}); err != nil {
		fmt.Println(err)
		return
	}
	server, err := registrytest.Start(harbor)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()

	var pipeline regcred.Pipeline
	store := orascredentials.Store{
		Profiles: []registry.Profile{{
			Name: "shop", Kind: registry.Custom, Endpoint: server.Host,
			Login: credentials.Login{Username: "robot$shop", Password: password},
		}},
		Source: pipeline.Source,
	}
	repository, err := remote.NewRepository(server.Host + "/shop/chart")
	if err != nil {
		fmt.Println(err)
		return
	}
	repository.Client = &auth.Client{Client: server.Client(), Credential: store.Credential}
	descriptor, err := repository.Resolve(ctx, "1.0")
	fmt.Println(descriptor.MediaType, err)
	// Output:
	// application/vnd.oci.image.manifest.v1+json <nil>
}

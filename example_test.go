package regcred_test

import (
	"context"
	"fmt"

	"github.com/regcred/regcred"
	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
)

func Example() {
	// A registry in memory, in place of yours.
	server, err := registrytest.Start(&registrytest.Registry{
		Dialect:  registrytest.Harbor(),
		Accounts: []registrytest.Account{{Username: "robot$shop", Password: credentials.NewSecret("s3cret"), Pull: []string{"shop/*"}}},
	})
	if err != nil {
		panic(err)
	}
	defer server.Close()
	if _, err := server.Registry.Add("shop/web:1.4", registrytest.Image{}); err != nil {
		panic(err)
	}

	var pipeline regcred.Pipeline
	request := regcred.Request{
		Name: "shop-pull", Namespace: "shop",
		Profiles: []registry.Profile{{
			Name: "shop", Kind: registry.Custom, Endpoint: server.Host + "/shop",
			Login:     credentials.Login{Username: "robot$shop", Password: credentials.NewSecret("s3cret")},
			Transport: server.Transport(),
		}},
		Images: []string{server.Host + "/shop/web:1.4"},
	}
	outcome, err := pipeline.Run(context.Background(), request)
	fmt.Println(outcome.Secret.Namespace, outcome.Secret.Name, outcome.Images[0].Candidate, err)

	request.Images = []string{server.Host + "/shop/web:1.5"}
	_, err = pipeline.Run(context.Background(), request)
	fmt.Println(registry.CodeOf(err))
	fmt.Println(registry.HintOf(err))
	// Output:
	// shop shop-pull shop <nil>
	// image not found
	// check the tag or digest: the repository exists
}

package regcred_test

import (
	"context"
	"fmt"

	"github.com/regcred/regcred"
	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/providers/custom"
	"github.com/regcred/regcred/providers/ecr"
	"github.com/regcred/regcred/providers/ecr/ecrtest"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
	"github.com/regcred/regcred/registry/registrytest/fakenet"
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
			Transport: server.TransportConfig(),
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

// A test of a program with profiles of AWS ECR and of a Harbor, under their real names. No request leaves the machine.
func Example_withoutNetwork() {
	network, err := fakenet.New()
	if err != nil {
		panic(err)
	}
	defer network.Close()

	const account = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
	key := credentials.AWSLogin{AccessKeyID: "AKIAEXAMPLE000000000", SecretAccessKey: credentials.NewSecret("s3cret")}
	aws := &ecrtest.AWS{Users: []ecrtest.User{{
		ARN: "arn:aws:iam::123456789012:user/ci", AccessKeyID: key.AccessKeyID, SecretAccessKey: key.SecretAccessKey,
		Allow: ecrtest.PullActions(),
	}}}
	aws.Attach(network)
	harbor := &registrytest.Registry{
		Dialect:  registrytest.Harbor(),
		Accounts: []registrytest.Account{{Username: "robot$shop", Password: credentials.NewSecret("s3cret"), Pull: []string{"shop/*"}}},
	}
	network.Handle("harbor.example.com", harbor)
	for name, r := range map[string]*registrytest.Registry{"team/app:1": aws.Registry(account), "shop/web:1.4": harbor} {
		if _, err := r.Add(name, registrytest.Image{}); err != nil {
			panic(err)
		}
	}

	profiles := []registry.Profile{
		{Name: "aws", Kind: registry.ECR, Endpoint: account, Login: credentials.Login{AWS: &key}},
		{
			Name: "harbor", Kind: registry.Custom, Endpoint: "harbor.example.com/shop",
			Login: credentials.Login{Username: "robot$shop", Password: credentials.NewSecret("s3cret")},
		},
	}
	for i := range profiles {
		profiles[i].Transport = network.TransportConfig()
	}
	pipeline := regcred.Pipeline{Provider: providers.Set{registry.ECR: ecr.Provider{}, registry.Custom: custom.Provider{}}}
	pipeline.Checker.RoundTripper = network.Client().Transport // For images that no profile serves.

	request := regcred.Request{Profiles: profiles, Images: []string{account + "/team/app:1", "harbor.example.com/shop/web:1.4"}}
	outcome, err := pipeline.Run(context.Background(), request)
	fmt.Println(outcome.Secret.Config.Keys(), err)

	harbor.Inject(registrytest.Fault{Answer: registrytest.Answer{Status: 403, Body: "maintenance"}})
	outcome, err = pipeline.Run(context.Background(), request)
	for _, result := range outcome.Images {
		fmt.Printf("%s %q\n", result.Image.Repository, registry.CodeOf(result.Err))
	}
	fmt.Println(err != nil, outcome.Secret.Config.Keys())
	// Output:
	// [123456789012.dkr.ecr.eu-central-1.amazonaws.com harbor.example.com/shop] <nil>
	// team/app ""
	// shop/web "blocked"
	// true []
}

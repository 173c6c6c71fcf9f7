package ecr_test

import (
	"context"
	"fmt"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers/ecr"
	"github.com/regcred/regcred/providers/ecr/ecrtest"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest/fakenet"
)

func Example() {
	// An AWS in memory: a user who may assume a role, and the role that may pull.
	aws := &ecrtest.AWS{
		Users: []ecrtest.User{{
			ARN: "arn:aws:iam::123456789012:user/ci", AccessKeyID: "AKIAEXAMPLE000000000", SecretAccessKey: credentials.NewSecret("..."),
		}},
		Roles: []ecrtest.Role{{
			ARN: "arn:aws:iam::123456789012:role/pull", TrustedBy: []string{"arn:aws:iam::123456789012:user/ci"}, Allow: ecrtest.PullActions(),
		}},
	}
	network, err := fakenet.New()
	if err != nil {
		panic(err)
	}
	defer network.Close()
	aws.Attach(network)

	profile := registry.Profile{
		Name:     "team-a",
		Kind:     registry.ECR,
		Endpoint: "123456789012.dkr.ecr.eu-central-1.amazonaws.com",
		Login: credentials.Login{AWS: &credentials.AWSLogin{
			AccessKeyID:     "AKIAEXAMPLE000000000",
			SecretAccessKey: credentials.NewSecret("..."),
			Roles:           []credentials.AWSRole{{ARN: "arn:aws:iam::123456789012:role/pull"}},
		}},
		Transport: network.TransportConfig(), // Only for the AWS in memory.
	}
	credential, err := ecr.Provider{}.Credential(context.Background(), profile)
	if err != nil {
		panic(err)
	}
	fmt.Println(credential.Username, credential.Password, time.Until(credential.ExpiresAt).Round(time.Minute))

	// Errors name the identity and quote AWS's message, with a hint.
	profile.Login.AWS.Roles = nil
	_, err = ecr.Provider{}.Credential(context.Background(), profile)
	fmt.Println(registry.CodeOf(err) == registry.ErrDenied)
	fmt.Println(registry.HintOf(err))
	// Output:
	// AWS [redacted] 12h0m0s
	// true
	// grant this identity the policy {"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ecr:GetAuthorizationToken","Resource":"*"},{"Effect":"Allow","Action":["ecr:BatchCheckLayerAvailability","ecr:GetDownloadUrlForLayer","ecr:BatchGetImage"],"Resource":"*"}]}
}

func ExampleParseHost() {
	for _, host := range []string{
		"123456789012.dkr.ecr.eu-central-1.amazonaws.com",
		"123456789012.dkr-ecr-fips.us-gov-west-1.on.aws",
		"123456789012.dkr.ecr.eu-central-1.amazonaws.com.evil.example",
	} {
		h, err := ecr.ParseHost(host)
		fmt.Println(h.Account, h.Region, h.Partition, h.FIPS, h.DualStack, err != nil)
	}
	// Output:
	// 123456789012 eu-central-1 aws false false false
	// 123456789012 us-gov-west-1 aws-us-gov true true false
	//    false false true
}

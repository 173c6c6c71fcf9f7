package ecrtest_test

import (
	"context"
	"fmt"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	awscredentials "github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers/ecr/ecrtest"
	"github.com/regcred/regcred/registry/registrytest"
)

// AWS's own client works with the simulation, which verifies its signatures.
func Example() {
	cloud := &ecrtest.AWS{Users: []ecrtest.User{{
		ARN: "arn:aws:iam::123456789012:user/ci", AccessKeyID: "AKIAEXAMPLE000000000", SecretAccessKey: credentials.NewSecret("secret"),
		Allow: ecrtest.PullActions(),
	}}}
	for _, secret := range []string{"secret", "another"} {
		client := ecr.New(ecr.Options{
			Region: "eu-west-1", Credentials: awscredentials.NewStaticCredentialsProvider("AKIAEXAMPLE000000000", secret, ""),
			HTTPClient: &http.Client{Transport: registrytest.NewRoundTripper(cloud)}, Retryer: aws.NopRetryer{},
		})
		token, err := client.GetAuthorizationToken(context.Background(), &ecr.GetAuthorizationTokenInput{})
		if err == nil {
			fmt.Println(*token.AuthorizationData[0].ProxyEndpoint)
		}
	}
	for _, call := range cloud.Calls() {
		fmt.Printf("%s %s %q %q\n", call.Action, call.Region, call.Principal, call.Code)
	}
	// Output:
	// https://123456789012.dkr.ecr.eu-west-1.amazonaws.com
	// ecr:GetAuthorizationToken eu-west-1 "arn:aws:iam::123456789012:user/ci" ""
	// ecr:GetAuthorizationToken eu-west-1 "" "InvalidSignatureException"
}

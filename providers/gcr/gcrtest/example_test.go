package gcrtest_test

import (
	"context"
	"fmt"
	"net/http"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"

	"github.com/regcred/regcred/providers/gcr/gcrtest"
	"github.com/regcred/regcred/registry/registrytest"
)

// Google's own client works with the simulation, which verifies the signature of the key.
func Example() {
	const puller = "puller@project.iam.gserviceaccount.com"
	cloud := &gcrtest.Google{Accounts: []gcrtest.Account{{Email: puller, Pull: []string{"us-docker.pkg.dev/project/*"}}}}
	key := cloud.NewKey(puller)
	network := &http.Client{Transport: registrytest.NewRoundTripper(cloud)}
	config, err := google.JWTConfigFromJSON([]byte(key.Reveal()), "https://www.googleapis.com/auth/cloud-platform.read-only")
	if err != nil {
		panic(err)
	}
	token, err := config.TokenSource(context.WithValue(context.Background(), oauth2.HTTPClient, network)).Token()
	if err != nil {
		panic(err)
	}
	fmt.Println(token.TokenType)
	for _, call := range cloud.Calls() {
		fmt.Println(call.Action, call.Host, call.Principal)
	}
	// Output:
	// Bearer
	// token oauth2.googleapis.com puller@project.iam.gserviceaccount.com
}

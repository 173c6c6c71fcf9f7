package gcr_test

import (
	"context"
	"fmt"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers/gcr"
	"github.com/regcred/regcred/providers/gcr/gcrtest"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest/fakenet"
)

func Example() {
	// A Google Cloud in memory, with a service account and a key of it as downloaded from the console.
	google := &gcrtest.Google{Accounts: []gcrtest.Account{{Email: "puller@project.iam.gserviceaccount.com"}}}
	key := google.NewKey("puller@project.iam.gserviceaccount.com")
	network, err := fakenet.New()
	if err != nil {
		panic(err)
	}
	defer network.Close()
	google.Attach(network)

	profile := registry.Profile{
		Name:      "team-a",
		Kind:      registry.GCR,
		Endpoint:  "europe-docker.pkg.dev/project/repository",
		Login:     credentials.Login{Google: &credentials.GoogleLogin{Credentials: key}},
		Transport: network.TransportConfig(), // Only for the Google Cloud in memory.
	}
	credential, err := gcr.Provider{}.Credential(context.Background(), profile)
	if err != nil {
		panic(err)
	}
	fmt.Println(credential.Username, credential.Password, "never ends:", credential.ExpiresAt.IsZero())

	// The same key, kept out of the secret: it issues access tokens.
	profile.Login.Google.AccessToken = true
	credential, err = gcr.Provider{}.Credential(context.Background(), profile)
	if err != nil {
		panic(err)
	}
	fmt.Println(credential.Username, credential.Password, time.Until(credential.ExpiresAt).Round(time.Minute))

	google.DisableKey(key)
	_, err = gcr.Provider{}.Credential(context.Background(), profile)
	fmt.Println(registry.CodeOf(err), "-", registry.HintOf(err))
	// Output:
	// _json_key [redacted] never ends: true
	// oauth2accesstoken [redacted] 1h0m0s
	// unauthorized - the key was deleted or disabled, or belongs to another service account: enable it, or create a new one and enter it in the profile
}

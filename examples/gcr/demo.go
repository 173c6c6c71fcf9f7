package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers/gcr"
	"github.com/regcred/regcred/providers/gcr/gcrtest"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
	"github.com/regcred/regcred/registry/registrytest/fakenet"
)

const (
	puller  = "puller@project.iam.gserviceaccount.com"
	builder = "builder@project.iam.gserviceaccount.com"
)

// runDemo shows how a service account gets a password in each way, and the errors after a key is disabled.
func runDemo(ctx context.Context, out io.Writer, o options) error {
	network, err := fakenet.New()
	if err != nil {
		return err
	}
	defer network.Close()
	google := &gcrtest.Google{Accounts: []gcrtest.Account{
		{Email: puller, Pull: []string{"europe-docker.pkg.dev/project/*", "gcr.io/project/*"}, ImpersonatedBy: []string{builder}},
		{Email: builder},
	}}
	google.Attach(network)
	o.images = []string{"europe-docker.pkg.dev/project/repository/app:1.4", "gcr.io/project/app:1.4"}
	for _, image := range []struct{ host, name string }{{"europe-docker.pkg.dev", "project/repository/app:1.4"}, {"gcr.io", "project/app:1.4"}} {
		if _, err := google.Registry(image.host).Add(image.name, registrytest.Image{}); err != nil {
			return err
		}
	}
	fmt.Fprintln(out, "Google Cloud is in memory: the service account", puller, "may pull. Try -h for the real one.")

	key, buildersKey := google.NewKey(puller), google.NewKey(builder)
	profile := registry.Profile{
		Name:      "gcp",
		Kind:      registry.GCR,
		Endpoint:  "europe-docker.pkg.dev",
		Hosts:     []string{"gcr.io"}, // Key and token are valid for all of Google's hosts.
		Transport: network.TransportConfig(),
	}
	for _, way := range []struct {
		name  string
		login credentials.GoogleLogin
	}{
		{"The key itself is the password", credentials.GoogleLogin{Credentials: key}},
		{"Tokens are made with the key, which stays here", credentials.GoogleLogin{Credentials: key, AccessToken: true}},
		{"Another service account impersonates it", credentials.GoogleLogin{Credentials: buildersKey, Impersonate: puller}},
	} {
		fmt.Fprintf(out, "\n* %s.\n", way.name)
		profile.Login = credentials.Login{Google: &way.login}
		if err := show(ctx, out, o, profile); err != nil {
			return err
		}
	}

	fmt.Fprintf(out, "\n* Somebody disables the key.\n\n")
	google.DisableKey(key)
	profile.Login = credentials.Login{Google: &credentials.GoogleLogin{Credentials: key}}
	_, err = gcr.Provider{}.Credential(ctx, profile)
	if err == nil {
		return errors.New("a disabled key was taken")
	}
	fmt.Fprintf(out, "%v\n", err)
	return nil
}

package profilestore_test

import (
	"context"
	"fmt"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/profilestore"
)

// A vault keeps the secrets; the profile keeps references.
func Example_vault() {
	ctx := context.Background()
	vault := make(map[string]credentials.Secret)
	seal := func(_ context.Context, place profilestore.Place, s credentials.Secret) (string, error) {
		ref := "registries/" + place.Tenant + "/" + place.Profile + "/" + place.Field
		vault[ref] = s
		return ref, nil
	}
	open := func(_ context.Context, place profilestore.Place, ref string) (credentials.Secret, error) {
		// The reference is compared with the place, so that a manipulated row does not open another tenant's secret.
		if ref != "registries/"+place.Tenant+"/"+place.Profile+"/"+place.Field {
			return credentials.Secret{}, fmt.Errorf("%q is not the reference of %v", ref, place)
		}
		return vault[ref], nil
	}

	profile := registry.Profile{
		Name: "shop", Tenant: "acme", Kind: registry.Custom, Endpoint: "ghcr.io/acme",
		Login: credentials.Login{Username: "robot", Password: credentials.NewSecret("s3cret")},
	}
	row, err := profilestore.Encode(ctx, profile, seal)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(row))

	again, err := profilestore.Decode(ctx, "acme", row, open)
	fmt.Println(again.Login.Password.Equal(profile.Login.Password), err)
	_, err = profilestore.Decode(ctx, "other", row, open)
	fmt.Println(err)
	// Output:
	// {"name":"shop","kind":"custom","endpoint":"ghcr.io/acme","login":{"username":"robot","password":{"sealed":"registries/acme/shop/login.password"}}}
	// true <nil>
	// stored profile "shop": login.password cannot be opened: "registries/acme/shop/login.password" is not the reference of login.password of profile "shop"
}

func ExampleFromForm() {
	stored := registry.Profile{
		Name: "shop", Tenant: "acme", Kind: registry.Custom, Endpoint: "ghcr.io/acme",
		Login: credentials.Login{Username: "robot", Password: credentials.NewSecret("s3cret")},
	}
	fmt.Println(string(profilestore.Redacted(stored))) // The body that the form shows.

	profile, err := profilestore.FromForm("acme", []byte(
		`{"name":"shop","kind":"custom","endpoint":"ghcr.io/acme/shop","login":{"username":"robot","password":{"redacted":true}}}`), &stored)
	fmt.Println(profile.Endpoint, profile.Login.Password.Equal(stored.Login.Password), err)

	_, err = profilestore.FromForm("acme", []byte(
		`{"name":"shop","kind":"custom","endpoint":"evil.example.com","login":{"username":"robot","password":{"redacted":true}}}`), &stored)
	fmt.Println(err)
	// Output:
	// {"name":"shop","kind":"custom","endpoint":"ghcr.io/acme","login":{"username":"robot","password":{"redacted":true}}}
	// ghcr.io/acme/shop true <nil>
	// profile "shop": login.password was entered for another destination: expected the secret again, because the endpoint changed
}

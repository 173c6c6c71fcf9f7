package validate_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/pullsecret"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
	"github.com/regcred/regcred/validate"
)

// harbor is a registry in memory, so that the examples run everywhere: registry.example.com, with a robot that may pull
// from team/app and team/web.
func harbor() http.RoundTripper {
	account := registrytest.Account{
		Username: "robot$ci", Password: credentials.NewSecret("s3cret"), Pull: []string{"team/app", "team/web"},
	}
	r := &registrytest.Registry{Dialect: registrytest.Harbor(), Accounts: []registrytest.Account{account}}
	for _, name := range []string{"team/app:1.0", "team/app:1.1", "team/web:1.0", "team/private:1.0"} {
		if _, err := r.Add(name, registrytest.Image{Platforms: []string{"linux/amd64", "linux/arm64"}}); err != nil {
			panic(err)
		}
	}
	return r.RoundTripper()
}

func robot(password string) validate.Candidate {
	return validate.Candidate{
		Name:   "team",
		Source: credentials.Static(credentials.Credential{Username: "robot$ci", Password: credentials.NewSecret(password)}),
	}
}

func ExampleChecker_Login() {
	ctx := context.Background()
	endpoint, err := registry.ParseEndpoint("registry.example.com")
	if err != nil {
		panic(err)
	}
	checker := validate.Checker{RoundTripper: harbor()}
	_, err = checker.Login(ctx, endpoint, robot("s3cret"))
	fmt.Println(err)
	_, err = checker.Login(ctx, endpoint, robot("wrong"))
	fmt.Println(errors.Is(err, registry.ErrUnauthorized))
	fmt.Println(registry.HintOf(err))
	// Output:
	// <nil>
	// true
	// check the robot's full name, with its prefix robot$, and its secret; robots expire; a user who logs in by OIDC has a CLI secret
}

func ExampleChecker_Image() {
	image, err := registry.ParseImage("registry.example.com/team/app:1.0")
	if err != nil {
		panic(err)
	}
	checker := validate.Checker{
		Platforms:    []validate.Platform{{OS: "linux", Architecture: "arm64"}},
		RoundTripper: harbor(),
	}
	result, err := checker.Image(context.Background(), image, robot("s3cret"))
	fmt.Println(err, result.Platforms)
	for _, e := range result.Attempts[0].Exchanges {
		fmt.Println(e)
	}
	// Output:
	// <nil> [linux/amd64 linux/arm64]
	// GET https://registry.example.com/v2/: 401 UNAUTHORIZED "unauthorized"
	// POST https://registry.example.com/service/token: 405
	// GET https://registry.example.com/service/token?service=harbor-registry&scope=repository:team/app:pull: 200
	// HEAD https://registry.example.com/v2/team/app/manifests/1.0: 200
	// GET https://registry.example.com/v2/team/app/manifests/sha256:fd37fcb9fbe82c0eb466059924d1690a1345a14082f7655e39645a2daa7dfecf: 200
	// GET https://registry.example.com/v2/team/app/manifests/sha256:1cab9cd35807a76ff5f1f2045353451f524757b15a5dc69fe6a1b7688be846b5: 200
	// GET https://registry.example.com/v2/team/app/blobs/sha256:654cc5d9b1a4a735e2a8e277b0e961878a794f6b9c02e10bc7e26135e62a717e: 200
}

// This example checks whether a kubelet would pull these images with an existing pull secret from any tool.
func ExampleChecker_Image_pullSecret() {
	secret, err := pullsecret.Parse([]byte(`{"auths": {
		"https://registry.example.com/v1/":  {"auth": "b2xkOndyb25n"},
		"registry.example.com/team":         {"username": "robot$ci", "password": "s3cret"},
		"https://index.docker.io/v1/":       {"auth": "YW5uOnJpZ2h0"}
	}}`))
	if err != nil {
		panic(err)
	}
	checker := validate.Checker{RoundTripper: harbor()}
	for _, name := range []string{"registry.example.com/team/app:1.0", "registry.example.com/other/app:1.0"} {
		image, err := registry.ParseImage(name)
		if err != nil {
			panic(err)
		}
		var candidates []validate.Candidate
		for _, m := range secret.Match(image) {
			candidates = append(candidates, validate.Candidate{Name: m.Key, Source: credentials.Static(m.Credential)})
		}
		result, _ := checker.Image(context.Background(), image, candidates...)
		for _, a := range result.Attempts {
			fmt.Printf("%s: %s: %v\n", image.Repository, a.Candidate, cmp.Or(registry.CodeOf(a.Err), "pulls"))
		}
	}
	// Output:
	// team/app: registry.example.com/team: pulls
	// other/app: https://registry.example.com/v1/: unauthorized
}

func ExampleChecker_Images() {
	candidates := []validate.Candidate{robot("s3cret")}
	var requests []validate.Request
	for _, name := range []string{"team/app:1.0", "team/web:2.0", "team/private:1.0"} {
		image, err := registry.ParseImage("registry.example.com/" + name)
		if err != nil {
			panic(err)
		}
		requests = append(requests, validate.Request{Image: image, Candidates: candidates})
	}
	checker := validate.Checker{RoundTripper: harbor()}
	results, _ := checker.Images(context.Background(), requests) // The error joins the errors of the results.
	for _, r := range results {
		switch code := registry.CodeOf(r.Err); code {
		case "":
			fmt.Println(r.Image, "can be pulled")
		default:
			fmt.Println(r.Image, code)
		}
	}
	// Output:
	// registry.example.com/team/app:1.0 can be pulled
	// registry.example.com/team/web:2.0 image not found
	// registry.example.com/team/private:1.0 denied
}

func ExampleChecker_Tags() {
	image, err := registry.ParseImage("registry.example.com/team/app")
	if err != nil {
		panic(err)
	}
	checker := validate.Checker{RoundTripper: harbor()}
	for tag, err := range checker.Tags(context.Background(), image, robot("s3cret")) {
		if err != nil {
			panic(err)
		}
		fmt.Println(tag)
	}
	// Output:
	// 1.0
	// 1.1
}

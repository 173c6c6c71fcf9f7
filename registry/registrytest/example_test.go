package registrytest_test

import (
	"fmt"
	"net/http"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry/registrytest"
)

func Example() {
	r := &registrytest.Registry{
		Dialect:  registrytest.Harbor(),
		Accounts: []registrytest.Account{{Username: "robot$ci", Password: credentials.NewSecret("s3cret"), Pull: []string{"team/*"}}},
	}
	digest, err := r.Add("team/app:1.0", registrytest.Image{Platforms: []string{"linux/amd64", "linux/arm64"}})
	if err != nil {
		panic(err)
	}
	server, err := registrytest.Start(r)
	if err != nil {
		panic(err)
	}
	defer server.Close()

	req, err := http.NewRequest("HEAD", server.URL+"/v2/team/app/manifests/1.0", nil)
	if err != nil {
		panic(err)
	}
	for _, password := range []string{"wrong", "s3cret"} {
		req.SetBasicAuth("robot$ci", password)
		res, err := server.Client().Do(req)
		if err != nil {
			panic(err)
		}
		_ = res.Body.Close()
		fmt.Println(res.Status, res.Header.Get("WWW-Authenticate"), res.Header.Get("Docker-Content-Digest") == digest)
	}
	// Output:
	// 401 Unauthorized Basic realm="harbor" false
	// 200 OK  true
}

func ExampleDialects() {
	for _, d := range registrytest.Dialects() {
		fmt.Println(d.Name)
	}
	// Output:
	// dockerhub
	// ecr
	// ecr-public
	// gcr
	// gar
	// quay
	// nexus-basic
	// nexus-bearer
	// artifactory
	// mcr
	// acr
	// harbor
	// ghcr
	// gitlab
	// distribution-basic
	// distribution-token
	// zot
	// gitea
	// forgejo
}

func ExampleRegistry_Inject() {
	r := &registrytest.Registry{Dialect: registrytest.MCR()}
	if _, err := r.Add("dotnet/runtime:10", registrytest.Image{}); err != nil {
		panic(err)
	}
	r.Inject(registrytest.Fault{Times: 2, Answer: registrytest.Answer{Status: 503, Header: map[string]string{"Retry-After": "1"}}})
	c := &http.Client{Transport: r.RoundTripper()}
	for range 3 {
		res, err := c.Get("https://mcr.example.com/v2/dotnet/runtime/manifests/10")
		if err != nil {
			panic(err)
		}
		_ = res.Body.Close()
	}
	for _, q := range r.Requests() {
		fmt.Println(q)
	}
	// Output:
	// registry: GET /v2/dotnet/runtime/manifests/10: 503
	// registry: GET /v2/dotnet/runtime/manifests/10: 503
	// registry: GET /v2/dotnet/runtime/manifests/10: 200
}

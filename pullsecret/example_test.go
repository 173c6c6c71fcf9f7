package pullsecret_test

import (
	"fmt"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/pullsecret"
	"github.com/regcred/regcred/registry"
)

// entries returns the entries of two profiles of one registry, and of Docker Hub.
func entries() []pullsecret.Entry {
	login := func(username, password string) credentials.Credential {
		return credentials.Credential{Username: username, Password: credentials.NewSecret(password)}
	}
	return []pullsecret.Entry{
		{Profile: registry.Profile{Name: "hub", Kind: registry.DockerHub}, Credential: login("me", "hub-token")},
		{Profile: registry.Profile{Name: "all", Kind: registry.Custom, Endpoint: "quay.io"}, Credential: login("org+read", "1")},
		{Profile: registry.Profile{Name: "shop", Kind: registry.Custom, Endpoint: "quay.io/org/shop"}, Credential: login("org+shop", "2")},
	}
}

func ExampleBuild() {
	config, err := pullsecret.Build(entries()...)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(config)
	for _, key := range config.Keys() {
		fmt.Println(key)
	}
	// Output:
	// [redacted]
	// https://index.docker.io/v1/
	// quay.io
	// quay.io/org/shop
}

func ExampleConfig_Match() {
	entries := entries()
	config, err := pullsecret.Build(entries...)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, name := range []string{"nginx", "quay.io/org/shop/web:1", "ghcr.io/org/app"} {
		image, err := registry.ParseImage(name)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(image)
		for _, match := range config.Match(image) {
			fmt.Printf("\t%s as %s\n", entries[match.Entry].Profile.Name, match.Credential.Username)
		}
	}
	// Output:
	// docker.io/library/nginx:latest
	// 	hub as me
	// quay.io/org/shop/web:1
	// 	shop as org+shop
	// 	all as org+read
	// ghcr.io/org/app:latest
}

func ExampleConfig_Lint() {
	config, err := pullsecret.Parse([]byte(`{"auths":{"registry-1.docker.io":{"auth":"bWU6cGFzc3dvcmQ="},"ghcr.io":{"auth":"bWU6Z2hwXzEK"}}}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, finding := range config.Lint(time.Now()) {
		fmt.Println(finding)
	}
	// Output:
	// ghcr.io: has a password with a line break or white space at an end (line-break); hint: encode it again without it (printf instead of echo)
	// registry-1.docker.io: is a host of Docker Hub that no image name has (docker-hub-key); hint: write https://index.docker.io/v1/
}

func ExampleMerge() {
	theirs, err := pullsecret.Parse([]byte(`{"auths":{"ghcr.io":{"auth":"dTpw"},"quay.io/old":{"auth":"dTpw"}},"note":"kept"}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	ours, err := pullsecret.Build(entries()[1])
	if err != nil {
		fmt.Println(err)
		return
	}
	merged, err := pullsecret.Merge(theirs, ours, "quay.io/old") // quay.io/old was in the previous version of ours.
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(string(merged.Reveal()))
	// Output:
	// {"auths":{"ghcr.io":{"auth":"dTpw"},"quay.io":{"auth":"b3JnK3JlYWQ6MQ=="}},"note":"kept"}
}

func ExampleSplit() {
	second := entries()[1]
	second.Profile.Name, second.Credential.Username = "second", "org+other"
	configs, err := pullsecret.Split(append(entries(), second)...)
	if err != nil {
		fmt.Println(err)
		return
	}
	for i, config := range configs {
		fmt.Println(i, config.Keys())
	}
	// Output:
	// 0 [https://index.docker.io/v1/ quay.io quay.io/org/shop]
	// 1 [quay.io]
}

func ExampleSecret_YAML() {
	config, err := pullsecret.Build(entries()[0])
	if err != nil {
		fmt.Println(err)
		return
	}
	manifest, err := pullsecret.Secret{Name: "regcred", Namespace: "shop", Config: config}.YAML()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(string(manifest)) // The manifest has the password in it.
	// Output:
	// apiVersion: v1
	// kind: Secret
	// metadata:
	//   name: "regcred"
	//   namespace: "shop"
	// type: kubernetes.io/dockerconfigjson
	// data:
	//   .dockerconfigjson: eyJhdXRocyI6eyJodHRwczovL2luZGV4LmRvY2tlci5pby92MS8iOnsiYXV0aCI6ImJXVTZhSFZpTFhSdmEyVnUifX19
}

// Package regcred turns the profile of a container registry into an image pull secret that provably pulls.
//
// A user of a platform fills in a [registry.Profile]: a name, the kind of registry, an endpoint, a login. A [Pipeline]
// gets the credential for it, asks the registry whether it is let in, asks for every image with the credentials that a
// kubelet would try, and builds the kubernetes.io/dockerconfigjson secret out of those very credentials:
//
//	var pipeline regcred.Pipeline
//	outcome, err := pipeline.Run(ctx, regcred.Request{
//		Namespace: "shop",
//		Profiles:  []registry.Profile{profile},
//		Images:    []string{"ghcr.io/acme/shop:1.4"},
//	})
//	if err != nil {
//		return err // Says which image cannot be pulled, what the registry answered, and what to do.
//	}
//	manifest, err := outcome.Secret.YAML() // For kubectl apply.
//
// Each step is a package of its own, to be used without the others:
//
//   - [github.com/regcred/regcred/registry]: profiles, names of registries and images, and the codes of all that can go
//     wrong. Package registry/profilefile reads profiles from YAML, and registry/profilestore stores them.
//   - [github.com/regcred/regcred/providers]: who issues credentials. Packages dockerhub, ecr, gcr, system and custom,
//     and what a program adds.
//   - [github.com/regcred/regcred/credentials]: secrets that do not leak, logins, credentials, and the cache that keeps
//     them fresh.
//   - [github.com/regcred/regcred/egress]: which servers the program connects to for profiles of untrusted users.
//   - [github.com/regcred/regcred/validate]: does the login work, can the image be pulled?
//   - [github.com/regcred/regcred/pullsecret]: what a kubelet reads, what it does with it, and how to keep it in clusters.
//   - [github.com/regcred/regcred/registry/registrytest]: a registry in memory that wants a login, for tests. The
//     providers of clouds have fakes beside them.
//
// Package inject/kube, for a real Kubernetes API, and systemregistry, a registry of one's own, are modules
// of their own. Nothing of Kubernetes is compiled in here. The library does not run anything of its own accord: what is
// to happen in the background, [credentials.Cache.Run], is called by the program. It returns nil when its context ends,
// as do the servers and controllers of those modules: where a program waits for all of them, an error is one.
package regcred

// Package regcred turns the profile of a container registry into an image pull secret that provably pulls.
//
// A user of a platform fills in a [registry.Profile]: a name, the kind of registry, an endpoint, a login. A [Pipeline]
// gets the credential for the profile and checks that the registry accepts it. It then checks every image with the
// credentials that a kubelet would try, and builds the kubernetes.io/dockerconfigjson secret from exactly those
// credentials:
//
//	var pipeline regcred.Pipeline
//	outcome, err := pipeline.Run(ctx, regcred.Request{
//		Namespace: "shop",
//		Profiles:  []registry.Profile{profile},
//		Images:    []string{"ghcr.io/acme/shop:1.4"},
//	})
//	if err != nil {
//		return err // Names the image that cannot be pulled, the registry's response, and the fix.
//	}
//	manifest, err := outcome.Secret.YAML() // For kubectl apply.
//
// A credential flows in one direction, from its issuer through the check into the secret. Two things flow back: a
// credential that a registry rejected, and, after a restart, the credential that is already published:
//
//	                                       rejected       published, after a restart
//	                                  +--------------------------+-------------------------+
//	                                  v                          |                         |
//	Profile --provider--> Source --> Cache --> Credential --> validate --> pullsecret --> inject --> clusters
//	                                               |
//	                                               +--> helper --> kubelets, docker, podman
//
// Each step is a package of its own, which can be used without the others:
//
//   - [github.com/regcred/regcred/registry]: profiles, names of registries and images, and one list of codes for
//     everything that can go wrong; its function IssuesOf turns any error into a list that a form can show. Below it,
//     registry/profilefile reads profiles from YAML, and registry/profilestore stores them.
//   - [github.com/regcred/regcred/providers]: the issuers of credentials. Below it are the packages dockerhub, ecr,
//     gcr, acr, system and custom, and federated, which uses the identity of a workload in place of a password. A
//     program can add its own.
//   - [github.com/regcred/regcred/credentials]: secrets that do not leak, logins, credentials, and the cache that keeps
//     them fresh. Below it, credentials/dockerconfig reads the configuration of docker and podman.
//   - [github.com/regcred/regcred/egress]: decides which servers the program connects to on behalf of untrusted users.
//   - [github.com/regcred/regcred/validate]: checks that a login works and that an image can be pulled.
//   - [github.com/regcred/regcred/pullsecret]: builds, merges, parses and lints pull secrets, and finds the entries that
//     a kubelet uses for an image.
//   - [github.com/regcred/regcred/inject]: keeps pull secrets in the namespaces and service accounts of clusters.
//   - [github.com/regcred/regcred/helper]: serves the same profiles to kubelets, docker, podman and similar tools.
//   - [github.com/regcred/regcred/field]: errors in the fields that a user filled in.
//   - [github.com/regcred/regcred/registry/registrytest]: a registry in memory that requires a login, for tests. The
//     packages of the cloud providers have fakes beside them.
//
// Package inject/kube, for a real Kubernetes API, validate/mirrors, for the files of nodes with mirrors, and
// systemregistry, a registry to embed, are modules of their own. No package of this module compiles Kubernetes code.
// The library starts no background work by itself: the program does, for example by calling [credentials.Cache.Run].
// That method returns nil when its context ends, as do the servers and controllers of those modules. So a program that
// waits for all of them only has to handle real failures.
package regcred

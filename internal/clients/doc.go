// Package clients has tests in which real clients pull through the docker credential helper of examples/node: docker
// with its daemon, podman and skopeo, and the libraries of BuildKit, ORAS, regclient, go-containerregistry and docker's
// command line.
//
// Each client is a process of its own, in which nothing is set but its environment: it finds the helper in PATH, its
// configuration in DOCKER_CONFIG, and the registries of this test, under names such as docker.io, through HTTPS_PROXY.
package clients

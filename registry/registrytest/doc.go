// Package registrytest implements a container registry in memory that requires a login and responds like Docker Hub,
// ECR, Harbor and others, each in its own dialect.
//
// A [Registry] is a struct literal with a [Dialect], accounts with their rights, and limits. [Start] serves it over TLS
// on the loopback address, for any client. [Registry.RoundTripper] serves it without a socket, for tests in a bubble of
// testing/synctest. [Registry.Add] adds images to it, [Registry.Inject] makes it fail in all the ways in which
// registries fail, and [Registry.Requests] returns the requests that it received.
//
// It is for tests, examples and demonstrations: it keeps everything in memory and does not limit what clients send. Its
// dialects cover the behavior that clients must handle, not all features of the registries.
package registrytest

// Package registrytest is a container registry in memory that wants a login, and answers as Docker Hub, ECR, Harbor and
// the others do, each in its own way.
//
// A [Registry] is a value that one writes as a literal: its [Dialect], who may do what, limits. [Start] serves it over
// TLS on the loopback address, for any client; [Registry.RoundTripper] serves it without a socket, for tests in a bubble
// of testing/synctest. [Registry.Add] puts images into it, [Registry.Inject] makes it fail in every way that registries
// do, and [Registry.Requests] tells what it was asked.
//
// It is for tests, examples and demonstrations: it keeps everything in memory, has no limit on what clients send, and
// its dialects show what clients must understand, not all that the registries offer.
package registrytest

// Package registry defines profiles of container registries, the names of registries and images, and the errors that
// can occur with them.
//
// A [Profile] is a user's configuration of one registry: a name, the kind of registry, an endpoint and a login.
// [ParseEndpoint] and [ParseImage] parse names as people write them, and [Serving] returns the profiles that serve an
// image. An [Error] describes a failure and how to fix it; its [Code] is one of a single list for the whole module.
//
// Outside of this module, the package imports only the standard library. It sends no requests; the providers and
// package validate do.
package registry

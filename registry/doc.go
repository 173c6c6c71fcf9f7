// Package registry knows what a container registry is called and what can go wrong with it.
//
// A [Profile] is what a user of a platform fills in about one registry: a name, the kind of registry, an endpoint, a
// login. [ParseEndpoint] and [ParseImage] read the names that people write, and [Serving] says which profiles serve an
// image. An [Error] with its [Code] says what went wrong, in one list of codes for the whole module, and what to do
// about it.
//
// The package imports the standard library and package credentials. It sends nothing: the providers, and packages
// validate and pullsecret, do.
package registry

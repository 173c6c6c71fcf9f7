// Package system issues credentials for the integrated registry of a platform, which module systemregistry runs.
//
// [Provider] is the provider of kind system. It turns the login of a profile, which may have many permissions and a
// long lifetime, into one that can only pull, only from the profile's paths, and only for an hour: it requests that
// login from the registry, or mints it with a [Key] without a network call.
//
// It does not create accounts or keys. The registry's administrators do, in its console or with package accounts of the
// server.
package system

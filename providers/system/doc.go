// Package system issues credentials for the integrated registry of a platform, the one that module
// systemregistry runs.
//
// [Provider] is the provider of kind system. It turns the login of a profile, which may do much and live long, into one
// that can pull only, only what is under the profile's paths, and for an hour only: it asks the registry for it, or
// mints it with a [Key], without asking anybody.
//
// It does not create accounts or keys; the registry's administrators do, in its console or with package accounts of the
// server.
package system

// Package providers says who issues the credential for a registry profile.
//
// A [Provider] issues credentials for the profiles of one kind of registry; a [Set] holds the providers that a program
// has, by kind, and is a Provider itself. [Static] is a provider for registries that take the login as it is. [Source]
// binds a provider to one profile, and [Key] says which profiles can share one credential, for a cache.
//
// The providers of this module are in the packages below: dockerhub, ecr, gcr, custom, system. This package compiles
// nothing but the standard library, and neither do dockerhub and custom. A provider issues; whether the registry
// accepts what was issued is for package validate to find out.
package providers

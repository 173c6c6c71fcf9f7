// Package providers defines Provider, which issues the credential for a registry profile.
//
// A [Provider] issues credentials for the profiles of one kind of registry; a [Set] holds the providers of a program by
// kind, and is a Provider itself. [Static] is a provider for registries that accept the login unchanged. [Source] binds
// a provider to one profile. [Key] returns the cache key of a profile; profiles with equal keys share one credential.
//
// The providers of this module are in the packages below: dockerhub, ecr, gcr, acr, federated, custom, system. This
// package and packages dockerhub and custom import no other module. A provider only issues credentials; package validate
// checks whether the registry accepts them.
package providers

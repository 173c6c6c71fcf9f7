// Package accounts defines the accounts of the registry and their rights.
//
// An [Account] is a person or a robot with its [Rule]s. A [Manager] manages accounts in a [store.Store] and verifies
// their passwords. A tenant is the first part of the names of its repositories: an account of a tenant has no right
// outside of it, whatever its rules grant.
//
// The package does not issue tokens and does not throttle guesses. The server does both.
package accounts

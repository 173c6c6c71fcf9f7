// Package accounts says who may do what in the registry.
//
// An [Account] is a person or a robot with its [Rule]s; a [Book] keeps accounts in a [store.Store] and checks their
// passwords. A tenant is the first part of the repositories' names: an account of a tenant has no right outside of it,
// whatever its rules say.
//
// It does not issue tokens, and it does not slow down those who guess: the server does both.
package accounts

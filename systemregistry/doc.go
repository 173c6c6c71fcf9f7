// Package systemregistry is an integrated container registry that one starts with one call: CNCF distribution, with accounts,
// tenants, tokens, a console and an API around it.
//
// [Server.Run] serves it, with TLS, until its context ends; [Server.Open] returns the [Registry] as an [http.Handler]
// for a program that serves it itself. [Registry.Accounts] says who may do what, and [Registry.Images] what is there.
//
// It speaks no protocol of its own: what clients push and pull goes through distribution's handlers. Package system of
// the root module gets short-lived credentials from it for clusters.
package systemregistry

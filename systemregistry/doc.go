// Package systemregistry is a container registry that a Go program starts with one call. It runs the handlers of CNCF
// distribution, and adds accounts, tenants, tokens, a console and an API.
//
// [Server.Run] serves the registry, with TLS, until its context ends. [Server.Open] returns the [Registry] as an
// [http.Handler], for a program that has its own server. [Registry.Accounts] manages accounts and rights, and
// [Registry.Images] lists and deletes images.
//
// The package implements no protocol of its own: distribution's handlers serve pushes and pulls. Package system of the
// root module gets short-lived credentials from this registry for clusters.
package systemregistry

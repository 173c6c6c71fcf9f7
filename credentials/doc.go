// Package credentials defines the logins and credentials of container registries, and a cache that keeps credentials
// fresh.
//
// A [Login] is the account data that a person enters; a [Credential] is the user name and password that a registry
// receives, with its expiry; a [Source] returns a credential on each call; a [Cache] wraps many sources, so that
// callers do not wait, issuers get few calls, and no expired credential is returned. All confidential text is a
// [Secret].
//
// Outside of this module, the package imports only the standard library. It has no code for particular registries; the
// providers do.
package credentials

// Package credentials holds what proves to a container registry who one is, and keeps it fresh.
//
// A [Login] is what a person typed in; a [Credential] is what is sent to a registry, with the instant at which it ends;
// a [Source] hands out a credential each time it is asked; a [Cache] makes many sources into ones that answer at once,
// ask their issuer rarely, and never hand out an expired credential. All text that must not be seen is a [Secret].
//
// The package imports nothing but the standard library. It does not know any registry: the providers do.
package credentials

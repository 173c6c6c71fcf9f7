// Package egress decides which servers a program connects to on behalf of its users.
//
// A platform gets registry profiles from its users. A profile names hosts, and the registries behind them name more:
// token servers, storage, redirects. Each of those names may resolve to an address in the platform's own network, to
// this machine, or to the metadata service that hands out the machine's identity. A [Policy] is evaluated for every
// connection, with the address that is about to be dialed, so that a DNS name cannot bypass it by changing its address
// between two lookups.
//
// The zero Policy is meant for profiles from untrusted users. Set it as the Egress field of a regcred.Pipeline, a
// validate.Checker or a registry.TransportConfig; all providers of this module follow the policy of the
// TransportConfig.
//
// The package depends on the standard library only.
package egress

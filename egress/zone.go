package egress

import (
	"net/netip"
	"strings"
)

// A Zone is the kind of network that an address belongs to.
type Zone int

const (
	// Public is an address on the public internet.
	Public Zone = iota
	// Private is an address of a private network: RFC 1918, RFC 6598 (shared address space), unique local IPv6.
	Private
	// Loopback is an address of this machine.
	Loopback
	// LinkLocal is a link-local address, or the address of a metadata service of a cloud, which hands out the identity
	// of this machine.
	LinkLocal
	// Reserved is an address that no server on the public internet has: unspecified, multicast, documentation,
	// benchmarking, tunnels, future use.
	Reserved
)

// String returns the zone in words.
func (z Zone) String() string {
	switch z {
	case Public:
		return "public"
	case Private:
		return "private"
	case Loopback:
		return "loopback"
	case LinkLocal:
		return "link-local"
	}
	return "reserved"
}

func prefixes(list ...string) []netip.Prefix {
	parsed := make([]netip.Prefix, len(list))
	for i, s := range list {
		parsed[i] = netip.MustParsePrefix(s)
	}
	return parsed
}

// metadata holds the metadata services outside the link-local range.
var metadata = prefixes(
	"fd00:ec2::/32",      // EC2, https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html
	"fd20:ce::/32",       // Google: fd20:ce::254 on IPv6-only machines.
	"fd00:c1::/32",       // Oracle: fd00:c1::a9fe:a9fe.
	"100.100.100.200/32", // Alibaba.
	"168.63.129.16/32",   // Azure's platform services, which include a metadata server.
	"192.0.0.192/32",     // Oracle's older generation.
)

var private = prefixes(
	"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", // RFC 1918.
	"100.64.0.0/10", // RFC 6598.
	"fc00::/7",      // RFC 4193.
	"fec0::/10",     // RFC 3879, deprecated.
)

// reserved holds the rest of https://www.iana.org/assignments/iana-ipv4-special-registry and
// https://www.iana.org/assignments/iana-ipv6-special-registry that is not globally reachable.
var reserved = prefixes(
	"0.0.0.0/8",       // RFC 791. Linux treats all of it as this machine.
	"192.0.0.0/24",    // RFC 6890, protocol assignments.
	"192.0.2.0/24",    // RFC 5737, documentation.
	"192.88.99.0/24",  // RFC 7526, relays of 6to4.
	"198.18.0.0/15",   // RFC 2544, benchmarking.
	"198.51.100.0/24", // RFC 5737.
	"203.0.113.0/24",  // RFC 5737.
	"224.0.0.0/4",     // Multicast.
	"240.0.0.0/4",     // RFC 1112, and broadcast.
	"2001::/23",       // RFC 2928, protocol assignments, among them Teredo, which has an IPv4 address inside.
	"2001:db8::/32",   // RFC 3849, documentation.
	"3fff::/20",       // RFC 9637, documentation.
)

// globalUnicast is the only part of IPv6 that is allocated to the public internet:
// https://www.iana.org/assignments/ipv6-address-space.
var globalUnicast = netip.MustParsePrefix("2000::/3")

// ends4 holds the networks whose last 32 bits are an IPv4 address. A connection ends at that address.
var ends4 = prefixes(
	"::ffff:0:0/96",   // RFC 4291, IPv4-mapped.
	"::ffff:0:0:0/96", // RFC 2765, IPv4-translated.
	"::/96",           // RFC 4291, IPv4-compatible, deprecated.
	"64:ff9b::/96",    // RFC 6052, NAT64.
)

var (
	sixToFour  = netip.MustParsePrefix("2002::/16")      // RFC 3056: the IPv4 address follows.
	localNAT64 = netip.MustParsePrefix("64:ff9b:1::/48") // RFC 8215: the IPv4 address may be at any of five places.
)

// unwrap returns the address at which a connection to addr ends.
func unwrap(addr netip.Addr) netip.Addr {
	addr = addr.WithZone("").Unmap()
	if !addr.Is6() || addr.IsLoopback() || addr.IsUnspecified() {
		return addr
	}
	b := addr.As16()
	switch {
	case within(addr, ends4):
		return netip.AddrFrom4([4]byte(b[12:16]))
	case sixToFour.Contains(addr):
		return netip.AddrFrom4([4]byte(b[2:6]))
	}
	return addr
}

func within(addr netip.Addr, list []netip.Prefix) bool {
	for _, p := range list {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// ZoneOf returns the zone of an address. An IPv6 address with an IPv4 address inside (mapped, translated, compatible,
// NAT64, 6to4) is in the zone of the IPv4 address. The zero Addr is Reserved.
func ZoneOf(addr netip.Addr) Zone {
	addr = unwrap(addr)
	switch {
	case !addr.IsValid():
		return Reserved
	case addr.IsLoopback():
		return Loopback
	case addr.IsLinkLocalUnicast(), within(addr, metadata):
		return LinkLocal
	case addr.IsUnspecified(), addr.IsMulticast(), within(addr, reserved), localNAT64.Contains(addr):
		return Reserved
	case within(addr, private):
		return Private
	case addr.Is6() && !globalUnicast.Contains(addr):
		return Reserved
	}
	return Public
}

// ZoneOfName returns the zone of a host as far as its name determines it: the zone of an address, Loopback for
// localhost, LinkLocal for names of metadata services. Texts that some resolvers read as an address and others as a
// name, such as 127.1, 0x7f000001, 2130706433 and 0177.0.0.1, are Reserved. All other names are Public; their addresses
// are known only when they are dialed.
func ZoneOfName(host string) Zone {
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if addr, err := netip.ParseAddr(host); err == nil {
		return ZoneOf(addr)
	}
	last := host[strings.LastIndexByte(host, '.')+1:]
	switch {
	case host == "" || strings.ContainsAny(host, ":%/@\\ "):
		return Reserved
	case strings.Trim(last, "0123456789") == "", strings.HasPrefix(last, "0x"):
		return Reserved
	case host == "localhost" || strings.HasSuffix(host, ".localhost"):
		return Loopback
	case host == "metadata" || host == "instance-data" || strings.HasSuffix("."+host, ".metadata.google.internal"):
		return LinkLocal
	}
	return Public
}

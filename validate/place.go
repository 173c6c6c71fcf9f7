package validate

import (
	"net/netip"
	"strings"
)

// A place is what kind of network an address belongs to. A registry may name other servers at its own kind of place, or
// on the internet; never one that only this program can reach.
type place int

const (
	onInternet place = iota
	onPrivate        // RFC 1918, RFC 6598, unique local IPv6.
	onLoopback       // This machine.
	onLink           // Link-local: among them the metadata services of the clouds, which hand out this machine's keys.
	nowhere          // Not the address of a server: unspecified, multicast, reserved.
)

// These networks have an IPv4 address inside, which is where a connection ends up.
var (
	nat64     = netip.MustParsePrefix("64:ff9b::/96")  // RFC 6052.
	sixToFour = netip.MustParsePrefix("2002::/16")     // RFC 3056.
	v4Compat  = netip.MustParsePrefix("::/96")         // RFC 4291, 2.5.5.1.
	sharedNet = netip.MustParsePrefix("100.64.0.0/10") // RFC 6598.
	thisNet   = netip.MustParsePrefix("0.0.0.0/8")     // RFC 791: Linux takes all of it for this machine.
	reserved  = netip.MustParsePrefix("240.0.0.0/4")
	siteLocal = netip.MustParsePrefix("fec0::/10") // RFC 3879, deprecated.
	// The metadata service of EC2 over IPv6, in the private range of unique local addresses.
	ec2Metadata = netip.MustParsePrefix("fd00:ec2::/32")
	// Alibaba Cloud's metadata service, and Azure's platform services, outside the link-local range.
	aliMetadata, azureWire = netip.MustParseAddr("100.100.100.200"), netip.MustParseAddr("168.63.129.16")
)

func placeOf(addr netip.Addr) place {
	addr = addr.WithZone("").Unmap()
	if addr.Is6() && !addr.IsLoopback() && !addr.IsUnspecified() {
		b := addr.As16()
		switch {
		case nat64.Contains(addr), v4Compat.Contains(addr):
			addr = netip.AddrFrom4([4]byte(b[12:16]))
		case sixToFour.Contains(addr):
			addr = netip.AddrFrom4([4]byte(b[2:6]))
		}
	}
	switch {
	case addr.IsLoopback():
		return onLoopback
	case addr.IsLinkLocalUnicast(), ec2Metadata.Contains(addr), addr == aliMetadata, addr == azureWire:
		return onLink
	case addr.IsUnspecified(), thisNet.Contains(addr), addr.IsMulticast(), reserved.Contains(addr), !addr.IsValid():
		return nowhere
	case addr.IsPrivate(), sharedNet.Contains(addr), siteLocal.Contains(addr):
		return onPrivate
	}
	return onInternet
}

// placeOfName returns where a host is, as far as its name tells. Names that some resolvers take for an address and
// others for a name lead nowhere: 127.1, 0x7f000001, 2130706433, 0177.0.0.1.
func placeOfName(host string) place {
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if addr, err := netip.ParseAddr(host); err == nil {
		return placeOf(addr)
	}
	last := host[strings.LastIndexByte(host, '.')+1:]
	switch {
	case host == "" || strings.ContainsAny(host, ":%/@\\ "):
		return nowhere
	case strings.Trim(last, "0123456789") == "", strings.HasPrefix(last, "0x"):
		return nowhere
	case host == "localhost" || strings.HasSuffix(host, ".localhost"):
		return onLoopback
	case host == "metadata" || host == "instance-data" || strings.HasSuffix("."+host, ".metadata.google.internal"):
		return onLink
	}
	return onInternet
}

// mayReach reports whether a registry at one place may name a server at another.
func (from place) mayReach(to place) bool {
	return to == onInternet || to == from && (to == onPrivate || to == onLoopback)
}

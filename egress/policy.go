package egress

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// A Policy limits what a program does on behalf of profiles that it does not trust. A nil *Policy allows everything,
// and is meant for the program's own profiles. The zero Policy is the strictest, and is meant for profiles of untrusted
// users:
//
//   - the program connects to public addresses only, and without a proxy;
//   - a profile may use neither a proxy nor plain HTTP;
//   - a profile may use neither the identity of the process nor a file or URL of the machine.
//
// Each field relaxes or tightens one of these rules. Set the fields before the first use; a Policy is then safe for
// concurrent use. Connections are pooled by policy, so make one and keep it.
type Policy struct {
	// Allow lists addresses that may be connected to although they are not public, such as the network of a registry
	// of the platform's own. A link-local address or a metadata service is allowed only by a prefix that is exactly
	// its address. Nil means none.
	Allow []netip.Prefix
	// Deny lists addresses that may not be connected to although they are public or in Allow, such as the platform's
	// own public addresses. Nil means none.
	Deny []netip.Prefix
	// AllowHosts lists host names that may lead to addresses that are not public, because the operator of the program
	// controls their addresses: the names of a cloud's APIs that have private endpoints, for example. A name may start
	// with "*." for all names below it. A link-local address stays forbidden. Nil means none.
	AllowHosts []string
	// Ports are the ports that may be connected to. Nil means all.
	Ports []int

	// Resolver looks up host names, for example one that does not know the names of the platform's own network. Nil
	// means net.DefaultResolver. Host names are looked up as absolute names, without the search list of the machine.
	Resolver *net.Resolver

	// EnvironmentProxy uses the proxy of the environment (HTTPS_PROXY, NO_PROXY), which is ignored otherwise. That
	// proxy looks up host names itself, so it must also reject connections to the platform's own network itself: for a
	// request through the proxy, the Policy checks only a host that is written as an address.
	EnvironmentProxy bool

	// AllowProxy lets a profile name a proxy. The Policy applies to the address of that proxy, but not to the addresses
	// that the proxy connects to.
	AllowProxy bool
	// AllowPlainHTTP lets a profile use plain HTTP.
	AllowPlainHTTP bool
	// AllowAmbient lets a profile use the identity of the process. A profile with a proxy or certificate authority of
	// its own may never use it, because the owner of these could see that identity.
	AllowAmbient bool
	// AllowFiles lets a profile use the files and URLs that the program lists in its providers (SubjectTokens).
	AllowFiles bool
}

// ErrForbidden is the error of a connection that a [Policy] does not allow. The error is the same whether the host does
// not exist or has a forbidden address, and whether or not a server listens there.
var ErrForbidden = errors.New("the egress policy allows no connection to this host")

// errPlainHTTP may state the cause, because it depends on the profile alone and reveals nothing about the network.
var errPlainHTTP = fmt.Errorf("%w: plain HTTP is not allowed", ErrForbidden)

// CheckAddr returns an error that wraps [ErrForbidden] if the address may not be connected to.
func (p *Policy) CheckAddr(to netip.AddrPort) error { return p.check("", to) }

// check is CheckAddr for an address that a host name leads to.
func (p *Policy) check(host string, to netip.AddrPort) error {
	if p == nil {
		return nil
	}
	if err := p.checkPort(int(to.Port())); err != nil {
		return err
	}
	addr := to.Addr().WithZone("").Unmap()
	final := unwrap(addr)
	zone := ZoneOf(addr)
	switch {
	case !addr.IsValid(), within(addr, p.Deny), within(final, p.Deny):
		return ErrForbidden
	case zone == Public, zone != LinkLocal && p.allowsHost(host):
		return nil
	}
	for _, allowed := range p.Allow {
		if zone == LinkLocal && !allowed.IsSingleIP() {
			continue // A wide private prefix such as fd00::/8 has metadata services in it.
		}
		if allowed.Contains(addr) || allowed.Contains(final) {
			return nil
		}
	}
	return ErrForbidden
}

func (p *Policy) allowsHost(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	for _, name := range p.AllowHosts {
		name = strings.ToLower(name)
		if parent, ok := strings.CutPrefix(name, "*"); ok && strings.HasPrefix(parent, ".") && strings.HasSuffix(host, parent) {
			return true
		}
		if name == host && host != "" {
			return true
		}
	}
	return false
}

func (p *Policy) checkPort(port int) error {
	if p.Ports != nil && !slices.Contains(p.Ports, port) {
		return fmt.Errorf("%w: port %d is not allowed", ErrForbidden, port)
	}
	return nil
}

// CheckURL returns an error that wraps [ErrForbidden] if a request to the URL is forbidden regardless of the addresses
// of its host name: plain HTTP, a forbidden port, a forbidden address, the name of this machine or of a metadata
// service.
func (p *Policy) CheckURL(u *url.URL) error {
	if p == nil {
		return nil
	}
	if u.Scheme == "http" && !p.AllowPlainHTTP {
		return errPlainHTTP
	}
	port, err := strconv.Atoi(portOf(u))
	if err != nil {
		return ErrForbidden
	}
	host := u.Hostname()
	if addr, err := netip.ParseAddr(host); err == nil {
		return p.CheckAddr(netip.AddrPortFrom(addr, uint16(port)))
	}
	switch ZoneOfName(host) {
	case Public, Loopback: // The address of localhost may be in Allow, which is checked when it is dialed.
		return p.checkPort(port)
	}
	return ErrForbidden
}

func portOf(u *url.URL) string {
	if port := u.Port(); port != "" {
		return port
	}
	switch u.Scheme {
	case "http":
		return "80"
	case "socks5", "socks5h":
		return "1080"
	}
	return "443"
}

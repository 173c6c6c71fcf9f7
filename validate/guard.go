package validate

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"

	"github.com/regcred/regcred/egress"
	"github.com/regcred/regcred/registry"
)

// checkRealm decides whether requests may be sent to the token server that the registry named, and with the registry's
// login.
//
//   - The token server must use https, unless the registry itself does not. If the realm is http at the registry's own
//     host, the request is sent over https to the registry's own address, and never in the clear. Such a realm is sent
//     by registries (Nexus is one) behind a proxy that does not forward the information that the client uses TLS.
//   - It must not be at an address that only this program can reach; see mayReach.
//   - A login is sent only to the registry's own host or site, a known pair, or one of [Checker.Realms]. The registry's
//     response cannot change these facts.
func (o *origin) checkRealm(realm string, login bool) (u *url.URL, upgraded bool, err error) {
	u, err = url.Parse(realm)
	switch {
	case err != nil || u.Host == "" || u.Opaque != "":
		return nil, false, insecureRealm("the registry names a token server that is not a URL")
	case u.User != nil:
		return nil, false, insecureRealm("the registry names a token server by a URL with a login in it")
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, false, insecureRealm("the registry names a token server with the scheme %s", cleanLine(u.Scheme, 16))
	}
	u.Fragment = ""
	host := strings.ToLower(u.Hostname())
	own := host == strings.ToLower(o.base.Hostname())
	if u.Scheme == "http" && o.base.Scheme == "https" {
		if !own {
			return nil, false, insecureRealm("the registry names a token server over plain HTTP, at %s", cleanLine(u.Host, 64))
		}
		u.Scheme, u.Host = "https", o.base.Host
		upgraded = true
	}
	if own || o.s.c.allowsRealm(host) {
		return u, upgraded, nil
	}
	if err := o.checkAddress(u); err != nil {
		return nil, false, err
	}
	sameMachine := o.zone() == egress.Loopback && egress.ZoneOfName(host) == egress.Loopback
	if login && !sameMachine && !SameSite(o.base.Hostname(), host) && !knownPair(o.host, host) {
		host = cleanLine(host, 64)
		e := errorf(registry.ErrInsecure, "the registry names a token server at another site, %s", host)
		e.Hint = "nothing was sent; if " + host + " is the token server of this registry, add it to Checker.Realms"
		return nil, false, e
	}
	return u, upgraded, nil
}

func insecureRealm(format string, args ...any) error {
	e := errorf(registry.ErrInsecure, format, args...)
	e.Hint = "nothing was sent; the address of the token server is set in the registry's configuration"
	return e
}

// checkRedirect decides whether a redirect may be followed.
//
//   - A redirect of the token server is followed within its own host only, and never with a body: a form with a
//     password is sent once, to its intended server.
//   - https never becomes http.
//   - The registry may redirect to storage, or a mirror, anywhere on the internet or in its own zone. The login is sent
//     there only if [Checker.Realms] lists the host and the runtime sends it there; see [redirectLogin].
func (o *origin) checkRedirect(from *url.URL, location string, q apiRequest) (*url.URL, error) {
	next, err := from.Parse(location)
	if err != nil || next.Host == "" {
		return nil, errorf(registry.ErrUnavailable, "the registry redirects to an invalid URL")
	}
	next.Fragment = ""
	where := q.auth.without(cleanLine(next.Host, 64))
	switch {
	case next.Scheme != "https" && next.Scheme != "http":
		return nil, insecureRedirect("a redirect to the scheme %s", cleanLine(next.Scheme, 16))
	case next.User != nil:
		return nil, insecureRedirect("a redirect to a URL with a login in it, at %s", where)
	case from.Scheme == "https" && next.Scheme == "http":
		return nil, insecureRedirect("a redirect from https to plain HTTP, at %s", where)
	case q.form != nil:
		return nil, insecureRedirect("a redirect of a request whose body holds the password, to %s", where)
	case strings.EqualFold(next.Hostname(), from.Hostname()):
		return next, nil
	case q.step == StepToken || q.step == StepLogin:
		return nil, insecureRedirect("a redirect of the token server to another host, %s", where)
	case strings.EqualFold(next.Hostname(), o.base.Hostname()) || o.s.c.allowsRealm(next.Hostname()):
		return next, nil
	}
	return next, o.checkAddress(next)
}

func insecureRedirect(format string, args ...any) error {
	e := errorf(registry.ErrInsecure, format, args...)
	e.Hint = "the redirect was not followed; it is set in the configuration of the registry, or of a proxy before it"
	return e
}

// leftBehind returns the verdict on a request that failed after a redirect to a host to which the login is not sent.
// The login was not checked.
func (o *origin) leftBehind(to *url.URL, status int, q apiRequest) *registry.Error {
	where := cleanLine(to.Scheme+"://"+to.Host, 64)
	e := errorf(registry.ErrInsecure, "the registry redirects to %s, which requires a login (%d); the login was not sent there", where, status)
	e.Hint = "if " + where + " is the registry, use that host in the profile and the names of images; else correct the redirect in the " +
		"configuration of the registry, or of a proxy before it"
	if q.elsewhere.authorizer != nil && to.Scheme == "https" && !strings.EqualFold(to.Host, o.base.Host) && !o.s.c.allowsRealm(to.Hostname()) {
		e.Hint += "; if the login may be sent there, as " + string(q.elsewhere.rules.runtime) + " does, add the host to Checker.Realms"
	}
	return e
}

// unsupportedScheme returns the verdict on a registry that offers only schemes which container runtimes do not support;
// nil if it offers a supported one, or none at all. No login is sent, because the registry did not request one in a
// form that is supported.
func unsupportedScheme(challenges []challenge) *registry.Error {
	if len(challenges) == 0 || choose(challenges).scheme != "" {
		return nil
	}
	var offered []string
	for _, c := range challenges {
		name := cleanLine(c.scheme, 32)
		if c.scheme == schemeBearer {
			name = "Bearer without a realm"
		}
		if !slices.Contains(offered, name) && len(offered) < 8 {
			offered = append(offered, name)
		}
	}
	e := errorf(registry.ErrUnsupported, "the registry requires a login by %s, which container runtimes do not support", strings.Join(offered, ", "))
	e.Hint = "configure the registry, or the proxy before it, to offer Basic or Bearer with a realm; nothing was sent"
	return e
}

// sameOrigin reports whether a login for one URL may be sent to the other: the scheme, host and port must be the same.
func sameOrigin(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && strings.EqualFold(a.Host, b.Host)
}

// checkAddress rejects a host by its name. The guarded transport checks the addresses that a name resolves to.
func (o *origin) checkAddress(u *url.URL) error {
	if to := egress.ZoneOfName(u.Hostname()); !mayReach(o.zone(), to) {
		e := errorf(registry.ErrInsecure, "the registry names a server at an address that is private to this machine or "+
			"network, %s", cleanLine(u.Host, 64))
		e.Hint = "nothing was sent; if it belongs to the registry, add its host to Checker.Realms"
		return e
	}
	return nil
}

// allowsRealm reports whether the host is one of Realms, in upper or lower case.
func (c *Checker) allowsRealm(host string) bool {
	host = strings.ToLower(host)
	for _, pattern := range c.Realms {
		pattern = strings.ToLower(pattern)
		if suffix, ok := strings.CutPrefix(pattern, "*."); ok && strings.HasSuffix(host, "."+suffix) || pattern == host {
			return true
		}
	}
	return false
}

// SameSite reports whether two hosts are below one name with one owner, as far as the names show: registry-1.docker.io
// and auth.docker.io, registry.gitlab.com and gitlab.com.
func SameSite(a, b string) bool {
	a, b = strings.ToLower(a), strings.ToLower(b)
	if egress.ZoneOfName(a) == egress.Reserved || net.ParseIP(a) != nil || net.ParseIP(b) != nil {
		return a == b
	}
	if a == b || strings.HasSuffix(b, "."+a) && hasOwner(a) {
		return true
	}
	_, parent, _ := strings.Cut(a, ".")
	return hasOwner(parent) && (b == parent || strings.HasSuffix(b, "."+parent))
}

// hasOwner reports whether everything below the name belongs to one owner: the name is neither a public suffix, such as
// com, co.uk and github.io, nor the name of a registry service whose customers have names below it.
func hasOwner(name string) bool {
	if _, err := publicsuffix.EffectiveTLDPlusOne(name); err != nil {
		return false
	}
	return !slices.ContainsFunc(customerSuffixes, func(p string) bool { return p == name || strings.HasPrefix(p, "*.") && hostBelow(name, p[2:]) }) &&
		!customerRegions.MatchString(name)
}

func hostBelow(name, suffix string) bool {
	return name == suffix || strings.HasSuffix(name, "."+suffix)
}

// customerSuffixes are names of registry services, not in the list of public suffixes, below which each customer has a
// host. "*." matches all names below it too. Their token servers are at the registry's own host.
var customerSuffixes = []string{
	"azurecr.io", "azurecr.cn", "azurecr.us", // https://learn.microsoft.com/azure/container-registry
	"jfrog.io", "*.cr.aliyuncs.com", "*.tencentcloudcr.com",
	"*.container-registry.ovh.net",
	"nip.io", "sslip.io", // Names for any address.
}

// customerRegions are the parts of ECR's names below which each account has a host.
var customerRegions = regexp.MustCompile(`(^|\.)(dkr[.-]ecr(-fips)?\.[a-z0-9-]+\.|ecr\.[a-z0-9-]+\.)(amazonaws\.|on\.(aws|amazonwebservices)|sc2s\.|c2s\.|cloud\.adc-e\.|csp\.hci\.)`)

// knownPair reports whether the token server is known to belong to the registry although its site is another. Source:
// the challenges of these registries.
func knownPair(registryHost, realmHost string) bool {
	switch registryHost {
	case "registry.redhat.io":
		return realmHost == "sso.redhat.com"
	case "nvcr.io":
		return realmHost == "authn.nvidia.com"
	case "lscr.io":
		return realmHost == "ghcr.io"
	}
	return false
}

// guardedTransport returns a copy of h that applies the policy. The copy does not connect to addresses that a registry
// in the zone from may not name, whatever host name resolves to them. For requests through a proxy, the proxy has to
// guard the network behind it.
func (c *Checker) guardedTransport(h *http.Transport, policy *egress.Policy, from egress.Zone) *http.Transport {
	key := guardKey{h, from}
	c.mu.Lock()
	defer c.mu.Unlock()
	if g := c.guarded[key]; g != nil {
		return g
	}
	g := h.Clone()
	check := func(to netip.AddrPort) error {
		if !mayReach(from, egress.ZoneOf(to.Addr())) {
			return errForbiddenAddress
		}
		return nil
	}
	g.DialContext = (&egress.Dialer{Policy: policy, Check: check}).DialContext
	if c.guarded == nil || len(c.guarded) >= maxGuarded {
		for _, old := range c.guarded {
			old.CloseIdleConnections()
		}
		c.guarded = make(map[guardKey]*http.Transport)
	}
	c.guarded[key] = g
	return g
}

type guardKey struct {
	transport *http.Transport
	from      egress.Zone
}

// maxGuarded bounds the number of guarded transports that are kept while transports come and go.
const maxGuarded = 256

var errForbiddenAddress = errors.New("the registry names a server whose name leads to an address that is private to this " +
	"machine or network")

// mayReach reports whether a registry in one zone may name a server in another. The server may be on the internet or in
// the registry's zone, but never one that only this program can reach.
func mayReach(from, to egress.Zone) bool {
	return to == egress.Public || to == from && (to == egress.Private || to == egress.Loopback)
}

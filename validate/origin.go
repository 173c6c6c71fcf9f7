package validate

import (
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/egress"
	"github.com/regcred/regcred/registry"
)

// An origin is a registry as reached through one transport, with the session's knowledge about it.
type origin struct {
	s         *session
	host      string   // As in the names of images.
	base      *url.URL // https://registry-1.docker.io
	prefix    string   // base as text.
	rt        http.RoundTripper
	transport *http.Transport // Nil if Checker.RoundTripper is set.
	egress    *egress.Policy

	slots chan struct{} // As many as Checker.PerRegistry.
	ping  singleFlight[*pingResult]

	mu          sync.Mutex
	seenAs      egress.Zone // The zone of the address that was connected to.
	pause       time.Time
	vendor      vendor
	useGET      bool // A HEAD request had an incorrect response.
	authorizers map[authorizerKey]*authorizer
	getOnly     map[string]bool // Token servers that reject POST, by realm.
	basicLogins map[basicKey]*singleFlight[*basicLogin]
}

type originKey struct {
	host      string
	transport transportKey
}

// A transportKey identifies a transport to a registry.
type transportKey struct {
	credentials.Fingerprint
	egress *egress.Policy
}

// transportOf returns the candidate's transport, with the policy that applies to it.
func (c *Checker) transportOf(candidate *Candidate) registry.TransportConfig {
	t := candidate.Transport
	if t.Egress == nil {
		t.Egress = c.Egress
	}
	return t
}

// origin returns the registry at the host, as written in the names of images.
func (s *session) origin(key originKey, way registry.TransportConfig) (*origin, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o := s.origins[key]; o != nil {
		return o, nil
	}
	if _, err := registry.ParseEndpoint(key.host); err != nil {
		return nil, &registry.Error{Code: registry.ErrInvalid, Err: err}
	}
	// The endpoint is not the result of ParseEndpoint: a node sends the requests for registry.hub.docker.com/app or
	// DOCKER.IO/app to that host, not to Docker Hub's API.
	endpoint := registry.Endpoint{Host: key.host}
	o := &origin{
		s:           s,
		host:        strings.ToLower(endpoint.Host),
		base:        &url.URL{Scheme: way.Scheme(), Host: strings.ToLower(endpoint.APIHost())},
		rt:          s.c.RoundTripper,
		egress:      way.Egress,
		ping:        newSingleFlight[*pingResult](),
		authorizers: make(map[authorizerKey]*authorizer),
	}
	o.slots = s.c.hostSlots.slots(o.base.Host, s.c.perRegistry())
	o.prefix = o.base.String()
	o.vendor = vendorOfHost(o.host)
	if o.rt == nil {
		var err error
		if o.transport, err = s.transports.For(way); err != nil {
			return nil, &registry.Error{Code: registry.ErrInvalid, Err: err}
		}
		o.rt = o.transport
	}
	s.origins[key] = o
	return o, nil
}

// zone returns the zone of the registry's address: the zone of its name, or else of the address that was connected to.
func (o *origin) zone() egress.Zone {
	if p := egress.ZoneOfName(o.base.Hostname()); p != egress.Public {
		return p
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.seenAs
}

// traceAddress records the address of the registry, unless the connection goes through a proxy.
func (o *origin) traceAddress(req *http.Request) *http.Request {
	if o.transport == nil {
		return req
	}
	if o.transport.Proxy != nil {
		if proxy, err := o.transport.Proxy(req); err != nil || proxy != nil {
			return req
		}
	}
	note := func(info httptrace.GotConnInfo) {
		if ap, err := netip.ParseAddrPort(info.Conn.RemoteAddr().String()); err == nil {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.seenAs = egress.ZoneOf(ap.Addr())
		}
	}
	return req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{GotConn: note}))
}

// roundTripper returns the transport to the host of the request: the plain transport for the registry and the hosts
// that the program allows, and the guarded one for all others.
func (o *origin) roundTripper(req *http.Request) http.RoundTripper {
	host := req.URL.Hostname()
	if o.transport == nil || host == o.base.Hostname() || o.s.c.allowsRealm(host) {
		return o.rt
	}
	if o.transport.Proxy != nil {
		if proxy, err := o.transport.Proxy(req); err != nil || proxy != nil {
			return o.rt
		}
	}
	return o.s.c.guardedTransport(o.transport, o.egress, o.zone())
}

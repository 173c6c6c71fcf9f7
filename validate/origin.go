package validate

import (
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"sync"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
)

// An origin is a registry on one way, and what a session learned about it.
type origin struct {
	s      *session
	host   string   // As in the names of images.
	base   *url.URL // https://registry-1.docker.io
	prefix string   // The same as text.
	rt     http.RoundTripper
	way    *http.Transport // Nil with Checker.RoundTripper.

	slots chan struct{} // Checker.PerRegistry.
	ping  cell[*pingAnswer]

	mu       sync.Mutex
	at       place // Where the registry was seen, apart from what its name tells.
	pause    time.Time
	vendor   vendor
	useGET   bool // HEAD was seen to lie.
	accounts map[credentials.Fingerprint]*account
}

type originKey struct {
	host string
	way  credentials.Fingerprint
}

// origin returns the registry at the host, as it stands in the names of images.
func (s *session) origin(key originKey, way registry.TransportConfig) (*origin, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o := s.origins[key]; o != nil {
		return o, nil
	}
	endpoint, err := registry.ParseEndpoint(key.host)
	if err != nil {
		return nil, &registry.Error{Code: registry.ErrInvalid, Err: err}
	}
	o := &origin{
		s:        s,
		host:     endpoint.Host,
		base:     &url.URL{Scheme: way.Scheme(), Host: endpoint.APIHost()},
		rt:       s.c.RoundTripper,
		ping:     newCell[*pingAnswer](),
		accounts: make(map[credentials.Fingerprint]*account),
	}
	o.slots = s.c.turns.at(o.base.Host, s.c.perRegistry())
	o.prefix = o.base.String()
	o.vendor = vendorOfHost(endpoint.Host)
	if o.rt == nil {
		if o.way, err = s.transports.For(way); err != nil {
			return nil, &registry.Error{Code: registry.ErrInvalid, Err: err}
		}
		o.rt = o.way
	}
	s.origins[key] = o
	return o, nil
}

// place is where the registry is: at the address its name is, or at that where it was seen.
func (o *origin) place() place {
	if p := placeOfName(o.base.Hostname()); p != onInternet {
		return p
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.at
}

// watch notes where the registry is, unless a proxy stands in between.
func (o *origin) watch(req *http.Request) *http.Request {
	if o.way == nil {
		return req
	}
	if o.way.Proxy != nil {
		if proxy, err := o.way.Proxy(req); err != nil || proxy != nil {
			return req
		}
	}
	note := func(info httptrace.GotConnInfo) {
		if ap, err := netip.ParseAddrPort(info.Conn.RemoteAddr().String()); err == nil {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.at = placeOf(ap.Addr())
		}
	}
	return req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{GotConn: note}))
}

// roundTripper returns the way to the host that a URL names: to the registry and the hosts that the program allows the
// plain one, to all others the guarded one.
func (o *origin) roundTripper(req *http.Request) http.RoundTripper {
	host := req.URL.Hostname()
	if o.way == nil || host == o.base.Hostname() || o.s.c.listed(host) {
		return o.rt
	}
	if o.way.Proxy != nil {
		if proxy, err := o.way.Proxy(req); err != nil || proxy != nil {
			return o.rt
		}
	}
	return o.s.c.guardedTransport(o.way, o.place())
}

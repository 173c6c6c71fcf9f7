package validate

import (
	"net/http"
	"net/url"
	"sync"

	"github.com/regcred/regcred/registry"
)

// A Guard sends the requests of a program that talks to one registry itself, under the rules that a [Checker] follows:
// to the registry and to the token servers that it may name, with a login only where a login may be sent, and only to
// addresses that [registry.TransportConfig.Egress], [Checker.Egress] and [Checker.Realms] allow. It does not retry, and
// returns redirects instead of following them. It is safe for concurrent use. [Checker.Guard] returns one.
type Guard struct {
	o *origin

	mu     sync.Mutex
	realms map[string]bool // By scheme and host; true if a login may be sent there.
}

// Guard returns the guard of the registry at the endpoint. It uses the connections of the Checker. The error is a
// [registry.Error] with the code [registry.ErrInvalid] if the endpoint or the transport is invalid.
func (c *Checker) Guard(endpoint registry.Endpoint, transport registry.TransportConfig) (*Guard, error) {
	candidate := Candidate{Transport: transport}
	way := c.transportOf(&candidate)
	key := originKey{endpoint.Host, transportKey{way.Fingerprint(), way.Egress}}
	o, err := c.session().origin(key, way)
	if err != nil {
		return nil, err
	}
	return &Guard{o: o, realms: make(map[string]bool)}, nil
}

// URL returns the URL of the registry's API without a path: "https://registry-1.docker.io". The caller owns it.
func (g *Guard) URL() *url.URL {
	base := *g.o.base
	return &base
}

// TokenServer returns the URL of the token server that the realm of a challenge names. From then on, RoundTrip sends
// requests to its host, with a login if login is set. The error is a [registry.Error] with the code
// [registry.ErrInsecure] if the registry may not name this server, or not for a login.
//
// The address that the name resolves to may be checked against the address of the registry. Send a request to the
// registry first, so that its address is known.
func (g *Guard) TokenServer(realm string, login bool) (*url.URL, error) {
	u, _, err := g.o.checkRealm(realm, login)
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	at := originOf(u)
	g.realms[at] = g.realms[at] || login
	return u, nil
}

func originOf(u *url.URL) string { return u.Scheme + "://" + u.Host }

// RoundTrip implements [http.RoundTripper]. Its error is a [registry.Error]. The code is [registry.ErrInsecure] if the
// request is for a server other than the registry or a token server that TokenServer accepted, or if it has a login or
// a body and TokenServer accepted the server only for requests without one.
func (g *Guard) RoundTrip(req *http.Request) (*http.Response, error) {
	own := sameOrigin(req.URL, g.o.base)
	if !own {
		g.mu.Lock()
		login, known := g.realms[originOf(req.URL)]
		g.mu.Unlock()
		private := req.Header.Get("Authorization") != "" || req.Body != nil && req.Body != http.NoBody
		if !known || private && !login {
			closeBody(req)
			return nil, insecureRealm("a request for %s, which is not a server that this registry may name", cleanLine(req.URL.Host, 64))
		}
	}
	if err := g.o.egress.CheckURL(req.URL); err != nil {
		closeBody(req)
		return nil, netError(req.Context(), err)
	}
	if own {
		req = g.o.traceAddress(req)
	}
	res, err := g.o.roundTripper(req).RoundTrip(req)
	if err != nil {
		return nil, netError(req.Context(), err)
	}
	return res, nil
}

// CloseIdleConnections closes the idle connections to the registry and its token servers, so that the next request has a
// new one. On a new connection, net/http never repeats a request. Other users of the same [registry.Transports] may
// use the connections too; they make new ones. It has no effect if [Checker.RoundTripper] is set and has no method of
// that name.
func (g *Guard) CloseIdleConnections() {
	if c, ok := g.o.rt.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
	c := g.o.s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, guarded := range c.guarded {
		if key.transport == g.o.transport {
			guarded.CloseIdleConnections()
		}
	}
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}

// Lockout returns the documented reaction of the registry's vendor to rejected logins: "Quay rejects every login of a
// user for a time that doubles with each". The vendor is known by the registry's host, or by the header of a response.
// Empty means that no reaction is documented.
func (g *Guard) Lockout(header http.Header) string {
	g.o.setVendor(vendorOfResponse(parseChallenges(header), header))
	return lockouts[g.o.knownVendor()]
}

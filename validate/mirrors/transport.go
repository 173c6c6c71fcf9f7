package mirrors

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/regcred/regcred/egress"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/validate"
)

// A hopTransport turns the requests of a check into those that a runtime sends to a host: with the root of its API, the
// query parameter ns, and the headers of hosts.toml.
type hopTransport struct {
	hop     Hop
	inner   http.RoundTripper
	policy  *egress.Policy
	trusted []string
	// plainHTTP permits requests to all hosts without TLS: by Checker.PlainHTTP, or because none has a login.
	plainHTTP bool
	// headerToTokenServer: the token server receives all headers of hosts.toml, if it is at the host itself.
	headerToTokenServer bool
	direct              bool // No proxy is configured, so that requests to this machine do not leave it.

	mu           sync.Mutex
	zone         egress.Zone     // Of the address of the host.
	redirected   map[string]bool // URLs at the host that it redirects to, which stay as they are.
	tokenServers map[string]bool // That the host names; see tokenServer.
	guarded      *http.Transport // For other hosts.
	refused      bool            // The host speaks plain HTTP only, which is not permitted.
}

// RoundTrip sends the request.
func (t *hopTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if hasBody := req.Body != nil && req.Body != http.NoBody; req.URL.Scheme != "https" && (hasBody || req.Header.Get("Authorization") != "") && !t.mayBeRead(req.URL.Host) {
		closeBody(req)
		return nil, &registry.Error{Code: registry.ErrInsecure, Err: errPlainHTTP(req.URL.Host), Hint: plainHTTPHint}
	}
	if !strings.EqualFold(req.URL.Host, t.hop.Host) {
		return t.other(req)
	}
	t.mu.Lock()
	redirected := t.redirected[req.URL.String()]
	t.mu.Unlock()
	if p, ok := t.hop.requestPath(req.URL.Path); ok && !redirected {
		req = t.rewrite(req, p)
	}
	if len(t.hop.header) > 0 && (t.headerToTokenServer || !t.isTokenServer(req.URL)) {
		req = req.Clone(req.Context())
		t.addHeader(req, "")
	}
	res, err := t.inner.RoundTrip(t.traceAddress(req))
	if err != nil {
		if t.hop.HTTPFallback && req.URL.Scheme == "https" && isPlainHTTP(err) && !t.mayBeRead(t.hop.Host) {
			t.mu.Lock()
			t.refused = true
			t.mu.Unlock()
			return nil, &registry.Error{Code: registry.ErrInsecure, Err: errPlainHTTP(t.hop.Host), Hint: plainHTTPHint}
		}
		return nil, t.errorWithoutHeader(err)
	}
	t.noteTokenServers(res.Header)
	if location := res.Header.Get("Location"); location != "" && res.StatusCode/100 == 3 {
		if next, err := req.URL.Parse(location); err == nil {
			res.Header.Set("Location", next.String()) // It is relative to the path that was requested.
			t.mu.Lock()
			if t.redirected == nil {
				t.redirected = make(map[string]bool)
			}
			if len(t.redirected) < maxRedirected && strings.EqualFold(next.Host, t.hop.Host) {
				t.redirected[next.String()] = true
			}
			t.mu.Unlock()
		}
	}
	return t.withoutHeader(res), nil
}

// maxRedirected and maxTokenServers bound what a hostile host can make the check remember. A check of an image sends a
// few thousand requests at most.
const (
	maxRedirected   = 4096
	maxTokenServers = 16
)

// requestPath returns the path that the runtime requests in place of a path of the registry API. It reports false for
// other paths, such as /v2/auth of Quay's token server.
func (h *Hop) requestPath(p string) (string, bool) {
	rest, ok := strings.CutPrefix(p, "/v2/")
	switch {
	case ok && rest == "":
		return path.Join("/", h.Path) + "/", true
	case ok && strings.HasPrefix(rest, h.Repository+"/"):
		return path.Join("/", h.Path, rest), true
	}
	return "", false
}

// isPing reports whether the path of the registry API is the root, which is requested without the parameter ns.
func isPing(p string) bool { return p == "/v2/" }

// rewrite returns the request with the path p and the query that the runtime sends.
func (t *hopTransport) rewrite(req *http.Request, p string) *http.Request {
	ping := isPing(req.URL.Path)
	req = req.Clone(req.Context())
	req.URL.Path, req.URL.RawPath = p, ""
	if !ping && t.hop.Namespace != "" {
		query := req.URL.Query()
		query.Set("ns", t.hop.Namespace)
		req.URL.RawQuery = query.Encode()
	}
	return req
}

// addHeader adds the headers of hosts.toml, or only the one with a name. A login replaces the header Authorization.
func (t *hopTransport) addHeader(req *http.Request, only string) {
	set := make(map[string]bool)
	for _, f := range t.hop.header {
		switch {
		case only != "" && f.name != only, f.name == "Authorization" && !set[f.name] && req.Header.Get(f.name) != "":
		case set[f.name]:
			req.Header.Add(f.name, f.value.Reveal())
		default:
			set[f.name] = true
			req.Header.Set(f.name, f.value.Reveal())
		}
	}
}

var realmParameter = regexp.MustCompile(`(?i)\brealm\s*=\s*"?([^",\s]+)`)

// noteTokenServers remembers the token servers in the host's challenges.
func (t *hopTransport) noteTokenServers(header http.Header) {
	for _, challenge := range header.Values("WWW-Authenticate") {
		for _, match := range realmParameter.FindAllStringSubmatch(challenge, maxTokenServers) {
			u, err := url.Parse(match[1])
			if err != nil || u.Host == "" {
				continue
			}
			t.mu.Lock()
			if t.tokenServers == nil {
				t.tokenServers = make(map[string]bool)
			}
			if len(t.tokenServers) < maxTokenServers {
				t.tokenServers[tokenServer(u)] = true
			}
			t.mu.Unlock()
		}
	}
}

// isTokenServer reports whether the host named the URL as its token server.
func (t *hopTransport) isTokenServer(u *url.URL) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.tokenServers[tokenServer(u)]
}

// tokenServer identifies a token server. The scheme and the port are left out, because the check replaces them in a
// realm over plain HTTP at the registry's own host.
func tokenServer(u *url.URL) string { return strings.ToLower(u.Hostname()) + u.Path }

// other sends a request to another host that the registry names: a token server, or a storage. The addresses of such
// hosts must be public, or in the network of the registry.
func (t *hopTransport) other(req *http.Request) (*http.Response, error) {
	if t.hop.HeaderToTokenServer && req.Header.Get("Authorization") == "" && t.isTokenServer(req.URL) {
		if !t.mayReceiveHeader(req.URL) {
			closeBody(req)
			return nil, &registry.Error{
				Code: registry.ErrInsecure,
				Err:  fmt.Errorf("the runtime would send the header Authorization of hosts.toml to the token server %s", shown(req.URL.Host)),
				Hint: "nothing was sent; if this https server may have the login, add it to Checker.Trusted",
			}
		}
		req = req.Clone(req.Context())
		t.addHeader(req, "Authorization")
	}
	res, err := t.send(req)
	if err != nil {
		return nil, t.errorWithoutHeader(err)
	}
	return t.withoutHeader(res), nil
}

// mayReceiveHeader reports whether the header Authorization of hosts.toml may be sent to the URL of another host.
func (t *hopTransport) mayReceiveHeader(u *url.URL) bool {
	return (u.Scheme == "https" || t.mayBeRead(u.Host)) &&
		(trusted(t.trusted, u.Host) || validate.SameSite(hostname(t.hop.Host), hostname(u.Host)))
}

// send sends a request to another host.
func (t *hopTransport) send(req *http.Request) (*http.Response, error) {
	connections, ok := t.inner.(*http.Transport)
	if !ok || trusted(t.trusted, req.URL.Host) {
		return t.inner.RoundTrip(req)
	}
	if usesProxy(connections, req) {
		return t.inner.RoundTrip(req)
	}
	t.mu.Lock()
	if t.guarded == nil {
		t.guarded = connections.Clone()
		t.guarded.DisableKeepAlives = true
		t.guarded.DialContext = (&egress.Dialer{Policy: t.policy, Check: t.checkAddress}).DialContext
	}
	guarded := t.guarded
	t.mu.Unlock()
	return guarded.RoundTrip(req)
}

// usesProxy reports whether the request goes through a proxy, which makes the connections to the host.
func usesProxy(t *http.Transport, req *http.Request) bool {
	if t.Proxy == nil {
		return false
	}
	proxy, err := t.Proxy(req)
	return err != nil || proxy != nil
}

func (t *hopTransport) checkAddress(to netip.AddrPort) error {
	from := egress.ZoneOfName(hostname(t.hop.Host))
	t.mu.Lock()
	if from == egress.Public {
		from = t.zone
	}
	t.mu.Unlock()
	zone := egress.ZoneOf(to.Addr())
	if zone == egress.Public || zone == from && (zone == egress.Private || zone == egress.Loopback) {
		return nil
	}
	return &registry.Error{
		Code: registry.ErrInsecure,
		Err:  errors.New("the registry names a server at an address that is private to this machine or network"),
		Hint: "nothing was sent; if that server belongs to the registry, add its host to Checker.Trusted",
	}
}

// traceAddress records the zone of the address of the host, unless the connection goes through a proxy.
func (t *hopTransport) traceAddress(req *http.Request) *http.Request {
	if connections, ok := t.inner.(*http.Transport); !ok || usesProxy(connections, req) {
		return req
	}
	return req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		if at, err := netip.ParseAddrPort(info.Conn.RemoteAddr().String()); err == nil {
			t.mu.Lock()
			defer t.mu.Unlock()
			t.zone = egress.ZoneOf(at.Addr())
		}
	}}))
}

// defaultTimeout is the default of [validate.Checker.Timeout].
const defaultTimeout = 30 * time.Second

const plainHTTPHint = "nothing was sent; give the host a certificate, or set Checker.PlainHTTP if the login may be readable on the network path"

func errPlainHTTP(host string) error {
	return fmt.Errorf("a login would be sent to %s over plain HTTP", shown(host))
}

// mayBeRead reports whether requests to the host may be sent over plain HTTP.
func (t *hopTransport) mayBeRead(host string) bool {
	return t.plainHTTP || t.direct && isLoopback(host)
}

// refusedPlainHTTP reports whether the host speaks plain HTTP only, and receives no request because of that.
func (t *hopTransport) refusedPlainHTTP() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.refused
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}

// isPlainHTTP reports whether a client that started TLS was answered with plain HTTP.
func isPlainHTTP(err error) bool {
	header, ok := errors.AsType[tls.RecordHeaderError](err)
	return ok && string(header.RecordHeader[:]) == "HTTP/" || errors.Is(err, http.ErrSchemeMismatch)
}

// speaksPlainHTTP reports whether the host answers with plain HTTP to a client that starts TLS.
func (t *hopTransport) speaksPlainHTTP(ctx context.Context, timeout time.Duration) bool {
	u := &url.URL{Scheme: "https", Host: t.hop.Host, Path: path.Join("/", t.hop.Path) + "/"}
	if t.policy.CheckURL(u) != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, u.String(), nil)
	if err != nil {
		return false
	}
	res, err := t.inner.RoundTrip(req)
	if err != nil {
		return isPlainHTTP(err)
	}
	_ = res.Body.Close()
	return false
}

// showPaths puts the real paths into the evidence.
func (t *hopTransport) showPaths(r *validate.Result) {
	for i := range r.Attempts {
		r.Attempts[i].Exchanges = slices.Clone(r.Attempts[i].Exchanges)
		for j := range r.Attempts[i].Exchanges {
			e := &r.Attempts[i].Exchanges[j]
			u, err := url.Parse(e.URL)
			if err != nil || !strings.EqualFold(u.Host, t.hop.Host) {
				continue
			}
			if p, ok := t.hop.requestPath(u.Path); ok {
				e.URL = u.Scheme + "://" + u.Host + p
				if !isPing(u.Path) && t.hop.Namespace != "" {
					e.URL += "?ns=" + url.QueryEscape(t.hop.Namespace)
				}
			}
		}
	}
}

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
	direct    bool // No proxy is configured, so that requests to this machine do not leave it.

	mu         sync.Mutex
	zone       egress.Zone     // Of the address of the host.
	redirected map[string]bool // URLs that the host redirects to, which stay as they are.
	guarded    *http.Transport // For other hosts.
	refused    bool            // The host speaks plain HTTP only, which is not permitted.
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
	if rest, ok := strings.CutPrefix(req.URL.Path, "/v2/"); ok && !redirected {
		req = t.rewrite(req, rest)
	}
	t.addHeader(req)
	res, err := t.inner.RoundTrip(t.traceAddress(req))
	if err != nil {
		if t.hop.HTTPFallback && req.URL.Scheme == "https" && isPlainHTTP(err) && !t.mayBeRead(t.hop.Host) {
			t.mu.Lock()
			t.refused = true
			t.mu.Unlock()
			err = &registry.Error{Code: registry.ErrInsecure, Err: errPlainHTTP(t.hop.Host), Hint: plainHTTPHint}
		}
		return nil, err
	}
	if location := res.Header.Get("Location"); location != "" {
		if next, err := req.URL.Parse(location); err == nil {
			res.Header.Set("Location", next.String()) // It is relative to the path that was requested.
			t.mu.Lock()
			if t.redirected == nil {
				t.redirected = make(map[string]bool)
			}
			t.redirected[next.String()] = true
			t.mu.Unlock()
		}
	}
	return res, nil
}

// rewrite returns the request with the path and the query that the runtime sends.
func (t *hopTransport) rewrite(req *http.Request, rest string) *http.Request {
	req = req.Clone(req.Context())
	req.URL.Path = path.Join("/", t.hop.Path, rest)
	if rest == "" {
		req.URL.Path += "/"
	} else if t.hop.Namespace != "" {
		query := req.URL.Query()
		query.Set("ns", t.hop.Namespace)
		req.URL.RawQuery = query.Encode()
	}
	return req
}

// addHeader adds the headers of hosts.toml. A login replaces the header Authorization.
func (t *hopTransport) addHeader(req *http.Request) {
	for _, f := range t.hop.header {
		if f.name != "Authorization" || req.Header.Get(f.name) == "" {
			req.Header.Set(f.name, f.value.Reveal())
		}
	}
}

// other sends a request to another host that the registry names: a token server, or a storage. The addresses of such
// hosts must be public, or in the network of the registry.
func (t *hopTransport) other(req *http.Request) (*http.Response, error) {
	if t.hop.HeaderToTokenServer && strings.Contains(req.URL.RawQuery, "scope=") && req.Header.Get("Authorization") == "" {
		req = req.Clone(req.Context())
		t.addHeader(req)
	}
	connections, ok := t.inner.(*http.Transport)
	if !ok || trusted(t.trusted, req.URL.Host) {
		return t.inner.RoundTrip(req)
	}
	if connections.Proxy != nil {
		if proxy, err := connections.Proxy(req); err != nil || proxy != nil {
			return t.inner.RoundTrip(req)
		}
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

var errPrivate = errors.New("the registry names a server at an address that is private to this machine or network")

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
	return errPrivate
}

// traceAddress records the zone of the address of the host.
func (t *hopTransport) traceAddress(req *http.Request) *http.Request {
	if _, ok := t.inner.(*http.Transport); !ok {
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
			if rest, ok := strings.CutPrefix(u.Path, "/v2/"); ok {
				e.URL = u.Scheme + "://" + u.Host + path.Join("/", t.hop.Path, rest)
				if rest == "" {
					e.URL += "/"
				} else if t.hop.Namespace != "" {
					e.URL += "?ns=" + t.hop.Namespace
				}
			}
		}
	}
}

package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
)

// Apply makes the transport follow the policy, which then determines the schemes and hosts of its requests, its proxy,
// and the addresses that it connects to. Call it before the first use of the transport. It does nothing if p is nil.
//
// The policy applies to the proxies of t.Proxy as to any other server. If t.Proxy is nil, the proxy of the environment
// is used if [Policy.EnvironmentProxy] is set. That proxy may have any address, because it belongs to the program.
func (p *Policy) Apply(t *http.Transport) {
	if p == nil {
		return
	}
	proxy, trusted := t.Proxy, map[string]bool{}
	if proxy == nil && p.EnvironmentProxy {
		proxy, trusted = ProxyFromEnvironment, environmentProxies()
	}
	t.Proxy = func(req *http.Request) (*url.URL, error) {
		if err := p.CheckURL(req.URL); err != nil {
			return nil, err
		}
		if proxy == nil {
			return nil, nil
		}
		via, err := proxy(req)
		if err == nil && via == nil && trusted[addressOf(req.URL)] {
			return nil, ErrForbidden // NO_PROXY names the proxy itself, whose address is not checked below.
		}
		return via, err
	}
	guarded := &Dialer{Policy: p}
	free := &Dialer{}
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if trusted[address] {
			return free.DialContext(ctx, network, address)
		}
		return guarded.DialContext(ctx, network, address)
	}
	t.DialTLSContext = nil
}

// addressOf returns the address that net/http dials for the host of a URL.
func addressOf(u *url.URL) string { return net.JoinHostPort(u.Hostname(), portOf(u)) }

// environmentProxies returns the addresses of the proxies that the environment names. Package net/http reads the
// environment once.
func environmentProxies() map[string]bool {
	found := make(map[string]bool)
	for _, scheme := range []string{"https", "http"} {
		req := &http.Request{URL: &url.URL{Scheme: scheme, Host: "regcred.invalid"}}
		if u, err := ProxyFromEnvironment(req); err == nil && u != nil {
			found[addressOf(u)] = true
		}
	}
	return found
}

// ErrEnvironmentProxy is the error of a proxy in the environment that cannot be used.
var ErrEnvironmentProxy = errors.New("the proxy of the environment is not the URL of a proxy")

// ProxyFromEnvironment returns the proxy for a request, like [http.ProxyFromEnvironment], but fails if the proxy is not
// a URL. Package net/http silently ignores such a proxy, and sends the request without one. The error wraps
// [ErrEnvironmentProxy] and contains the name of the variable, but not its value, which may hold a login.
func ProxyFromEnvironment(req *http.Request) (*url.URL, error) {
	u, err := http.ProxyFromEnvironment(req)
	if u != nil || err != nil {
		return u, err
	}
	names := []string{"HTTPS_PROXY", "https_proxy"}
	if req.URL.Scheme == "http" {
		names = []string{"HTTP_PROXY", "http_proxy"}
	}
	for _, name := range names {
		value := os.Getenv(name)
		if value == "" {
			continue
		}
		if !isProxy(value) {
			return nil, fmt.Errorf("%w: %s", ErrEnvironmentProxy, name)
		}
		break // The second name counts only where the first is empty.
	}
	return nil, nil
}

// isProxy reports whether net/http uses the value; see golang.org/x/net/http/httpproxy.
func isProxy(value string) bool {
	_, err := url.Parse(value)
	if err != nil {
		_, err = url.Parse("http://" + value)
	}
	return err == nil
}

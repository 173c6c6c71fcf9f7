package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/egress"
	"github.com/regcred/regcred/field"
)

// A TransportConfig says how a registry, and the issuer of its credentials, is reached, where the usual way will not do. The
// zero TransportConfig is the usual way: https, the system's certificate authorities, the proxy of the environment.
//
// It is for this program only. What a node trusts, and through which proxy it pulls, is set on the node; no pull secret
// carries it.
type TransportConfig struct {
	// CABundle holds certificates in PEM that are trusted beside those of the system.
	CABundle string `json:"caBundle,omitempty"`

	// ClientCertificate and ClientKey, both in PEM, are shown to a registry that asks for a client certificate.
	ClientCertificate string             `json:"clientCertificate,omitempty"`
	ClientKey         credentials.Secret `json:"clientKey,omitzero"`

	// Proxy is the URL of an HTTP or SOCKS5 proxy. Empty means that of the environment (HTTPS_PROXY, NO_PROXY);
	// "direct" means none.
	Proxy string `json:"proxy,omitempty"`
	// ProxyUsername and ProxyPassword are the login at the proxy. Empty means none.
	ProxyUsername string             `json:"proxyUsername,omitempty"`
	ProxyPassword credentials.Secret `json:"proxyPassword,omitzero"`

	// PlainHTTP speaks to the registry without TLS: whoever is on the way reads the login. It is for tests and for
	// closed networks.
	PlainHTTP bool `json:"plainHTTP,omitempty"`

	// Egress decides which servers may be connected to for this profile, and what else the profile may ask for. It is
	// set by the program, and has no JSON form, so that no profile can bring its own. If nil, the profile is trusted.
	Egress *egress.Policy `json:"-"`
}

// Direct is the [TransportConfig.Proxy] that means none.
const Direct = "direct"

// IsZero reports whether the profile asks for nothing but the usual way. Egress does not count.
func (t TransportConfig) IsZero() bool {
	return t.CABundle == "" && t.ClientCertificate == "" && t.ClientKey.IsZero() &&
		t.Proxy == "" && t.ProxyUsername == "" && t.ProxyPassword.IsZero() && !t.PlainHTTP
}

// Validate reports every problem at once, as a [field.Errors].
func (t TransportConfig) Validate() error {
	var p field.List
	if t.CABundle != "" {
		if err := addCertificates(x509.NewCertPool(), t.CABundle); err != nil {
			p.Add("caBundle", err.Error(), "certificates in PEM (-----BEGIN CERTIFICATE-----)")
		}
	}
	if (t.ClientCertificate == "") != t.ClientKey.IsZero() {
		p.Add("clientCertificate", "and clientKey are not both set", "both or none")
	} else if t.ClientCertificate != "" {
		if _, err := t.keyPair(); err != nil {
			p.Add("clientCertificate", "and clientKey are not a pair", "a certificate and its private key, both in PEM")
		}
	}
	if _, err := t.proxyURL(); err != nil {
		p.Add("proxy", err.Error(), `a URL such as http://proxy.example.com:3128, or "direct"`)
	}
	if t.ProxyUsername == "" && !t.ProxyPassword.IsZero() {
		p.Add("proxyUsername", "is missing", "the name that goes with proxyPassword")
	}
	if strings.Contains(t.ProxyUsername, ":") {
		p.Add("proxyUsername", "has a colon", "a name without one: the first colon ends the name")
	}
	if t.ProxyUsername != "" && (t.Proxy == "" || t.Proxy == Direct) {
		p.Add("proxyUsername", "is set without a proxy", "the URL of the proxy in proxy")
	}
	if e := t.Egress; e != nil && !e.AllowProxy && t.Proxy != "" {
		p.Add("proxy", "is not allowed here", "nothing: this program chooses the way to the registry")
	}
	if e := t.Egress; e != nil && !e.AllowPlainHTTP && t.PlainHTTP {
		p.Add("plainHTTP", "is not allowed here", "a registry with https")
	}
	return p.Err("")
}

func addCertificates(pool *x509.CertPool, bundle string) error {
	list, err := certificates(bundle)
	for _, cert := range list {
		pool.AddCert(cert)
	}
	return err
}

func (t TransportConfig) keyPair() (tls.Certificate, error) {
	return tls.X509KeyPair([]byte(t.ClientCertificate), t.ClientKey.AppendTo(nil))
}

// proxyURL returns nil for the environment's proxy and for none. Its errors do not quote the URL, which may hold a
// password.
func (t TransportConfig) proxyURL() (*url.URL, error) {
	if t.Proxy == "" || t.Proxy == Direct {
		return nil, nil
	}
	u, err := url.Parse(t.Proxy)
	switch {
	case err != nil || u.Hostname() == "":
		return nil, errors.New("is not a URL with a host")
	case u.User != nil:
		return nil, errors.New("holds a login: that goes into proxyUsername and proxyPassword")
	case u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "socks5" && u.Scheme != "socks5h":
		return nil, errors.New("has a scheme other than http, https and socks5")
	}
	if t.ProxyUsername != "" {
		u.User = url.UserPassword(t.ProxyUsername, t.ProxyPassword.Reveal())
	}
	return u, nil
}

// Fingerprint stands for the transport in a [credentials.Key]. That of the zero Transport is zero. Egress does not
// count, because it changes who may be asked for a credential and not which credential it is.
func (t TransportConfig) Fingerprint() credentials.Fingerprint {
	if t.IsZero() {
		return credentials.Fingerprint{}
	}
	d := credentials.NewHasher("transport")
	t.hashTo(d)
	return d.Sum()
}

func (t TransportConfig) hashTo(d *credentials.Hasher) {
	d.Texts([]string{t.CABundle, t.ClientCertificate, t.Proxy, t.ProxyUsername})
	d.Secret(t.ClientKey)
	d.Secret(t.ProxyPassword)
	d.Bool(t.PlainHTTP)
}

// Limits for what a registry may make this program wait for or hold. They are generous for an honest one.
const (
	dialTimeout           = 10 * time.Second
	tlsHandshakeTimeout   = 10 * time.Second
	responseHeaderTimeout = 30 * time.Second
	idleConnTimeout       = 90 * time.Second
	maxHeaderBytes        = 64 << 10
	maxIdleConnsPerHost   = 32
)

// HTTP returns a new [http.Transport] that goes the way t says, within what Egress allows, and with limits on time and
// header size. It keeps idle connections; close them, or use [Transports], which makes one for each way.
func (t TransportConfig) HTTP() (*http.Transport, error) {
	if err := t.Validate(); err != nil {
		return nil, err
	}
	h := &http.Transport{
		DialContext:            (&egress.Dialer{Timeout: dialTimeout}).DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    tlsHandshakeTimeout,
		ResponseHeaderTimeout:  responseHeaderTimeout,
		IdleConnTimeout:        idleConnTimeout,
		MaxResponseHeaderBytes: maxHeaderBytes,
		MaxIdleConnsPerHost:    maxIdleConnsPerHost,
		ForceAttemptHTTP2:      true,
		OnProxyConnectResponse: refusedByProxy,
	}
	switch u, _ := t.proxyURL(); {
	case u != nil:
		h.Proxy = http.ProxyURL(u)
	case t.Proxy == "" && t.Egress == nil:
		h.Proxy = egress.ProxyFromEnvironment
	}
	t.Egress.Apply(h)
	if t.CABundle != "" {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		if err := addCertificates(pool, t.CABundle); err != nil {
			return nil, err
		}
		h.TLSClientConfig.RootCAs = pool
	}
	if t.ClientCertificate != "" {
		pair, err := t.keyPair()
		if err != nil {
			return nil, errors.New("client certificate and key are not a pair")
		}
		h.TLSClientConfig.Certificates = []tls.Certificate{pair}
	}
	return h, nil
}

// refusedByProxy gives a proxy's refusal its code; net/http itself says no more than "Forbidden". A proxy that resolves
// names itself says in a header that there is none: Squid in X-Squid-Error, others, by RFC 9209, in Proxy-Status.
func refusedByProxy(_ context.Context, _ *url.URL, req *http.Request, res *http.Response) error {
	if res.StatusCode == http.StatusOK {
		return nil
	}
	code := ErrProxy
	if strings.HasPrefix(res.Header.Get("X-Squid-Error"), "ERR_DNS_FAIL") ||
		strings.Contains(res.Header.Get("Proxy-Status"), "error=dns_error") {
		code = ErrHostNotFound
	}
	return fmt.Errorf("%w: CONNECT %s: %s", code, req.Host, res.Status)
}

// Transports keeps one [http.Transport] for each way, so that connections are used again. The zero Transports is ready
// to use. Set the field before the first use; after that it is safe for concurrent use, and must not be copied.
type Transports struct {
	// MaxConnsPerHost is how many connections each way has to one host at most; what else is to be sent waits for one
	// of them. Zero means any number.
	MaxConnsPerHost int

	mu sync.Mutex
	m  map[transportKey]*http.Transport
}

// A transportKey identifies a way. Connections that were made under one policy are not used under another.
type transportKey struct {
	credentials.Fingerprint
	egress *egress.Policy
}

// maxTransports bounds what is kept when logins rotate or profiles come and go; the bound is far above the number of
// ways that one program has.
const maxTransports = 1024

// For returns the transport that goes the way t says.
func (ts *Transports) For(t TransportConfig) (*http.Transport, error) {
	t.PlainHTTP = false // That is in the URL.
	key := transportKey{t.Fingerprint(), t.Egress}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if h := ts.m[key]; h != nil {
		return h, nil
	}
	h, err := t.HTTP()
	if err != nil {
		return nil, err
	}
	h.MaxConnsPerHost = ts.MaxConnsPerHost
	if ts.m == nil || len(ts.m) >= maxTransports {
		ts.closeIdle()
		ts.m = make(map[transportKey]*http.Transport)
	}
	ts.m[key] = h
	return h, nil
}

// CloseIdleConnections closes all connections that are not in use.
func (ts *Transports) CloseIdleConnections() {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.closeIdle()
}

func (ts *Transports) closeIdle() {
	for _, h := range ts.m {
		h.CloseIdleConnections()
	}
}

// Scheme returns "http" or "https".
func (t TransportConfig) Scheme() string {
	if t.PlainHTTP {
		return "http"
	}
	return "https"
}

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

// A TransportConfig configures the connection to a registry and to the issuer of its credentials. The zero
// TransportConfig uses https, the system's certificate authorities, and the proxy of the environment.
//
// It applies to this program only. The authorities that a node trusts, and the proxy through which it pulls, are
// configured on the node; a pull secret cannot hold them.
type TransportConfig struct {
	// CABundle holds PEM certificates of authorities that are trusted in addition to the system's.
	CABundle string `json:"caBundle,omitempty"`

	// ClientCertificate and ClientKey, both in PEM, are presented to a registry that requests a client certificate.
	ClientCertificate string             `json:"clientCertificate,omitempty"`
	ClientKey         credentials.Secret `json:"clientKey,omitzero"`

	// Proxy is the URL of an HTTP or SOCKS5 proxy. Empty means the proxy of the environment (HTTPS_PROXY, NO_PROXY);
	// "direct" means none.
	Proxy string `json:"proxy,omitempty"`
	// ProxyUsername and ProxyPassword are the login at the proxy. Empty means none.
	ProxyUsername string             `json:"proxyUsername,omitempty"`
	ProxyPassword credentials.Secret `json:"proxyPassword,omitzero"`

	// PlainHTTP connects to the registry without TLS, so that anyone on the network path can read the login. It is for
	// tests and for closed networks.
	PlainHTTP bool `json:"plainHTTP,omitempty"`

	// Egress decides which servers this program may connect to for the profile, and which other features the profile may
	// use. The program sets it. It has no JSON form, so that a profile cannot bring its own. If nil, the profile is
	// trusted.
	Egress *egress.Policy `json:"-"`
}

// Direct is the value of [TransportConfig.Proxy] for no proxy.
const Direct = "direct"

// IsZero reports whether all fields other than Egress are zero.
func (t TransportConfig) IsZero() bool {
	return t.CABundle == "" && t.ClientCertificate == "" && t.ClientKey.IsZero() &&
		t.Proxy == "" && t.ProxyUsername == "" && t.ProxyPassword.IsZero() && !t.PlainHTTP
}

// Validate reports all problems at once as a [field.Errors].
func (t TransportConfig) Validate() error {
	var p field.List
	if t.CABundle != "" {
		if err := addCertificates(x509.NewCertPool(), t.CABundle); err != nil {
			p.Add("caBundle", err.Error(), "certificates in PEM (-----BEGIN CERTIFICATE-----)")
		}
	}
	if _, err := certificates(t.ClientCertificate); t.ClientCertificate != "" && err != nil {
		p.Add("clientCertificate", err.Error(), "certificates in PEM alone; the private key goes into clientKey")
	} else if (t.ClientCertificate == "") != t.ClientKey.IsZero() {
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
		p.Add("proxyUsername", "has a colon", "a name without a colon, because the first colon of a login ends the name")
	}
	if t.ProxyUsername != "" && (t.Proxy == "" || t.Proxy == Direct) {
		p.Add("proxyUsername", "is set without a proxy", "the URL of the proxy in proxy")
	}
	if e := t.Egress; e != nil && !e.AllowProxy && t.Proxy != "" {
		p.Add("proxy", "is not allowed here", "nothing: this program chooses the proxy")
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

// proxyURL returns the proxy of the configuration. It returns nil if the proxy of the environment, or no proxy, is to
// be used. Its errors do not quote the URL, which may hold a password.
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

// Fingerprint identifies the transport in a [credentials.Key]. It is zero for the zero TransportConfig. Egress is not
// part of it, because it limits which issuers a program may contact, and does not change the credential.
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

// Limits on the time for which a registry can keep this program waiting, and on the data that the program holds because
// of it. They are generous for a legitimate registry.
const (
	dialTimeout           = 10 * time.Second
	tlsHandshakeTimeout   = 10 * time.Second
	responseHeaderTimeout = 30 * time.Second
	idleConnTimeout       = 90 * time.Second
	maxHeaderBytes        = 64 << 10
	maxIdleConnsPerHost   = 32
)

// HTTP returns a new [http.Transport] for t, within the limits of Egress, and with limits on time and header size. It
// keeps idle connections: close them, or use [Transports], which shares one transport for each configuration.
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

// refusedByProxy turns a proxy's error response into an error with a code; net/http itself reports only "Forbidden". A
// proxy that resolves names itself reports an unknown host in a header: Squid in X-Squid-Error, others in Proxy-Status
// (RFC 9209).
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

// Transports keeps one [http.Transport] for each configuration, so that connections are reused. The zero Transports is
// ready to use. Set the field before the first use. After that it is safe for concurrent use, and must not be copied.
type Transports struct {
	// MaxConnsPerHost is the maximum number of connections that each transport has to one host. Further requests wait for
	// one of them. Zero means no limit.
	MaxConnsPerHost int

	mu sync.Mutex
	m  map[transportKey]*http.Transport
}

// A transportKey identifies a transport. Connections that were made under one policy are not used under another.
type transportKey struct {
	credentials.Fingerprint
	egress *egress.Policy
}

// maxTransports bounds the number of transports when logins rotate or profiles come and go. It is far above the number
// of configurations of one program.
const maxTransports = 1024

// For returns the transport for t.
func (ts *Transports) For(t TransportConfig) (*http.Transport, error) {
	t.PlainHTTP = false // The scheme of the URL decides.
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

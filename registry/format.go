package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/field"
)

// Redacted returns the profile without a login that a user wrote by mistake into the endpoint, a host, the proxy or the
// path of a file. The secrets of Login and Transport stay; they print as "[redacted]" themselves.
func (p Profile) Redacted() Profile {
	p.Endpoint, p.Transport.Proxy = field.Redact(p.Endpoint), field.Redact(p.Transport.Proxy)
	if p.Hosts != nil {
		hosts := make([]string, len(p.Hosts))
		for i, host := range p.Hosts {
			hosts[i] = field.Redact(host)
		}
		p.Hosts = hosts
	}
	if file := tokenFile(p.Login); strings.Contains(file, "://") { // A URL; the path of a file may well have an @ or a #.
		aws := *p.Login.AWS
		web := *aws.WebIdentity
		web.TokenFile = field.Redact(file)
		aws.WebIdentity, p.Login.AWS = &web, &aws
	}
	return p
}

func tokenFile(l credentials.Login) string {
	if l.AWS == nil || l.AWS.WebIdentity == nil {
		return ""
	}
	return l.AWS.WebIdentity.TokenFile
}

// Misplaced returns an error with [ErrInvalid] if the endpoint, a host, the proxy or the path of a file may hold a
// login that belongs in Login or Transport. Such a profile must not be stored or shown.
func (p Profile) Misplaced() error {
	r := p.Redacted()
	var problems field.List
	if r.Endpoint != p.Endpoint {
		problems.Add("endpoint", "may hold a login", "the host alone; the login goes into login")
	}
	if !slices.Equal(r.Hosts, p.Hosts) {
		problems.Add("hosts", "may hold a login", "the hosts alone; the login goes into login")
	}
	if r.Transport.Proxy != p.Transport.Proxy {
		problems.Add("transport.proxy", "may hold a login", "the URL alone; the login goes into proxyUsername and proxyPassword")
	}
	if tokenFile(r.Login) != tokenFile(p.Login) {
		problems.Add("login.aws.webIdentity.tokenFile", "may hold a login", "the path of a file")
	}
	return problems.Err(p.subject())
}

// Format implements [fmt.Formatter]. It omits a login that a user wrote into the wrong field.
func (p Profile) Format(s fmt.State, verb rune) {
	type plain Profile
	_, _ = fmt.Fprintf(s, fmt.FormatString(s, verb), plain(p.Redacted()))
}

// LogValue returns the fields that identify the profile in a log: name, tenant, kind and endpoint.
func (p Profile) LogValue() slog.Value {
	return slog.GroupValue(slog.String("name", p.Name), slog.String("tenant", p.Tenant), slog.String("kind", string(p.Kind)),
		slog.String("endpoint", field.Redact(p.Endpoint)))
}

// MarshalJSON fails if the profile holds a secret, as [credentials.Secret] does, or has a login in the wrong field; see
// [Profile.Misplaced]. Package profilestore encodes profiles with their secrets.
func (p Profile) MarshalJSON() ([]byte, error) {
	type plain Profile
	if err := p.Misplaced(); err != nil {
		return nil, err
	}
	return json.Marshal(plain(p))
}

// Format implements [fmt.Formatter]. It omits a login that a user wrote into the proxy by mistake.
func (t TransportConfig) Format(s fmt.State, verb rune) {
	type plain TransportConfig
	t.Proxy = field.Redact(t.Proxy)
	_, _ = fmt.Fprintf(s, fmt.FormatString(s, verb), plain(t))
}

// LogValue returns the proxy and other settings of the transport, without secrets and certificates.
func (t TransportConfig) LogValue() slog.Value {
	return slog.GroupValue(slog.String("proxy", field.Redact(t.Proxy)), slog.Bool("plainHTTP", t.PlainHTTP),
		slog.Bool("caBundle", t.CABundle != ""), slog.Bool("clientCertificate", t.ClientCertificate != ""))
}

// MarshalJSON fails if the transport holds a secret, or has a login in the URL of the proxy.
func (t TransportConfig) MarshalJSON() ([]byte, error) {
	type plain TransportConfig
	if field.Redact(t.Proxy) != t.Proxy {
		return nil, errors.New("the proxy of a transport may hold a login")
	}
	return json.Marshal(plain(t))
}

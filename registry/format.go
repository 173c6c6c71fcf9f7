package registry

import (
	"fmt"
	"log/slog"

	"github.com/regcred/regcred/field"
)

// Format prints the profile like package fmt, without a login that a user wrote into the endpoint or a host by mistake.
func (p Profile) Format(s fmt.State, verb rune) {
	type plain Profile
	p.Endpoint = field.Redact(p.Endpoint)
	if p.Hosts != nil {
		hosts := make([]string, len(p.Hosts))
		for i, host := range p.Hosts {
			hosts[i] = field.Redact(host)
		}
		p.Hosts = hosts
	}
	_, _ = fmt.Fprintf(s, fmt.FormatString(s, verb), plain(p))
}

// LogValue returns what a log needs to tell the profile from others: name, tenant, kind and endpoint.
func (p Profile) LogValue() slog.Value {
	return slog.GroupValue(slog.String("name", p.Name), slog.String("tenant", p.Tenant), slog.String("kind", string(p.Kind)),
		slog.String("endpoint", field.Redact(p.Endpoint)))
}

// Format prints the transport like package fmt, without a login that a user wrote into the proxy by mistake.
func (t TransportConfig) Format(s fmt.State, verb rune) {
	type plain TransportConfig
	t.Proxy = field.Redact(t.Proxy)
	_, _ = fmt.Fprintf(s, fmt.FormatString(s, verb), plain(t))
}

// LogValue returns how the registry is reached, without secrets and certificates.
func (t TransportConfig) LogValue() slog.Value {
	return slog.GroupValue(slog.String("proxy", field.Redact(t.Proxy)), slog.Bool("plainHTTP", t.PlainHTTP),
		slog.Bool("caBundle", t.CABundle != ""), slog.Bool("clientCertificate", t.ClientCertificate != ""))
}

package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/field"
)

// WithoutMisplaced returns the profile without a login that a user wrote by mistake into the endpoint, a host, the
// proxy, or a URL in a text of Login, and without certificates that have a private key beside them; see
// [Profile.Misplaced]. The secrets of Login and Transport stay, and print as "[redacted]". Package profilestore has a
// function that removes them.
func (p Profile) WithoutMisplaced() Profile {
	p.Endpoint, p.Transport = field.Redact(p.Endpoint), p.Transport.redacted()
	if p.Hosts != nil {
		hosts := make([]string, len(p.Hosts))
		for i, host := range p.Hosts {
			hosts[i] = field.Redact(host)
		}
		p.Hosts = hosts
	}
	p.Login, _ = withoutURLs(p.Login)
	return p
}

// withoutURLs returns the login with the result of [field.Redact] in place of each URL, and the paths of the URLs that
// this changed. No valid text of a login is a URL that contains a user name and password. Texts that are not URLs are
// unchanged, because the path of a file or a policy in JSON may contain an @ or a #.
func withoutURLs(l credentials.Login) (_ credentials.Login, changed []string) {
	var walk func(v reflect.Value, path string) reflect.Value // It returns a changed copy of v, or v itself if nothing changes.
	set := func(v reflect.Value, path string, part func(reflect.Value) reflect.Value) reflect.Value {
		before := len(changed)
		now := walk(part(v), path)
		if len(changed) == before {
			return v
		}
		c := reflect.New(v.Type()).Elem()
		switch c.Set(v); v.Kind() {
		case reflect.Pointer:
			c.Set(reflect.New(v.Type().Elem()))
		case reflect.Slice:
			c.Set(reflect.AppendSlice(reflect.MakeSlice(v.Type(), 0, v.Len()), v))
		default:
		}
		part(c).Set(now)
		return c
	}
	walk = func(v reflect.Value, path string) reflect.Value {
		switch v.Kind() {
		case reflect.String:
			text := v.String()
			redacted := field.Redact(text)
			if redacted == text || !strings.Contains(text, "://") || strings.HasPrefix(text, "{") {
				return v
			}
			changed = append(changed, path)
			return reflect.ValueOf(redacted).Convert(v.Type())
		case reflect.Pointer:
			if !v.IsNil() {
				v = set(v, path, reflect.Value.Elem)
			}
		case reflect.Slice:
			for i := range v.Len() {
				v = set(v, fmt.Sprintf("%s[%d]", path, i), func(v reflect.Value) reflect.Value { return v.Index(i) })
			}
		case reflect.Struct:
			for f := range v.Type().Fields() {
				if f.IsExported() {
					name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
					v = set(v, path+"."+name, func(v reflect.Value) reflect.Value { return v.FieldByIndex(f.Index) })
				}
			}
		default:
		}
		return v
	}
	l = walk(reflect.ValueOf(l), "login").Interface().(credentials.Login)
	settings := maps.Clone(l.Settings) // The only map of texts.
	for _, name := range slices.Sorted(maps.Keys(l.Settings)) {
		if text := l.Settings[name]; hasUser(text) {
			settings[name] = field.Redact(text)
			changed = append(changed, "login.settings."+name)
		}
	}
	l.Settings = settings
	return l, changed
}

// hasUser reports whether a setting is a URL with a user. In contrast to the other texts of a login, it may be a URL
// with a query or a fragment. A text that is not a valid URL may contain a password with special characters.
func hasUser(text string) bool {
	if !strings.Contains(text, "://") || !strings.Contains(text, "@") || strings.HasPrefix(text, "{") {
		return false
	}
	u, err := url.Parse(text)
	return err != nil || u.User != nil
}

// Misplaced returns an error, with [ErrInvalid], if the endpoint, a host, the proxy or a text of Login may hold a login
// that belongs elsewhere, or if a certificate of Transport has a private key beside it. Such a profile must not be stored or shown.
func (p Profile) Misplaced() error {
	r := p.WithoutMisplaced()
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
	if r.Transport.ClientCertificate != p.Transport.ClientCertificate {
		problems.Add("transport.clientCertificate", "may hold a private key", "the certificates alone; the key goes into clientKey")
	}
	if r.Transport.CABundle != p.Transport.CABundle {
		problems.Add("transport.caBundle", "may hold a private key", "the certificates alone")
	}
	_, changed := withoutURLs(p.Login)
	for _, path := range changed {
		problems.Add(path, "may hold a login", "no URL with a login")
	}
	return problems.Err(p.subject())
}

// Format implements [fmt.Formatter]. It omits a login that a user wrote into the wrong field.
func (p Profile) Format(s fmt.State, verb rune) {
	type plain Profile
	_, _ = fmt.Fprintf(s, fmt.FormatString(s, verb), plain(p.WithoutMisplaced()))
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

// redacted returns t without a login in the proxy, and without certificates that have a private key beside them.
func (t TransportConfig) redacted() TransportConfig {
	t.Proxy = field.Redact(t.Proxy)
	t.CABundle, t.ClientCertificate = withoutKey(t.CABundle), withoutKey(t.ClientCertificate)
	return t
}

// Format implements [fmt.Formatter]. It omits a login that a user wrote into the proxy by mistake, and certificates with
// a private key beside them.
func (t TransportConfig) Format(s fmt.State, verb rune) {
	type plain TransportConfig
	_, _ = fmt.Fprintf(s, fmt.FormatString(s, verb), plain(t.redacted()))
}

// LogValue returns the proxy and other settings of the transport, without secrets and certificates.
func (t TransportConfig) LogValue() slog.Value {
	return slog.GroupValue(slog.String("proxy", field.Redact(t.Proxy)), slog.Bool("plainHTTP", t.PlainHTTP),
		slog.Bool("caBundle", t.CABundle != ""), slog.Bool("clientCertificate", t.ClientCertificate != ""))
}

// MarshalJSON fails if the transport holds a secret, has a login in the URL of the proxy, or a private key beside a
// certificate.
func (t TransportConfig) MarshalJSON() ([]byte, error) {
	type plain TransportConfig
	switch r := t.redacted(); {
	case r.Proxy != t.Proxy:
		return nil, errors.New("the proxy of a transport may hold a login")
	case r.CABundle != t.CABundle || r.ClientCertificate != t.ClientCertificate:
		return nil, errors.New("a certificate of a transport may have a private key beside it")
	}
	return json.Marshal(plain(t))
}

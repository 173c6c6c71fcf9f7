package accounts

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// An Issuer is an OpenID Connect issuer whose tokens are accepted as passwords: the API server of a Kubernetes cluster,
// which issues tokens for service accounts, or a CI service, which issues tokens for jobs. It is plain data.
type Issuer struct {
	// URL is the issuer's URL, exactly as in the "iss" claim of its tokens. It must use https, or http on a loopback
	// address. For a cluster, it is the value of the API server's --service-account-issuer.
	URL string
	// Audience is the only audience that a token may have in "aud". If a token had others, too, another party that
	// accepts it could replay it here. Use the URL of this registry. It must be set.
	Audience string
	// KeysURL is the URL of the issuer's keys, such as https://kubernetes.default.svc/openid/v1/jwks. If empty, it is
	// read from the issuer's discovery document (URL/.well-known/openid-configuration).
	KeysURL string
	// Client fetches the document and the keys. A cluster's API server usually requires its own certificate authority
	// and a login. If nil, a client with the system's authorities and without a login is used.
	Client *http.Client
	// Subjects grant rights to the tokens' subjects. The first entry whose pattern matches applies. A subject without a
	// match is rejected.
	Subjects []Subject
}

// A Subject grants rights to the subjects of an [Issuer] that match a pattern.
type Subject struct {
	// Pattern is matched against the whole "sub" claim of a token: "system:serviceaccount:shop:puller". An * matches
	// any text without a colon or slash. {tenant} matches a name, which becomes the tenant:
	// "system:serviceaccount:{tenant}:puller" gives each namespace the repositories below its own name.
	Pattern string
	// Tenant limits the rights; see [Account]. It must be empty if Pattern contains {tenant}.
	Tenant string
	// Rules are the rights, within the tenant.
	Rules []Rule
}

const (
	tenantPart = "{tenant}"
	// maxSubject limits the text that a token's subject adds to logs. Subjects of Kubernetes have at most 338 bytes.
	maxSubject  = 400
	maxPatterns = 1000
)

// Account returns the account of a subject of the issuer, or false if the subject has none. The account is in no store.
// Its name is the subject, an @ and the issuer's host, so that it cannot equal the name of another account.
func (i Issuer) Account(subject string) (Account, bool) {
	if len(subject) > maxSubject || strings.ContainsFunc(subject, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return Account{}, false
	}
	for _, s := range i.Subjects {
		tenant, ok := s.match(subject)
		if !ok {
			continue
		}
		host := i.URL
		if u, err := url.Parse(i.URL); err == nil {
			host = u.Host
		}
		return Account{Name: subject + "@" + host, Tenant: tenant, Rules: s.Rules}, true
	}
	return Account{}, false
}

// match reports whether the subject matches, and returns its tenant.
func (s Subject) match(subject string) (tenant string, ok bool) {
	tenant = s.Tenant
	pattern, more := s.Pattern, true
	for more {
		part, separator, rest := cutPart(pattern)
		text, textSeparator, textRest := cutPart(subject)
		if separator != textSeparator {
			return "", false
		}
		if before, after, has := strings.Cut(part, tenantPart); has {
			if len(text) < len(before)+len(after) || !strings.HasPrefix(text, before) || !strings.HasSuffix(text, after) {
				return "", false
			}
			tenant = text[len(before) : len(text)-len(after)]
			if !validPart(tenant) || len(tenant) > maxName {
				return "", false
			}
		} else if !matchPart(part, text) {
			return "", false
		}
		pattern, subject, more = rest, textRest, separator != ""
	}
	return tenant, true
}

// cutPart returns the text before the first colon or slash, that separator, and the rest.
func cutPart(s string) (part, separator, rest string) {
	i := strings.IndexAny(s, ":/")
	if i < 0 {
		return s, "", ""
	}
	return s[:i], s[i : i+1], s[i+1:]
}

// matchPart backtracks to the last * only. That is enough, because an earlier one could not match more.
func matchPart(pattern, text string) bool {
	p, n, star, mark := 0, 0, -1, 0
	for n < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, n
			p++
		case p < len(pattern) && pattern[p] == text[n]:
			p++
			n++
		case star >= 0:
			mark++
			p, n = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// Validate returns all problems, joined, or nil.
func (i Issuer) Validate() error {
	var errs []error
	add := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("issuer %q: "+format, append([]any{i.URL}, args...)...))
	}
	if !secureURL(i.URL) {
		add("the URL is not https")
	}
	if i.KeysURL != "" && !secureURL(i.KeysURL) {
		add("the URL of its keys, %q, is not https", i.KeysURL)
	}
	if i.Audience == "" {
		add("it has no audience: set the URL of this registry, and request tokens with this audience")
	}
	if len(i.Subjects) > maxPatterns {
		add("it has more than %d subjects", maxPatterns)
	}
	for _, s := range i.Subjects {
		tenants := strings.Count(s.Pattern, tenantPart)
		account := Account{Name: "subject", Tenant: s.Tenant, Rules: s.Rules}
		switch {
		case s.Pattern == "" || len(s.Pattern) > maxSubject:
			add("a subject's pattern is empty, or longer than %d bytes", maxSubject)
		case tenants > 1 || tenants == 1 && s.Tenant != "":
			add("subject %q has more than one tenant", s.Pattern)
		case tenants == 1 && tenantBesideStar(s.Pattern):
			add("subject %q has {tenant} and * in the same part", s.Pattern)
		}
		if err := account.Validate(); err != nil {
			add("subject %q: %w", s.Pattern, err)
		}
	}
	return errors.Join(errs...)
}

func tenantBesideStar(pattern string) bool {
	return slices.ContainsFunc(strings.FieldsFunc(pattern, func(r rune) bool { return r == ':' || r == '/' }), func(part string) bool {
		return strings.Contains(part, tenantPart) && strings.Contains(part, "*")
	})
}

// secureURL reports whether text is the URL of a server that no one on the network path can impersonate.
func secureURL(text string) bool {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return false
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return u.Scheme == "https" || u.Scheme == "http" && err == nil && ip.IsLoopback()
}

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
// for the tokens of its service accounts, or a CI service, for those of its jobs. It is plain data.
type Issuer struct {
	// URL is the issuer exactly as its tokens name it in "iss". It must use https, or http on a loopback address. A
	// cluster's is the value of the API server's --service-account-issuer.
	URL string
	// Audience is what a token must name in "aud", and nothing else beside it: a token that is also for somebody else
	// could be replayed by them. Use the URL of this registry. It must be set.
	Audience string
	// KeysURL is where the issuer's keys are, such as https://kubernetes.default.svc/openid/v1/jwks. If empty, the
	// issuer's discovery document (URL/.well-known/openid-configuration) says where.
	KeysURL string
	// Client fetches the document and the keys. A cluster's API server usually wants its own certificate authority and a
	// login for that. If nil, a client with the system's authorities and without a login is used.
	Client *http.Client
	// Subjects give rights to the tokens' subjects. The first whose pattern matches counts; a subject that none matches is
	// rejected.
	Subjects []Subject
}

// A Subject gives rights to the subjects of an [Issuer] that match a pattern.
type Subject struct {
	// Pattern is compared with the whole "sub" of a token: "system:serviceaccount:shop:puller". An * matches any text
	// without a colon or slash. {tenant} matches a name, which becomes the tenant:
	// "system:serviceaccount:{tenant}:puller" gives each namespace the repositories below its own name.
	Pattern string
	// Tenant bounds the rights; see [Account]. It must be empty where Pattern has {tenant}.
	Tenant string
	// Rules are the rights, within the tenant.
	Rules []Rule
}

const (
	tenantPart = "{tenant}"
	// maxSubject bounds what a token's subject adds to logs. Kubernetes' are 338 bytes at most.
	maxSubject  = 400
	maxPatterns = 1000
)

// Account returns the account that a subject of the issuer has, which is in no store, or false if the subject has none.
// Its name is the subject, an @ and the issuer's host, so that it is never that of another account.
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

// match returns the tenant of the subject.
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

// cutPart cuts what is before the first colon or slash.
func cutPart(s string) (part, separator, rest string) {
	i := strings.IndexAny(s, ":/")
	if i < 0 {
		return s, "", ""
	}
	return s[:i], s[i : i+1], s[i+1:]
}

// matchPart goes back to the last * only, which is enough: an earlier one could match nothing more.
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

// Validate reports every problem, joined.
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
		add("it has no audience: set the URL of this registry, and ask for tokens with this audience")
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

// secureURL reports whether text is the URL of a server that nobody on the way can stand in for.
func secureURL(text string) bool {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return false
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return u.Scheme == "https" || u.Scheme == "http" && err == nil && ip.IsLoopback()
}

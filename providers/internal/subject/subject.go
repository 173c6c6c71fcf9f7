// Package subject has the checks that prevent a subject's token from being sent to a wrong server. All providers that
// exchange tokens apply them.
package subject

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/field"
	"github.com/regcred/regcred/internal/option"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/providers/internal/cloud"
	"github.com/regcred/regcred/registry"
)

// The audiences that give access to a cloud or a service. A token for one of them is sent to that service only,
// because a registry of the profile's choice that received it could act as the subject there.
const (
	AudienceAWS       = "sts.amazonaws.com"
	AudienceAzure     = "api://AzureADTokenExchange"
	AudienceDockerHub = "https://identity.docker.com"
	AudienceIBM       = "iam"
)

// reserved reports whether the audience gives access to a cloud or a service.
func reserved(audience string) bool {
	switch {
	case slices.Contains([]string{AudienceAWS, AudienceDockerHub, AudienceIBM, "sts.amazonaws.com.cn", "pods.eks.amazonaws.com"}, audience):
		return true
	case strings.HasPrefix(audience, "api://"): // Entra: AzureADTokenExchange and its variants, AKSIdentityBinding, any app.
		return true
	case strings.HasPrefix(audience, "//iam.googleapis.com/"), strings.HasPrefix(audience, "https://iam.googleapis.com/"),
		strings.HasSuffix(audience, ".svc.id.goog"):
		return true
	case strings.HasPrefix(audience, "https://kubernetes.default"), audience == "kubernetes.default.svc", audience == "api":
		return true // The usual audiences of an API server.
	}
	return false
}

// A Destination is the server that a token is sent to.
type Destination struct {
	// Host is the server, with a port if it has one.
	Host string
	// Audience is the usual audience of the server's tokens.
	Audience string
	// Fixed is true if the server accepts no other audience, or if another audience would be unsafe.
	Fixed bool
	// Own is true if the host is the profile's own endpoint, and not a fixed host of a cloud.
	Own bool
	// Lifetime is the requested lifetime of a token. If zero, it is [ExchangeLifetime].
	Lifetime time.Duration
}

// ExchangeLifetime is the lifetime of a token that is used once. It is short because a server that verifies tokens by
// keys alone accepts the token of a deleted account until it expires.
const ExchangeLifetime = 10 * time.Minute

// Validate reports problems of a login's subject. The Validate methods of providers call it. The path is the path of
// the subject in the profile.
func Validate(problems *field.List, path string, from providers.Subjects, p registry.Profile, s credentials.Subject, to Destination, allow func(tenant, audience, host string) bool) {
	if from == nil {
		problems.Add(path, "is a subject, which this program does not provide", "another form of login, or a program that sets Subjects of its provider")
	}
	if _, problem := audience(p, s, to, allow); problem != "" {
		problems.Add(path+".audience", problem, fmt.Sprintf("%q, or none", to.Audience))
	}
	if s.Kubernetes == nil {
		ValidateTransport(problems, p, "a token of this program")
	}
	if p.Transport.PlainHTTP && to.Own {
		problems.Add("transport.plainHTTP", "is set beside a subject", "https: the token is a login")
	}
}

// ValidateTransport rejects a proxy and a CA bundle in a profile whose login uses something of the program: a token
// from a file, a variable or a source, or the identity of the process. The owner of the proxy or the CA bundle can
// read everything that is sent. The token of a Kubernetes service account belongs to the tenant, so it may be used
// with them.
func ValidateTransport(problems *field.List, p registry.Profile, beside string) {
	if t := p.Transport; t.CABundle != "" || t.Proxy != "" && t.Proxy != registry.Direct {
		problems.Add("transport", "has a proxy or a CA bundle beside "+beside,
			"none: their owner would see it. Configure the proxy and the authority of this program in its environment")
	}
}

// audience returns the audience to request, and the problem of the profile's own audience, if any.
func audience(p registry.Profile, s credentials.Subject, to Destination, allow func(tenant, audience, host string) bool) (string, string) {
	switch {
	case s.Audience == "" || s.Audience == to.Audience:
		return to.Audience, ""
	case to.Fixed:
		return "", fmt.Sprintf("is %s, which %s does not accept", field.Quote(s.Audience), to.Host)
	case reserved(s.Audience):
		return "", fmt.Sprintf("is %s, which grants access to something other than %s", field.Quote(s.Audience), to.Host)
	case allow == nil || !allow(p.Tenant, s.Audience, to.Host):
		return "", fmt.Sprintf("is %s, which this program does not allow for %s", field.Quote(s.Audience), to.Host)
	}
	return s.Audience, ""
}

// A Token is a subject's token that passed the checks.
type Token struct {
	Secret credentials.Secret
	Claims Claims
}

// Get returns the token of s for the destination. It reads the token's claims and fails unless the token is for
// exactly the requested audience and expires within a day. So a file that holds the pod's own token, which is a login
// to the API server, never leaves the process.
func Get(ctx context.Context, from providers.Subjects, p registry.Profile, s credentials.Subject, to Destination, allow func(tenant, audience, host string) bool) (Token, error) {
	requested, problem := audience(p, s, to, allow)
	if problem != "" || from == nil {
		return Token{}, &registry.Error{Code: registry.ErrInvalid, Err: errors.New("the subject's audience " + problem)}
	}
	secret, err := from.SubjectToken(ctx, providers.SubjectRequest{
		Profile: p, Subject: s, Audience: requested, Lifetime: option.OrDefault(to.Lifetime, ExchangeLifetime),
	})
	if err != nil {
		return Token{}, err
	}
	text := secret.Reveal()
	if !cloud.IsToken(text) {
		return Token{}, &registry.Error{
			Code: registry.ErrNoIdentity, Err: fmt.Errorf("%s: not a token: it is empty or has white space or other characters that no token has", s),
		}
	}
	claims, ok := Parse(text)
	if !ok {
		return Token{}, &registry.Error{Code: registry.ErrNoIdentity, Err: fmt.Errorf("%s: not a JSON Web Token", s)}
	}
	if err := claims.check(requested, time.Now()); err != nil {
		return Token{}, err
	}
	return Token{secret, claims}, nil
}

// Claims are the claims of a token. They are read and never verified: the server that receives the token verifies it.
// None of them is secret.
type Claims struct {
	Issuer    string
	Subject   string
	Audience  []string
	IssuedAt  time.Time
	ExpiresAt time.Time
}

// Parse reads the claims of a JSON Web Token in its compact form, and reports whether text is one.
func Parse(text string) (Claims, bool) {
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return Claims{}, false
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return Claims{}, false
	}
	var raw struct {
		Issuer   string          `json:"iss"`
		Subject  string          `json:"sub"`
		Audience json.RawMessage `json:"aud"`
		IssuedAt float64         `json:"iat"`
		Expires  float64         `json:"exp"`
	}
	if json.Unmarshal(payload, &raw) != nil {
		return Claims{}, false
	}
	c := Claims{Issuer: raw.Issuer, Subject: raw.Subject, IssuedAt: instant(raw.IssuedAt), ExpiresAt: instant(raw.Expires)}
	var one string
	if json.Unmarshal(raw.Audience, &one) == nil {
		c.Audience = []string{one}
	} else {
		_ = json.Unmarshal(raw.Audience, &c.Audience) // An audience of another form counts as none.
	}
	return c, true
}

// instant converts a NumericDate (RFC 7519, section 2). The bound keeps the conversion defined.
func instant(seconds float64) time.Time {
	if seconds <= 0 || seconds > 1<<40 {
		return time.Time{}
	}
	return time.Unix(int64(seconds), 0)
}

// maxLife is longer than the lifetime that kubelets, CI systems and SPIFFE give to tokens of workloads.
const maxLife = 25 * time.Hour

func (c Claims) check(audience string, now time.Time) error {
	fail := func(code registry.Code, hint, format string, args ...any) error {
		return &registry.Error{Code: code, Hint: hint, Err: fmt.Errorf("subject token: "+format, args...)}
	}
	switch {
	case len(c.Audience) != 1 || c.Audience[0] != audience:
		return fail(registry.ErrNoIdentity, fmt.Sprintf("request the token for the audience %q alone; it was not sent", audience),
			"its audience is %s, not %q", show(c.Audience...), audience)
	case c.ExpiresAt.IsZero():
		return fail(registry.ErrNoIdentity, "use a token that expires; it was not sent", "it never expires")
	case !now.Before(c.ExpiresAt):
		return fail(registry.ErrExpired, "renew the token where it is written; check the clock of this machine", "it expired at %s", c.ExpiresAt.UTC().Format(time.RFC3339))
	case c.ExpiresAt.Sub(now) > maxLife:
		return fail(registry.ErrNoIdentity, "use a token of at most a day; it was not sent", "it is valid until %s", c.ExpiresAt.UTC().Format(time.RFC3339))
	}
	return nil
}

// maxClaim is the maximum length of a claim in an error.
const maxClaim = 200

func show(texts ...string) string {
	quoted := make([]string, len(texts))
	for i, text := range texts {
		quoted[i] = fmt.Sprintf("%.*q", maxClaim, text)
	}
	if len(quoted) == 0 {
		return "missing"
	}
	return strings.Join(quoted, ", ")
}

// Presented returns the claims that a server compares with the trust that it was configured with: the issuer, the
// subject and the audience. Hints show them, because a trust that does not match is the most common mistake.
func (c Claims) Presented() string {
	return fmt.Sprintf("issuer %s, subject %s, audience %s", show(c.Issuer), show(c.Subject), show(c.Audience...))
}

package gcrtest

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers/issuertest"
)

// A token is an access token.
type token struct {
	principal string // An e-mail address, or a subject of workload identity.
	scopes    []string
	expiresAt time.Time // On this machine's clock, like the registries'.
}

const defaultTTL = time.Hour

// issue creates a token. If ttl is zero, the default applies.
func (g *Google) issue(principal, scope string, ttl time.Duration) (text string, t token) {
	if ttl == 0 {
		ttl = g.TokenTTL
	}
	if ttl == 0 {
		ttl = defaultTTL
	}
	t = token{principal, strings.Fields(scope), time.Now().Add(ttl)}
	text = "ya29.c." + longText()
	g.locked(func() { g.tokens[text] = t })
	return text, t
}

// longText returns a random text as long as Google's tokens.
func longText() string {
	var b strings.Builder
	for b.Len() < 1000 {
		b.WriteString(rand.Text())
	}
	return b.String()
}

// tokenOf returns a valid token.
func (g *Google) tokenOf(text string) (t token, ok bool) {
	g.locked(func() { t, ok = g.tokens[text] })
	return t, ok && time.Now().Before(t.expiresAt) && !g.isDisabled(t.principal)
}

// ExpireTokens expires all issued access tokens.
func (g *Google) ExpireTokens() {
	g.locked(func() {
		for text, t := range g.tokens {
			t.expiresAt = time.Now()
			g.tokens[text] = t
		}
	})
}

type tokenAnswer struct {
	AccessToken string `json:"access_token"`
	IssuedType  string `json:"issued_token_type,omitempty"`
	ExpiresIn   int    `json:"expires_in"`
	TokenType   string `json:"token_type"`
}

func answerOf(text string, t token) *tokenAnswer {
	return &tokenAnswer{AccessToken: text, ExpiresIn: int(time.Until(t.expiresAt).Round(time.Second) / time.Second), TokenType: "Bearer"}
}

// serveToken serves oauth2.googleapis.com/token.
func (g *Google) serveToken(r *http.Request, c *Call) (any, *failure) {
	switch c.Action {
	case "token":
		email, scope, failed := g.verify(r.PostFormValue("assertion"))
		c.Principal = email
		if failed != nil {
			return nil, failed
		}
		return answerOf(g.issue(email, scope, 0)), nil
	case "refresh":
		g.locked(func() { c.Principal = g.refresh[r.PostFormValue("refresh_token")] })
		if c.Principal == "" {
			return nil, oauthFailure(http.StatusBadRequest, "invalid_grant", "Token has been expired or revoked.")
		}
		return answerOf(g.issue(c.Principal, scopeAll, 0)), nil
	}
	return nil, oauthFailure(http.StatusBadRequest, "unsupported_grant_type", "Invalid grant_type: "+r.PostFormValue("grant_type"))
}

const (
	scopeAll     = "https://www.googleapis.com/auth/cloud-platform"
	grantRefresh = "refresh_token"
)

// UserCredentials returns the file that gcloud auth application-default login would write for an account.
func (g *Google) UserCredentials(email string) credentials.Secret {
	text := "1//" + longText()[:100]
	g.locked(func() { g.refresh[text] = email })
	file, _ := json.Marshal(map[string]string{ // Text is always JSON.
		"type": "authorized_user", "client_id": "764086051850.apps.googleusercontent.com", "client_secret": "not-a-secret", "refresh_token": text,
	})
	return credentials.NewSecret(string(file))
}

// A subject is a token of another issuer.
type subject struct {
	audience, principal string
	expiresAt           time.Time
}

// SubjectToken returns a token of the issuer that a provider of workload identity trusts, for a subject such as
// "system:serviceaccount:team:puller". If ttl is zero, it is valid for an hour. In [Account.ImpersonatedBy] and
// [Call.Principal], the subject is identified by "principal:", the pool's name, "/subject/" and the subject:
// "principal://iam.googleapis.com/projects/123/locations/global/workloadIdentityPools/pool/subject/system:serviceaccount:team:puller".
// A GKE cluster's subject is in the pool of the project. Its identifier has the project's ID in place of the number:
// "principal://iam.googleapis.com/projects/acme/locations/global/workloadIdentityPools/acme.svc.id.goog/subject/ns/team/sa/puller".
func (g *Google) SubjectToken(provider, name string, ttl time.Duration) credentials.Secret {
	if ttl == 0 {
		ttl = defaultTTL
	}
	text := longText()
	g.locked(func() {
		g.subjects[text] = subject{provider, principalOf(provider, name), time.Now().Add(ttl)}
	})
	return credentials.NewSecret(text)
}

// principalOf returns the name of a subject in IAM:
// https://cloud.google.com/iam/docs/principal-identifiers, and for GKE
// https://cloud.google.com/kubernetes-engine/docs/concepts/workload-identity.
func principalOf(provider, subject string) string {
	if rest, ok := strings.CutPrefix(provider, "identitynamespace:"); ok {
		pool, _, _ := strings.Cut(rest, ":")
		project, _, _ := strings.Cut(pool, ".svc.id.goog")
		if account := strings.Split(subject, ":"); len(account) == 4 { // system:serviceaccount:NAMESPACE:NAME
			subject = "ns/" + account[2] + "/sa/" + account[3]
		}
		return "principal://iam.googleapis.com/projects/" + project + "/locations/global/workloadIdentityPools/" + pool + "/subject/" + subject
	}
	pool, _, _ := strings.Cut(provider, "/providers/")
	return "principal:" + pool + "/subject/" + subject
}

const grantExchange = "urn:ietf:params:oauth:grant-type:token-exchange"

// serveExchange serves sts.googleapis.com/v1/token.
func (g *Google) serveExchange(r *http.Request, c *Call) (any, *failure) {
	if f := g.disabledAPI(exchangeHost); f != nil {
		return nil, f
	}
	provider := r.PostFormValue("audience")
	if trust, ok := g.Trusts[provider]; ok {
		return g.exchangeVerified(r, c, provider, trust)
	}
	var s subject
	g.locked(func() { s = g.subjects[r.PostFormValue("subject_token")] })
	c.Principal = s.principal
	switch {
	case c.Action != "exchange" || r.PostFormValue("subject_token_type") == "" || r.PostFormValue("scope") == "":
		return nil, oauthFailure(http.StatusBadRequest, "invalid_request", "Request contains an invalid argument.")
	case !slices.Contains(g.Providers, provider):
		return nil, oauthFailure(http.StatusBadRequest, "invalid_target", "The target service indicated by the \"audience\" parameters is invalid. This might either be because the pool or provider is disabled or deleted or because it doesn't exist.")
	case s.audience != provider:
		return nil, oauthFailure(http.StatusBadRequest, "invalid_grant", "The audience in ID Token does not match the expected audience.")
	case !time.Now().Before(s.expiresAt):
		return nil, oauthFailure(http.StatusBadRequest, "invalid_grant", "The ID Token is stale to sign-in.")
	}
	answer := answerOf(g.issue(s.principal, r.PostFormValue("scope"), 0))
	answer.IssuedType = "urn:ietf:params:oauth:token-type:access_token"
	return answer, nil
}

// exchangeVerified exchanges a token after verifying it. The texts of rejections were captured:
// gcs-fuse-csi-driver#1471, terraform-google-github-actions-runners#40, google-cloud-go#12440; only the texts
// of audience and signature are inferred.
func (g *Google) exchangeVerified(r *http.Request, c *Call, provider string, trust issuertest.Trust) (any, *failure) {
	if len(trust.Audiences) == 0 {
		trust.Audiences = []string{provider, "https:" + provider}
		if rest, ok := strings.CutPrefix(provider, "identitynamespace:"); ok {
			pool, _, _ := strings.Cut(rest, ":")
			trust.Audiences = []string{pool}
		}
	}
	token, err := trust.Verify(r.PostFormValue("subject_token"))
	c.Principal = principalOf(provider, token.Subject)
	refuse := func(code, text string) (any, *failure) { return nil, oauthFailure(http.StatusBadRequest, code, text) }
	switch {
	case c.Action != "exchange" || r.PostFormValue("subject_token_type") == "" || r.PostFormValue("scope") == "":
		return refuse("invalid_request", "Request contains an invalid argument.")
	case errors.Is(err, issuertest.ErrKeys):
		return refuse("invalid_grant", "Error connecting to the given credential's issuer.")
	case errors.Is(err, issuertest.ErrIssuer):
		return refuse("invalid_grant", "Specified identity issuer "+token.Issuer+" not found in the configured identity providers.")
	case errors.Is(err, issuertest.ErrAudience):
		return refuse("invalid_grant", "The audience in ID Token does not match the expected audience.")
	case errors.Is(err, issuertest.ErrOutOfTime):
		return refuse("invalid_grant", "ID Token issued at "+strconv.FormatInt(token.IssuedAt.Unix(), 10)+" is stale to sign-in.")
	case errors.Is(err, issuertest.ErrSubjectName):
		return refuse("unauthorized_client", "The given credential is rejected by the attribute condition.")
	case err != nil:
		return refuse("invalid_grant", "The signature of the ID Token is invalid.")
	}
	answer := answerOf(g.issue(c.Principal, r.PostFormValue("scope"), 0))
	answer.IssuedType = "urn:ietf:params:oauth:token-type:access_token"
	return answer, nil
}

package gcr

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google/externalaccount"
	"golang.org/x/oauth2/jwt"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers/internal/cloud"
	"github.com/regcred/regcred/registry"
)

// A session is one call of [Provider.Credential]: it starts with the initial identity, makes the impersonations and
// returns the token.
type session struct {
	provider Provider
	profile  registry.Profile
	wire     *wire
}

// An identity is a caller of Google's APIs. Its name is for people and holds no secret.
type identity struct {
	name      string
	presented string // The claims of a subject's token, for hints.
	token     credentials.Credential
}

func (s *session) credential(ctx context.Context) (credentials.Credential, error) {
	s.wire.failure = nil
	login := googleLogin(s.profile.Login)
	var d document
	if !login.Credentials.IsZero() {
		d, _ = s.provider.parseDocument(s.profile, login.Credentials) // It was checked.
	}
	if d.Type == typeKey && !login.AccessToken && login.Impersonate == "" {
		return s.key(ctx, d, login.Credentials)
	}
	steps := impersonations(d, login)
	id, err := s.start(ctx, d, scopeOf(len(steps)))
	for i, step := range steps {
		if err != nil {
			break
		}
		id, err = s.impersonate(ctx, id, step, scopeOf(len(steps)-1-i))
	}
	if err != nil {
		return credentials.Credential{}, err
	}
	return id.token, nil
}

// The scopes of tokens. A token in a pull secret can only read, whatever permissions its owner has: read-only is the
// narrowest scope that Artifact Registry accepts
// (https://developers.google.com/identity/protocols/oauth2/scopes#artifactregistry). Impersonation requires the wide
// scope, in a token that does not leave the process.
const (
	scopeRead = "https://www.googleapis.com/auth/cloud-platform.read-only"
	scopeAll  = "https://www.googleapis.com/auth/cloud-platform"
)

// scopeOf returns the scope of a token that is followed by this number of impersonations.
func scopeOf(impersonations int) string {
	if impersonations > 0 {
		return scopeAll
	}
	return scopeRead
}

// key returns the long-lived key itself.
func (s *session) key(ctx context.Context, d document, secret credentials.Secret) (credentials.Credential, error) {
	if !s.provider.UncheckedKeys {
		if _, err := s.start(ctx, d, scopeRead); err != nil {
			return credentials.Credential{}, err
		}
	}
	return credentials.Credential{Username: KeyUsername, Password: compact(secret)}, nil
}

// start returns the initial identity of the login, with a token.
func (s *session) start(ctx context.Context, d document, scope string) (identity, error) {
	if f := googleLogin(s.profile.Login).Federation; f != nil {
		return s.fromFederation(ctx, f, scope)
	}
	switch d.Type {
	case typeKey:
		return s.fromKey(ctx, d, scope)
	case typeExternal:
		return s.fromExternal(ctx, d.external, scope)
	}
	return s.ambient(ctx, scope)
}

func (s *session) fromKey(ctx context.Context, d document, scope string) (identity, error) {
	id := identity{name: fmt.Sprintf("%s (key %s)", d.ClientEmail, d.PrivateKeyID)}
	config := &jwt.Config{
		Email: d.ClientEmail, PrivateKey: []byte(d.PrivateKey), PrivateKeyID: d.PrivateKeyID, Scopes: []string{scope}, TokenURL: tokenURL,
	}
	return s.exchange(ctx, step{stepKey, ""}, id, config.TokenSource(s.wire.context(ctx)))
}

func (s *session) fromExternal(ctx context.Context, e external, scope string) (identity, error) {
	id := identity{name: "a federated identity of " + e.Audience}
	text, err := s.subjectToken(ctx, e.Source)
	if err != nil {
		return id, s.fail(ctx, step{stepSubject, ""}, id, err)
	}
	source, err := externalaccount.NewTokenSource(s.wire.context(ctx), externalaccount.Config{
		Audience: e.Audience, SubjectTokenType: e.SubjectTokenType, TokenURL: e.TokenURL, Scopes: []string{scope},
		WorkforcePoolUserProject: e.WorkforcePoolUserProject, SubjectTokenSupplier: text,
	})
	if err != nil {
		return id, s.fail(ctx, step{stepFederate, ""}, id, err)
	}
	return s.exchange(ctx, step{stepFederate, ""}, id, source)
}

// exchange gets a token from package oauth2. The call ends with ctx, because the wire sends its requests with that
// context.
func (s *session) exchange(ctx context.Context, st step, id identity, source oauth2.TokenSource) (identity, error) {
	s.wire.failure = nil
	start := time.Now()
	t, err := source.Token()
	if err != nil {
		return id, s.fail(ctx, st, id, err)
	}
	return s.hold(st, id, t.AccessToken, start, t.Expiry)
}

// hold returns the identity with its token. A zero issuedAt means that the token may be older than the call.
func (s *session) hold(st step, id identity, token string, issuedAt, expiresAt time.Time) (identity, error) {
	if !cloud.IsToken(token) || expiresAt.IsZero() {
		return id, s.error(registry.ErrUnavailable, "", 0, fmt.Errorf("%s: the response holds no token with an end", st.text(id)))
	}
	id.token = credentials.Credential{
		Username: TokenUsername, Password: credentials.NewSecret(token), IssuedAt: issuedAt.Round(0), ExpiresAt: expiresAt.Round(0),
	}
	if err := id.token.Validate(time.Now()); err != nil {
		return id, s.error(registry.ErrUnavailable, "try again; if it lasts, check the clock of this machine", 0,
			fmt.Errorf("%s: a new token is good until %s only", st.text(id), expiresAt.UTC().Format(time.RFC3339)))
	}
	return id, nil
}

// An impersonation makes a token of a service account.
type impersonation struct {
	email     string
	delegates []string
	lifetime  int // In seconds. Zero means an hour, the longest that a project allows by default.
}

const defaultLifetime = 3600

// impersonations returns the impersonation that an external account's configuration names, and then the login's.
func impersonations(d document, login credentials.GoogleLogin) (steps []impersonation) {
	if d.ImpersonationURL != "" {
		step := impersonation{email: strings.TrimSuffix(strings.TrimPrefix(d.ImpersonationURL, credentialsURL), generateToken)}
		if d.Impersonation != nil {
			step.lifetime = d.Impersonation.LifetimeSeconds
		}
		steps = append(steps, step)
	}
	if login.Impersonate != "" {
		steps = append(steps, impersonation{email: login.Impersonate, delegates: login.Delegates})
	}
	return steps
}

// impersonate requests a token of a service account:
// https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/generateAccessToken.
// Package oauth2 can do so only for an identity that it has read from a file.
func (s *session) impersonate(ctx context.Context, from identity, to impersonation, scope string) (identity, error) {
	st := step{stepImpersonate, to.email}
	lifetime := to.lifetime
	if lifetime == 0 {
		lifetime = defaultLifetime
	}
	question := struct {
		Scope     []string `json:"scope"`
		Lifetime  string   `json:"lifetime"`
		Delegates []string `json:"delegates,omitempty"`
	}{[]string{scope}, fmt.Sprintf("%ds", lifetime), nil}
	for _, delegate := range to.delegates {
		question.Delegates = append(question.Delegates, "projects/-/serviceAccounts/"+delegate)
	}
	body, err := json.Marshal(question)
	if err != nil {
		return from, s.fail(ctx, st, from, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, credentialsURL+to.email+generateToken, strings.NewReader(string(body)))
	if err != nil {
		return from, s.fail(ctx, st, from, err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+from.token.Password.Reveal())
	var answer struct {
		AccessToken string    `json:"accessToken"`
		ExpireTime  time.Time `json:"expireTime"`
	}
	start := time.Now()
	if _, err := s.wire.json(req, &answer); err != nil {
		return from, s.fail(ctx, st, from, err)
	}
	return s.hold(st, identity{name: to.email}, answer.AccessToken, start, answer.ExpireTime)
}

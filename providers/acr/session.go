package acr

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers/internal/cloud"
	"github.com/regcred/regcred/providers/internal/subject"
	"github.com/regcred/regcred/registry"
)

// A session is one call of [Provider.Credential]: it requests Entra's token for the identity, and exchanges it for the
// registry's.
type session struct {
	provider        Provider
	profile         registry.Profile
	host            string
	cloud           azure
	through, direct http.RoundTripper

	presented string // The claims of the subject's token, for hints.
}

// maxAnswer is far larger than any valid response, in bytes.
const maxAnswer = 64 << 10

func (s *session) credential(ctx context.Context) (credentials.Credential, error) {
	token, err := s.entra(ctx, registryAudience)
	if e, ok := err.(*entraError); ok && e.has(50001, 500011) {
		// Some clouds do not know the audience of registries: Azure Stack and older sovereign clouds.
		token, err = s.entra(ctx, s.cloud.management)
	}
	if err != nil {
		if e, ok := err.(*entraError); ok {
			return credentials.Credential{}, e.explain(s.presented)
		}
		return credentials.Credential{}, err
	}
	return s.exchange(ctx, token)
}

// entra returns an access token of Entra ID for the audience.
func (s *session) entra(ctx context.Context, audience string) (credentials.Secret, error) {
	l := s.profile.Login.Azure
	switch {
	case s.profile.Login.Ambient:
		if file := os.Getenv("AZURE_FEDERATED_TOKEN_FILE"); file != "" {
			return s.workloadIdentity(ctx, audience, file)
		}
		return s.managedIdentity(ctx, audience, os.Getenv("AZURE_CLIENT_ID"))
	case l.ManagedIdentity:
		return s.managedIdentity(ctx, audience, l.ClientID)
	case !l.ClientSecret.IsZero():
		return s.client(ctx, audience, l.TenantID, l.ClientID, l.ClientSecret, nil)
	case !l.Certificate.IsZero():
		c, err := parseCertificate(l.Certificate)
		if err != nil {
			return credentials.Secret{}, &registry.Error{Code: registry.ErrInvalid, Err: err}
		}
		assertion, err := c.assertion(s.tokenURL(l.TenantID), l.ClientID, time.Now())
		if err != nil {
			return credentials.Secret{}, &registry.Error{Code: registry.ErrInvalid, Err: err}
		}
		return s.client(ctx, audience, l.TenantID, l.ClientID, credentials.Secret{}, assertionOf(assertion))
	}
	token, err := subject.Get(ctx, s.provider.Subjects, s.profile, *l.Subject, s.cloud.destination(), nil)
	if err != nil {
		return credentials.Secret{}, err
	}
	s.presented = token.Claims.Presented()
	return s.client(ctx, audience, l.TenantID, l.ClientID, credentials.Secret{}, assertionOf(token.Secret.Reveal()))
}

// workloadIdentity requests a token with the variables that Azure's webhook sets in a pod. It uses the authority of
// the registry's cloud and ignores AZURE_AUTHORITY_HOST.
func (s *session) workloadIdentity(ctx context.Context, audience, file string) (credentials.Secret, error) {
	tenant, client := os.Getenv("AZURE_TENANT_ID"), os.Getenv("AZURE_CLIENT_ID")
	if tenant == "" || client == "" {
		return credentials.Secret{}, &registry.Error{
			Code: registry.ErrNoIdentity, Err: errors.New("AZURE_FEDERATED_TOKEN_FILE is set, and AZURE_TENANT_ID or AZURE_CLIENT_ID is not"),
			Hint: "annotate the service account with azure.workload.identity/client-id and label the pod with azure.workload.identity/use",
		}
	}
	text, err := cloud.ReadToken(file)
	if err != nil {
		return credentials.Secret{}, &registry.Error{Code: registry.ErrNoIdentity, Err: errors.New("read AZURE_FEDERATED_TOKEN_FILE: " + cloud.Clean(err.Error()))}
	}
	assertion := strings.TrimSpace(string(text))
	claims, ok := subject.Parse(assertion)
	if !ok {
		return credentials.Secret{}, &registry.Error{Code: registry.ErrNoIdentity, Err: errors.New("AZURE_FEDERATED_TOKEN_FILE holds no JSON Web Token")}
	}
	s.presented = claims.Presented()
	return s.client(ctx, audience, tenant, client, credentials.Secret{}, assertionOf(assertion))
}

// assertionOf returns the parameters that authenticate a client with a token (RFC 7523, section 2.2).
func assertionOf(token string) url.Values {
	return url.Values{"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {token}}
}

func (s *session) tokenURL(tenant string) string {
	return "https://" + s.cloud.authority + "/" + url.PathEscape(tenant) + "/oauth2/v2.0/token"
}

// client requests a token by the client credentials grant. The client authenticates with its secret or with the
// parameters in proof.
func (s *session) client(ctx context.Context, audience, tenant, client string, secret credentials.Secret, proof url.Values) (credentials.Secret, error) {
	config := clientcredentials.Config{
		ClientID: client, ClientSecret: secret.Reveal(), TokenURL: s.tokenURL(tenant), EndpointParams: proof,
		Scopes: []string{audience + ".default"}, AuthStyle: oauth2.AuthStyleInParams,
	}
	token, err := config.Token(context.WithValue(ctx, oauth2.HTTPClient, noRedirects(s.through)))
	if err == nil {
		return credentials.NewSecret(token.AccessToken), nil
	}
	if e, ok := errors.AsType[*oauth2.RetrieveError](err); ok && e.Response != nil {
		return credentials.Secret{}, readEntraError(e.Response, e.Body)
	}
	if e, ok := errors.AsType[*url.Error](err); ok {
		return credentials.Secret{}, &registry.Error{Code: registry.NetworkCode(e), Err: fmt.Errorf("request a token at %s: %s", s.cloud.authority, cloud.Clean(e.Err.Error()))}
	}
	return credentials.Secret{}, &registry.Error{Code: registry.ErrUnavailable, Err: fmt.Errorf("request a token at %s: the response holds no token", s.cloud.authority)}
}

// managedIdentity requests a token for an identity of the machine. If the variables of App Service and Container Apps
// are set, it calls their endpoint, otherwise the instance metadata service
// (learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token).
func (s *session) managedIdentity(ctx context.Context, audience, client string) (credentials.Secret, error) {
	query := url.Values{"api-version": {"2018-02-01"}, "resource": {strings.TrimSuffix(audience, "/")}}
	if client != "" {
		query.Set("client_id", client)
	}
	address, header, value := "http://169.254.169.254/metadata/identity/oauth2/token", "Metadata", "true"
	if endpoint, secret := os.Getenv("IDENTITY_ENDPOINT"), os.Getenv("IDENTITY_HEADER"); endpoint != "" && secret != "" {
		address, header, value = endpoint, "X-IDENTITY-HEADER", secret
		query.Set("api-version", "2019-08-01")
	}
	what := "request the token of the managed identity"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address+"?"+query.Encode(), nil)
	if err != nil {
		return credentials.Secret{}, &registry.Error{Code: registry.ErrNoIdentity, Err: errors.New(what + ": IDENTITY_ENDPOINT is not a URL")}
	}
	req.Header.Set(header, value)
	status, _, body, err := s.send(noRedirects(s.direct), req, what)
	if err != nil {
		if e, ok := err.(*registry.Error); ok && e.Code.Is(registry.ErrUnavailable) {
			e.Code, e.Hint = registry.ErrNoIdentity, "run on a machine or pod with a managed identity, or add an identity to the profile"
		}
		return credentials.Secret{}, err
	}
	var answer struct {
		AccessToken string `json:"access_token"`
		Description string `json:"error_description"`
	}
	_ = json.Unmarshal(body, &answer) // A response of another form holds no token.
	if status == http.StatusOK && answer.AccessToken != "" {
		return credentials.NewSecret(answer.AccessToken), nil
	}
	e := &registry.Error{Code: registry.ErrNoIdentity, Err: fmt.Errorf("%s: status %d %s", what, status, cloud.Clean(answer.Description))}
	if status == http.StatusTooManyRequests || status >= http.StatusInternalServerError {
		e.Code = registry.ErrUnavailable
	} else {
		e.Hint = "assign the managed identity to this machine; with a user-assigned one, set azure.clientID to its client ID"
	}
	return credentials.Secret{}, e
}

// refreshLife is the documented lifetime of a refresh token, which applies if the token has no expiry:
// https://aka.ms/acr/authorization.
const refreshLife = 3 * time.Hour

// exchange exchanges Entra's token for a refresh token, at the registry itself.
func (s *session) exchange(ctx context.Context, token credentials.Secret) (credentials.Credential, error) {
	form := url.Values{"grant_type": {"access_token"}, "service": {s.host}, "access_token": {token.Reveal()}}
	if l := s.profile.Login.Azure; l != nil && l.TenantID != "" {
		form.Set("tenant", l.TenantID) // Needed if the registry is in another tenant (Azure Lighthouse).
	}
	what := "POST https://" + s.host + "/oauth2/exchange"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+s.host+"/oauth2/exchange", strings.NewReader(form.Encode()))
	if err != nil {
		return credentials.Credential{}, &registry.Error{Code: registry.ErrInvalid, Err: errors.New(what + ": the request cannot be made")}
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	start := time.Now()
	status, header, body, err := s.send(noRedirects(s.through), req, what)
	if err != nil {
		return credentials.Credential{}, err
	}
	if status != http.StatusOK {
		return credentials.Credential{}, refused(what, status, header, body)
	}
	var answer struct {
		RefreshToken string `json:"refresh_token"`
	}
	if json.Unmarshal(body, &answer) != nil || answer.RefreshToken == "" {
		return credentials.Credential{}, &registry.Error{Code: registry.ErrNotRegistry, Err: errors.New(what + ": the response holds no refresh token")}
	}
	if !cloud.IsToken(answer.RefreshToken) {
		return credentials.Credential{}, &registry.Error{Code: registry.ErrUnavailable, Err: errors.New(what + ": the response holds no usable login")}
	}
	expires := start.Add(refreshLife)
	if claims, ok := subject.Parse(answer.RefreshToken); ok && !claims.ExpiresAt.IsZero() {
		expires = claims.ExpiresAt
	}
	c := credentials.Credential{Username: Username, Password: credentials.NewSecret(answer.RefreshToken), IssuedAt: start.Round(0), ExpiresAt: expires.Round(0)}
	if err := c.Validate(time.Now()); err != nil {
		return credentials.Credential{}, &registry.Error{Code: registry.ErrClockSkew, Err: fmt.Errorf("%s: a new token is valid until %s only", what, expires.UTC().Format(time.RFC3339))}
	}
	return c, nil
}

// send sends one request and reads its bounded response.
func (s *session) send(client *http.Client, req *http.Request, what string) (int, http.Header, []byte, error) {
	res, err := client.Do(req)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok { // The text of a url.Error quotes the URL.
			err = e.Err
		}
		return 0, nil, nil, &registry.Error{Code: registry.NetworkCode(err), Err: fmt.Errorf("%s: %s", what, cloud.Clean(err.Error()))}
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		return 0, nil, nil, &registry.Error{Code: registry.NetworkCode(err), Err: errors.New(what + ": the response broke off")}
	case len(body) > maxAnswer:
		return 0, nil, nil, &registry.Error{Code: registry.ErrTooLarge, Err: fmt.Errorf("%s: the response is larger than %d bytes", what, maxAnswer)}
	}
	return res.StatusCode, res.Header, body, nil
}

// noRedirects returns a client that follows no redirect, so that a token is sent to one host only.
func noRedirects(rt http.RoundTripper) *http.Client {
	return &http.Client{Transport: rt, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

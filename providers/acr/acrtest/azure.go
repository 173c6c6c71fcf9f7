// Package acrtest simulates Azure in memory, as far as container registries need it: Microsoft Entra ID with tenants
// and applications, the identity endpoints of machines and app services, and registries.
//
// Entra verifies client secrets, certificates and the tokens of other issuers, and responds with its own error codes.
// A comment at each response names its source: read in public code, documented, captured from a real response, or
// inferred.
package acrtest

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers/issuertest"
	"github.com/regcred/regcred/registry/registrytest"
)

// An App is an application or a managed identity of a tenant.
type App struct {
	TenantID, ClientID string
	// Secret is the value of its client secret. If empty, it has none.
	Secret string
	// SecretExpired is true if the secret has expired.
	SecretExpired bool
	// Certificate is its certificate. If nil, it has none.
	Certificate *x509.Certificate
	// Federated are its federated credentials. If one has no Audiences, it accepts the audience of the cloud.
	Federated []issuertest.Trust
	// Managed is true if the identity is assigned to the machine and the app service. A managed App with an empty
	// ClientID is their system-assigned identity.
	Managed bool
	// Pull are the repositories that it may pull, as HOST/REPOSITORY; HOST/* means all of a registry.
	Pull []string
}

// An Azure is a simulation of Azure: Entra ID, the identity endpoints of one machine, and registries. Set the fields
// before the first use; it is then safe for concurrent use.
type Azure struct {
	Apps []App
	// Public are the repositories that allow anonymous pulls, as HOST/REPOSITORY.
	Public []string

	// NoRegistryAudience makes Entra reject the audience of registries, as on Azure Local.
	NoRegistryAudience bool
	// NoManagementAudience makes registries reject tokens for Azure Resource Manager.
	NoManagementAudience bool
	// Firewall makes registries reject every client by its address.
	Firewall bool
	// ServerError makes Entra respond with status 503.
	ServerError bool
	// Throttle, if not zero, makes Entra respond with status 429 and this Retry-After.
	Throttle time.Duration
	// RefreshTTL is the lifetime of refresh tokens. Zero means three hours.
	RefreshTTL time.Duration

	mu         sync.Mutex
	registries map[string]*registrytest.Registry
	tokens     map[string]grant // Access tokens of Entra.
	refresh    map[string]grant
	signer     *issuertest.Issuer
	log        []string
}

type grant struct {
	app      App
	audience string
	host     string
	expires  time.Time
}

// RoundTripper returns a transport that reaches all hosts without a socket.
func (a *Azure) RoundTripper() http.RoundTripper { return registrytest.NewRoundTripper(a) }

// Log returns the requests, as "METHOD HOST/PATH STATUS".
func (a *Azure) Log() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.log)
}

// Registry returns the registry at the host. Use it to add images and to inspect requests.
func (a *Azure) Registry(host string) *registrytest.Registry {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.registries == nil {
		a.registries = make(map[string]*registrytest.Registry)
	}
	r := a.registries[host]
	if r == nil {
		r = &registrytest.Registry{
			Dialect: registrytest.ACR(), Public: at(host, a.Public),
			Authenticate: func(username string, password credentials.Secret) (registrytest.Account, bool) {
				a.mu.Lock()
				defer a.mu.Unlock()
				g, ok := a.refresh[password.Reveal()]
				if !ok || username != zeroUser || g.host != host || !time.Now().Before(g.expires) {
					return registrytest.Account{}, false
				}
				return registrytest.Account{Username: username, ExpiresAt: g.expires, Pull: at(host, g.app.Pull)}, true
			},
		}
		a.registries[host] = r
	}
	return r
}

const zeroUser = "00000000-0000-0000-0000-000000000000"

// at returns the repositories of a host, without the host.
func at(host string, repositories []string) (here []string) {
	for _, name := range repositories {
		if repository, ok := strings.CutPrefix(name, host+"/"); ok {
			here = append(here, repository)
		}
	}
	return here
}

// authorities are the hosts of Entra ID.
var authorities = []string{"login.microsoftonline.com", "login.microsoftonline.us", "login.chinacloudapi.cn"}

const metadata = "169.254.169.254"

func (a *Azure) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rec := &recorder{ResponseWriter: w, note: func(status int) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.log = append(a.log, fmt.Sprintf("%s %s%s %d", r.Method, r.Host, r.URL.Path, status))
	}}
	defer rec.once(http.StatusOK)
	switch {
	case slices.Contains(authorities, r.Host):
		a.entra(rec, r)
	case r.Host == metadata, strings.HasPrefix(r.URL.Path, "/msi/token"):
		a.machine(rec, r)
	case r.URL.Path == "/oauth2/exchange":
		a.exchange(rec, r)
	default:
		a.Registry(r.Host).ServeHTTP(rec, r)
	}
}

// A recorder records the status before the client can see the response.
type recorder struct {
	http.ResponseWriter
	note func(status int) // Nil after its call.
}

func (r *recorder) once(status int) {
	if note := r.note; note != nil {
		r.note = nil
		note(status)
	}
}

func (r *recorder) WriteHeader(status int) {
	r.once(status)
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	r.once(http.StatusOK)
	return r.ResponseWriter.Write(b)
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

// entraRejects responds with an error in Entra's form. The form of the body and the codes are documented in azidentity
// TROUBLESHOOTING; the codes of federation were captured (Azure/login#482, azure-workload-identity#1200; 70021: #616).
// The codes 70003 and 900144, and all texts that are not quoted in those threads, are inferred.
func entraRejects(w http.ResponseWriter, status int, name string, code int, text string) {
	reply(w, status, map[string]any{
		"error": name, "error_codes": []int{code}, "timestamp": "2026-11-01 00:00:00Z", "trace_id": "1", "correlation_id": "2",
		"error_description": fmt.Sprintf("AADSTS%d: %s Trace ID: 1 Correlation ID: 2 Timestamp: 2026-11-01 00:00:00Z", code, text),
	})
}

const (
	registryAudience = "https://containerregistry.azure.net/.default"
	assertionType    = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
)

// entra serves the token endpoint: microsoft-authentication-library-for-go apps/internal/oauth/ops/accesstokens.
func (a *Azure) entra(w http.ResponseWriter, r *http.Request) {
	if a.Throttle > 0 {
		w.Header().Set("Retry-After", fmt.Sprint(int(a.Throttle.Seconds())))
		w.WriteHeader(http.StatusTooManyRequests)
		return
	}
	if a.ServerError {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	if tenant, ok := strings.CutSuffix(r.URL.Path, "/v2.0/.well-known/openid-configuration"); ok {
		// MSAL requests this document first: microsoft-authentication-library-for-go apps/internal/oauth/resolvers.go.
		base := "https://" + r.Host + tenant
		reply(w, http.StatusOK, map[string]string{
			"issuer": base + "/v2.0", "authorization_endpoint": base + "/oauth2/v2.0/authorize", "token_endpoint": base + "/oauth2/v2.0/token",
		})
		return
	}
	tenant, ok := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, "/"), "/oauth2/v2.0/token")
	form := r.PostFormValue
	if !ok || r.Method != http.MethodPost || form("grant_type") != "client_credentials" {
		entraRejects(w, http.StatusBadRequest, "unsupported_grant_type", 70003, "The app requested an unsupported grant type.")
		return
	}
	if !slices.ContainsFunc(a.Apps, func(app App) bool { return app.TenantID == tenant }) {
		entraRejects(w, http.StatusBadRequest, "invalid_request", 90002, fmt.Sprintf("Tenant '%s' not found.", tenant))
		return
	}
	i := slices.IndexFunc(a.Apps, func(app App) bool { return app.TenantID == tenant && app.ClientID == form("client_id") })
	if i < 0 {
		entraRejects(w, http.StatusBadRequest, "unauthorized_client", 700016, fmt.Sprintf("Application with identifier '%s' was not found in the directory.", form("client_id")))
		return
	}
	app := a.Apps[i]
	switch assertion := form("client_assertion"); {
	case assertion != "" && form("client_assertion_type") != assertionType:
		entraRejects(w, http.StatusBadRequest, "invalid_request", 900144, "The request body must contain the parameter 'client_assertion_type'.")
		return
	case assertion != "" && app.Certificate != nil && signedBy(app.Certificate, assertion, "https://"+r.Host+r.URL.Path, app.ClientID):
	case assertion != "" && strings.Contains(assertion, ".") && isSelfIssued(assertion, app.ClientID):
		entraRejects(w, http.StatusUnauthorized, "invalid_client", 700027, "The certificate with identifier used to sign the client assertion is not registered on application.")
		return
	case assertion != "":
		if code, text := federated(app, assertion, audienceOf(r.Host)); code != 0 {
			entraRejects(w, http.StatusUnauthorized, "invalid_client", code, text)
			return
		}
	case app.Secret == "" || form("client_secret") != app.Secret:
		entraRejects(w, http.StatusUnauthorized, "invalid_client", 7000215, "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID.")
		return
	case app.SecretExpired:
		entraRejects(w, http.StatusUnauthorized, "invalid_client", 7000222, "The provided client secret keys for app are expired.")
		return
	}
	if form("scope") == registryAudience && a.NoRegistryAudience {
		entraRejects(w, http.StatusBadRequest, "invalid_resource", 50001, "The resource principal named https://containerregistry.azure.net was not found in the tenant.") // Captured: azure-cli#33674.
		return
	}
	reply(w, http.StatusOK, map[string]any{
		"token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599, "access_token": a.grantToken(app, form("scope")),
	})
}

func audienceOf(authority string) string {
	switch authority {
	case "login.microsoftonline.us":
		return "api://AzureADTokenExchangeUSGov"
	case "login.chinacloudapi.cn":
		return "api://AzureADTokenExchangeChina"
	}
	return "api://AzureADTokenExchange"
}

// federated returns the code with which Entra rejects the token of another issuer; zero if it accepts it.
func federated(app App, assertion, audience string) (code int, text string) {
	code, text = 70021, "No matching federated identity record found for presented assertion."
	for _, trust := range app.Federated {
		if len(trust.Audiences) == 0 {
			trust.Audiences = []string{audience}
		}
		token, err := trust.Verify(assertion)
		switch {
		case err == nil:
			return 0, ""
		case errors.Is(err, issuertest.ErrIssuer):
			code, text = 700211, fmt.Sprintf("No matching federated identity record found for presented assertion issuer '%s'.", token.Issuer)
		case errors.Is(err, issuertest.ErrAudience):
			code, text = 700212, fmt.Sprintf("No matching federated identity record found for presented assertion audience '%s'.", strings.Join(token.Audience, " "))
		case errors.Is(err, issuertest.ErrSubjectName):
			code, text = 700213, fmt.Sprintf("No matching federated identity record found for presented assertion subject '%s'.", token.Subject)
		case errors.Is(err, issuertest.ErrOutOfTime):
			code, text = 700024, "Client assertion is not within its valid time range." // Inferred.
		default:
			code, text = 700027, "Client assertion contains an invalid signature."
		}
	}
	return code, text
}

type assertionClaims struct {
	Audience string `json:"aud"`
	Issuer   string `json:"iss"`
	Subject  string `json:"sub"`
	Expires  int64  `json:"exp"`
}

func isSelfIssued(assertion, client string) bool {
	var c assertionClaims
	parts := strings.Split(assertion, ".")
	return len(parts) == 3 && decode(parts[1], &c) == nil && c.Issuer == client
}

// signedBy reports whether a client's own assertion is valid:
// learn.microsoft.com/entra/identity-platform/certificate-credentials.
func signedBy(certificate *x509.Certificate, assertion, audience, client string) bool {
	parts := strings.Split(assertion, ".")
	if len(parts) != 3 {
		return false
	}
	var header struct {
		Algorithm  string `json:"alg"`
		Thumbprint string `json:"x5t#S256"`
	}
	var c assertionClaims
	if decode(parts[0], &header) != nil || decode(parts[1], &c) != nil {
		return false
	}
	sum := sha256.Sum256(certificate.Raw)
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	key, ok := certificate.PublicKey.(*rsa.PublicKey)
	if err != nil || !ok || header.Algorithm != "PS256" ||
		// The documented encoding is base64url; MSAL uses the standard encoding.
		header.Thumbprint != base64.RawURLEncoding.EncodeToString(sum[:]) && header.Thumbprint != base64.StdEncoding.EncodeToString(sum[:]) {
		return false
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	return rsa.VerifyPSS(key, crypto.SHA256, digest[:], signature, nil) == nil &&
		c.Audience == audience && c.Issuer == client && c.Subject == client && time.Now().Unix() < c.Expires
}

func decode(part string, v any) error {
	text, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, v)
}

func (a *Azure) grantToken(app App, scope string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.tokens == nil {
		a.tokens = make(map[string]grant)
	}
	token := "entra-" + rand.Text()
	a.tokens[token] = grant{app: app, audience: strings.TrimSuffix(scope, ".default"), expires: time.Now().Add(time.Hour)}
	return token
}

// machine serves the instance metadata service and the endpoint of App Service:
// learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token. Their responses hold
// numbers as strings.
func (a *Azure) machine(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	version, authorized := "2018-02-01", r.Header.Get("Metadata") == "true"
	if r.Host != metadata {
		version, authorized = "2019-08-01", r.Header.Get("X-IDENTITY-HEADER") == "app-service-secret"
	}
	i := slices.IndexFunc(a.Apps, func(app App) bool { return app.Managed && app.ClientID == query.Get("client_id") })
	switch {
	case !authorized || query.Get("api-version") != version || query.Get("resource") == "" || r.Header.Get("X-Forwarded-For") != "":
		reply(w, http.StatusBadRequest, map[string]string{"error": "invalid_request", "error_description": "Required metadata header not specified"})
	case i < 0:
		reply(w, http.StatusBadRequest, map[string]string{"error": "invalid_request", "error_description": "Identity not found"})
	default:
		audience := strings.TrimSuffix(query.Get("resource"), "/") + "/"
		reply(w, http.StatusOK, map[string]string{
			"access_token": a.grantToken(a.Apps[i], audience+".default"), "expires_in": "86399",
			"expires_on": fmt.Sprint(time.Now().Add(24 * time.Hour).Unix()), "resource": query.Get("resource"), "token_type": "Bearer",
		})
	}
}

// exchange serves a registry's exchange of tokens: https://github.com/Azure/acr/blob/main/docs/AAD-OAuth.md, and
// azcontainerregistry authentication_client.go. The response to GET is 404 (captured: Azure/acr#166); the codes are
// documented in the SDK's TROUBLESHOOTING.
func (a *Azure) exchange(w http.ResponseWriter, r *http.Request) {
	reject := func(status int, code, text string) {
		reply(w, status, map[string]any{"errors": []map[string]string{{"code": code, "message": text}}})
	}
	if a.Firewall {
		reject(http.StatusForbidden, "DENIED", "client with IP '203.0.113.7' is not allowed access. Refer https://aka.ms/acr/firewall to grant access.")
		return
	}
	if r.Method != http.MethodPost {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	grantType, token := r.PostFormValue("grant_type"), r.PostFormValue("access_token")
	a.mu.Lock()
	g, ok := a.tokens[token]
	a.mu.Unlock()
	switch {
	case grantType != "access_token" && grantType != "access_token_refresh_token" || r.PostFormValue("service") != r.Host:
		reject(http.StatusBadRequest, "UNSUPPORTED", "invalid request")
	case !ok || !time.Now().Before(g.expires):
		reject(http.StatusUnauthorized, "UNAUTHORIZED", "authentication required, visit https://aka.ms/acr/authorization for more information.")
	case g.audience != strings.TrimSuffix(registryAudience, ".default") && a.NoManagementAudience:
		reject(http.StatusUnauthorized, "UNAUTHORIZED", "arm aad token disallowed")
	case len(at(r.Host, g.app.Pull)) == 0:
		reject(http.StatusForbidden, "DENIED", "retrieving permissions failed")
	default:
		reply(w, http.StatusOK, map[string]string{"refresh_token": a.refreshToken(g, r.Host)})
	}
}

// refreshToken issues a token, which reports its lifetime only in its claim exp.
func (a *Azure) refreshToken(g grant, host string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.signer == nil {
		a.signer, a.refresh = issuertest.New("Azure Container Registry", issuertest.RS256), make(map[string]grant)
	}
	ttl := a.RefreshTTL
	if ttl == 0 {
		ttl = 3 * time.Hour
	}
	g.host, g.expires = host, time.Now().Add(ttl)
	token := a.signer.Sign(map[string]any{
		"aud": host, "sub": g.app.ClientID, "tenant": g.app.TenantID, "grant_type": "refresh_token", "version": "1.0", "jti": rand.Text(),
		"nbf": time.Now().Add(-15 * time.Minute).Unix(), "iat": time.Now().Unix(), "exp": g.expires.Unix(),
	})
	a.refresh[token] = g
	return token
}

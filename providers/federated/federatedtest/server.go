// Package federatedtest simulates in memory the servers that exchange a workload's token for a credential: Quay,
// Artifactory, Cloudsmith, Chainguard, Docker and IBM, as package federated calls them.
//
// Each verifies signature, issuer, audience, subject and time of the token, and rejects a token with the vendor's own
// response. A comment at each response names its source: read in the vendor's code, documented, captured from a real
// response, or inferred.
package federatedtest

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/regcred/regcred/providers/issuertest"
	"github.com/regcred/regcred/registry/registrytest"
)

// The hosts of the services that are not on the registry's own host.
const (
	Cloudsmith = "api.cloudsmith.io"
	Chainguard = "issuer.enforce.dev"
	Docker     = "identity.docker.com"
	IBM        = "iam.cloud.ibm.com"
)

// A Server simulates all of these services. It is an [http.Handler] that selects the service by path or, if services
// share a path, by host. Set the fields before the first use; it is then safe for concurrent use.
type Server struct {
	// Trust defines the tokens that every service accepts. If its Audiences are empty, a service accepts the audience
	// https://HOST, or the fixed audience of Docker and IBM. Quay accepts any audience; see QuayChecksAudience.
	Trust issuertest.Trust
	// Name is the account that the token is exchanged for: the robot, the provider, "ORGANIZATION/SERVICE", the
	// identity, the connection or the trusted profile.
	Name string
	// User is the user name that Artifactory returns. If empty, Artifactory is an older server, which returns none.
	User string
	// Lifetime is the lifetime of credentials. Zero means one hour.
	Lifetime time.Duration
	// QuayChecksAudience makes Quay check the audience. Quay does so only if a federation has audiences. Its API
	// cannot set them, so by default Quay accepts every token of the subject, whatever its audience.
	QuayChecksAudience bool
	// Throttle, if not zero, makes every service respond with status 429 and this Retry-After.
	Throttle time.Duration

	mu     sync.Mutex
	tokens map[string]bool
	signer *issuertest.Issuer
	log    []string
}

// RoundTripper returns a transport that reaches the server under all host names, without a socket.
func (s *Server) RoundTripper() http.RoundTripper { return registrytest.NewRoundTripper(s) }

// Issued reports whether the password is a credential that the server issued.
func (s *Server) Issued(password string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tokens[password]
}

// Log returns the requests, as "METHOD HOST/PATH STATUS".
func (s *Server) Log() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.log...)
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.serve(&recorder{w, func(status int) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.log = append(s.log, fmt.Sprintf("%s %s%s %d", r.Method, r.Host, r.URL.Path, status))
	}}, r)
}

// A recorder records the status before the client can see the response.
type recorder struct {
	http.ResponseWriter
	note func(status int)
}

func (r *recorder) WriteHeader(status int) {
	r.note(status)
	r.ResponseWriter.WriteHeader(status)
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	if s.Throttle > 0 {
		w.Header().Set("Retry-After", fmt.Sprint(int(s.Throttle.Seconds())))
		reply(w, http.StatusTooManyRequests, map[string]string{"message": "too many requests"})
		return
	}
	switch {
	case r.Method == http.MethodGet && r.URL.Path == "/oauth2/federation/robot/token":
		s.quay(w, r)
	case r.Method == http.MethodPost && r.URL.Path == "/access/api/v1/oidc/token":
		s.artifactory(w, r)
	case r.Method == http.MethodPost && r.Host == Cloudsmith && strings.HasPrefix(r.URL.Path, "/openid/"):
		s.cloudsmith(w, r)
	case r.Host == Chainguard && r.URL.Path == "/sts/exchange":
		s.chainguard(w, r)
	case r.Method == http.MethodPost && r.Host == Docker && r.URL.Path == "/oauth/token":
		s.docker(w, r)
	case r.Method == http.MethodPost && r.Host == IBM && r.URL.Path == "/identity/token":
		s.ibm(w, r)
	default:
		http.NotFound(w, r)
	}
}

func (s *Server) verify(token, audience string) error {
	trust := s.Trust
	if len(trust.Audiences) == 0 {
		trust.Audiences = []string{audience}
	}
	_, err := trust.Verify(token)
	return err
}

func (s *Server) lifetime() time.Duration {
	if s.Lifetime == 0 {
		return time.Hour
	}
	return s.Lifetime
}

// jsonWebToken issues a credential that is itself a token, and reports its lifetime only in its claim exp.
func (s *Server) jsonWebToken(subject, audience string) string {
	s.mu.Lock()
	if s.signer == nil {
		s.signer = issuertest.New("https://registry.example.com", issuertest.RS256)
	}
	signer := s.signer
	s.mu.Unlock()
	return s.note(signer.Token(subject, audience, s.lifetime()))
}

func (s *Server) note(token string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tokens == nil {
		s.tokens = make(map[string]bool)
	}
	s.tokens[token] = true
	return token
}

func (s *Server) opaque() string { return s.note("opaque-" + rand.Text()) }

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

// quay simulates Quay, as read in quay/quay: endpoints/oauth/robot_identity_federation.py,
// util/security/federated_robot_auth.py, endpoints/decorated.py. Status 500 for an unreachable issuer is inferred: no
// handler catches that error.
func (s *Server) quay(w http.ResponseWriter, r *http.Request) {
	robot, token, ok := r.BasicAuth()
	if !ok || !strings.Contains(robot, "+") {
		reply(w, http.StatusUnauthorized, map[string]string{"error": "missing auth"})
		return
	}
	trust := s.Trust
	trust.Algorithms = []issuertest.Algorithm{issuertest.RS256, "RS384"}
	if len(trust.Audiences) == 0 {
		trust.Audiences = []string{"https://" + r.Host}
	}
	read, err := trust.Verify(token)
	if errors.Is(err, issuertest.ErrAudience) && !s.QuayChecksAudience {
		trust.Audiences = read.Audience
		_, err = trust.Verify(token)
	}
	message := ""
	switch {
	case robot != s.Name:
		message = "Could not find robot with specified username"
	case errors.Is(err, issuertest.ErrKeys), errors.Is(err, issuertest.ErrNotToken):
		w.WriteHeader(http.StatusInternalServerError)
		return
	case errors.Is(err, issuertest.ErrIssuer):
		message = fmt.Sprintf("issuer %s not configured for this robot", read.Issuer)
	case errors.Is(err, issuertest.ErrSubjectName):
		message = "Token does not match robot"
	case err != nil:
		message = "Invalid token: " + err.Error()
	default:
		reply(w, http.StatusOK, map[string]string{"token": s.jsonWebToken(robot, r.Host)})
		return
	}
	reply(w, http.StatusBadRequest, map[string]string{"message": message})
}

// artifactory simulates Artifactory, as read in jfrog-credentials-provider and setup-jfrog-cli. Status 403 for a
// subject that does not match was captured (jfrog-credentials-provider#63); the texts are inferred.
func (s *Server) artifactory(w http.ResponseWriter, r *http.Request) {
	var in struct {
		GrantType string `json:"grant_type"`
		Type      string `json:"subject_token_type"`
		Token     string `json:"subject_token"`
		Provider  string `json:"provider_name"`
	}
	refuse := func(status int, text string) {
		reply(w, status, map[string]any{"errors": []map[string]string{{"code": http.StatusText(status), "message": text}}})
	}
	switch err := json.NewDecoder(r.Body).Decode(&in); {
	case err != nil || in.GrantType != "urn:ietf:params:oauth:grant-type:token-exchange" || in.Type != "urn:ietf:params:oauth:token-type:id_token":
		refuse(http.StatusBadRequest, "Bad request")
	case in.Provider != s.Name:
		refuse(http.StatusNotFound, "Provider not found")
	case s.verify(in.Token, "https://"+r.Host) != nil:
		refuse(http.StatusForbidden, "No identity mapping matches the token")
	default:
		subject := "jfac@01/users/puller"
		if s.User != "" {
			subject = "jfac@01/users/" + s.User
		}
		out := map[string]any{
			"access_token": s.jsonWebToken(subject, "*@*"), "expires_in": int(s.lifetime().Seconds()), "token_type": "Bearer",
			"issued_token_type": "urn:ietf:params:oauth:token-type:access_token", "scope": "applied-permissions/user",
		}
		if s.User != "" {
			out["username"] = s.User
		}
		reply(w, http.StatusOK, out)
	}
}

// cloudsmith simulates Cloudsmith, as documented at docs.cloudsmith.com/api/openid/create; the texts are those that
// external-secrets parses.
func (s *Server) cloudsmith(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Token   string `json:"oidc_token"`
		Service string `json:"service_slug"`
	}
	organization := strings.Trim(strings.TrimPrefix(r.URL.Path, "/openid/"), "/")
	switch err := json.NewDecoder(r.Body).Decode(&in); {
	case !strings.HasSuffix(r.URL.Path, "/"), err != nil, in.Token == "", in.Service == "":
		reply(w, http.StatusUnprocessableEntity, map[string]string{"detail": "Missing or invalid parameters"})
	case organization+"/"+in.Service != s.Name:
		reply(w, http.StatusBadRequest, map[string]string{"detail": "JWT cannot be created"})
	case s.verify(in.Token, "https://"+Cloudsmith) != nil:
		reply(w, http.StatusUnauthorized, map[string]string{"detail": "OIDC token cannot be authenticated"})
	default:
		reply(w, http.StatusCreated, map[string]string{"token": s.jsonWebToken(in.Service, "cloudsmith")})
	}
}

// chainguard simulates Chainguard, as read in chainguard-dev/sdk sts. An error response has a gRPC code; the texts are
// inferred.
func (s *Server) chainguard(w http.ResponseWriter, r *http.Request) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	query := r.URL.Query()
	switch {
	case !ok || query.Get("aud") != "cgr.dev":
		reply(w, http.StatusBadRequest, map[string]any{"code": 3, "message": "invalid argument"})
	case query.Get("identity") != s.Name || s.verify(token, "https://"+Chainguard) != nil:
		reply(w, http.StatusForbidden, map[string]any{"code": 7, "message": "identity does not match the token"})
	default:
		expiry := time.Now().Add(s.lifetime()).UTC().Format(time.RFC3339)
		reply(w, http.StatusOK, map[string]any{"token": s.opaque(), "refresh_token": "", "expiry": expiry})
	}
}

// docker simulates Docker, as read in docker/login-action src/dockerhub.ts: the response, and the 401 without a body.
func (s *Server) docker(w http.ResponseWriter, r *http.Request) {
	form := r.PostFormValue
	switch {
	case form("grant_type") != "urn:ietf:params:oauth:grant-type:token-exchange" || form("connection_id") == "":
		reply(w, http.StatusBadRequest, map[string]string{"error": "invalid_request", "error_description": "unsupported grant"})
	case form("connection_id") != s.Name || s.verify(form("subject_token"), "https://"+Docker) != nil:
		w.WriteHeader(http.StatusUnauthorized)
	default:
		reply(w, http.StatusOK, map[string]any{"access_token": s.opaque(), "expires_in": int(s.lifetime().Seconds()), "token_type": "Bearer"})
	}
}

// ibm simulates IBM, as read in IBM/go-sdk-core core/container_authenticator.go; the text of the rejection is
// inferred.
func (s *Server) ibm(w http.ResponseWriter, r *http.Request) {
	form := r.PostFormValue
	switch {
	case form("grant_type") != "urn:ibm:params:oauth:grant-type:cr-token":
		reply(w, http.StatusBadRequest, map[string]string{"errorCode": "BXNIM0106E", "errorMessage": "Property missing or empty: grant_type"})
	case form("profile_id") != s.Name || s.verify(form("cr_token"), "iam") != nil:
		reply(w, http.StatusBadRequest, map[string]string{"errorCode": "BXNIM0514E", "errorMessage": "No trusted profile matches the token"})
	default:
		seconds := int(s.lifetime().Seconds())
		reply(w, http.StatusOK, map[string]any{"access_token": s.opaque(), "expires_in": seconds, "expiration": time.Now().Unix() + int64(seconds), "token_type": "Bearer"})
	}
}

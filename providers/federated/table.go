package federated

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers/internal/cloud"
	"github.com/regcred/regcred/providers/internal/subject"
	"github.com/regcred/regcred/registry"
)

// A row describes one exchange: the server, the audience of the token, the request and the response. Each fact names
// its source; "inferred" marks a fact without a source.
type row struct {
	name string
	// set reports whether a login uses this row.
	set func(credentials.Exchange) bool
	// host is the server of the exchange. If empty, the registry itself makes it.
	host string
	// audience is the audience of tokens for the server. If empty, it is https://HOST.
	audience string
	// fixed is true if every other audience is rejected.
	fixed bool
	// registries are the hosts that accept the credential, and the parents of such hosts. If empty, the profile's own
	// endpoint host accepts it and, with subdomains, so do the hosts below it.
	registries []string
	subdomains bool
	wantHost   string

	// request returns the request of the exchange. If nil, the token itself is the password.
	request func(x credentials.Exchange, base, token string) (*http.Request, error)
	// username returns the user name of the credential.
	username func(x credentials.Exchange, a answer) string
	// lifetime is the documented lifetime of the credential. It applies if the response has none.
	lifetime time.Duration
	// where names the place at which the vendor's users enter the values that a token is compared with.
	where string
	// unavailable is the hint for a status of 500 or more.
	unavailable string
}

var table = []*row{
	{
		// Zot pkg/api/bearer_oidc.go; Angos doc/how-to/configure-kubernetes-oidc.md; harbor-workload-identity-federation.
		name:     "password",
		set:      func(x credentials.Exchange) bool { return x.Password != nil },
		wantHost: "the host of the endpoint: the token is for that host alone",
		username: func(x credentials.Exchange, _ answer) string { return cmp.Or(x.Password.Username, "token") },
		where:    "the OIDC configuration of the registry",
	},
	{
		// quay/quay endpoints/oauth/robot_identity_federation.py, util/security/federated_robot_auth.py.
		name:     "quay",
		set:      func(x credentials.Exchange) bool { return x.Quay != nil },
		wantHost: "the host of the endpoint: the robot belongs to that registry",
		request: func(x credentials.Exchange, base, token string) (*http.Request, error) {
			req, err := http.NewRequest(http.MethodGet, base+"/oauth2/federation/robot/token", nil)
			if err == nil {
				req.SetBasicAuth(x.Quay.Robot, token)
			}
			return req, err
		},
		username:    func(x credentials.Exchange, _ answer) string { return x.Quay.Robot },
		lifetime:    time.Hour,
		where:       "Quay: organization, Robot Accounts, the robot's menu, Set robot federation",
		unavailable: "check that Quay can reach the issuer of the token, and that its keys are RSA: Quay accepts RS256 and RS384 only",
	},
	{
		// jfrog-credentials-provider internal/handlers/jfrog.go; setup-jfrog-cli src/oidc-utils.ts.
		name:       "artifactory",
		set:        func(x credentials.Exchange) bool { return x.Artifactory != nil },
		subdomains: true,
		wantHost:   "the host of the endpoint or one below it: the integration belongs to that platform",
		request: func(x credentials.Exchange, base, token string) (*http.Request, error) {
			return postJSON(base+"/access/api/v1/oidc/token", map[string]string{
				"grant_type": exchangeGrant, "subject_token_type": idToken, "subject_token": token,
				"provider_name": x.Artifactory.Provider, "identity_mapping_name": x.Artifactory.Mapping, "project_key": x.Artifactory.Project,
			})
		},
		username: func(_ credentials.Exchange, a answer) string {
			if a.Username != "" {
				return a.Username
			}
			claims, _ := subject.Parse(a.token()) // Older servers: the last part of jfac@ID/users/NAME.
			return claims.Subject[strings.LastIndex(claims.Subject, "/")+1:]
		},
		lifetime: time.Hour, // Inferred: a server that reports no lifetime allows at least that.
		where:    "JFrog Platform: Administration, General Management, Manage Integrations, the identity mappings of the integration",
	},
	{
		// docs.cloudsmith.com/api/openid/create; external-secrets generators/v1/cloudsmith.
		name:       "cloudsmith",
		set:        func(x credentials.Exchange) bool { return x.Cloudsmith != nil },
		host:       "api.cloudsmith.io",
		registries: []string{"docker.cloudsmith.io"},
		wantHost:   "docker.cloudsmith.io",
		request: func(x credentials.Exchange, base, token string) (*http.Request, error) {
			return postJSON(base+"/openid/"+url.PathEscape(x.Cloudsmith.Organization)+"/", map[string]string{
				"oidc_token": token, "service_slug": x.Cloudsmith.Service,
			})
		},
		username: func(credentials.Exchange, answer) string { return "token" },
		lifetime: 90 * time.Minute, // help.cloudsmith.io/docs/openid-connect: "around 90 minutes".
		where:    "Cloudsmith: organization, Settings, Authentication, OpenID Connect",
	},
	{
		// chainguard-dev/sdk sts.
		name:       "chainguard",
		set:        func(x credentials.Exchange) bool { return x.Chainguard != nil },
		host:       "issuer.enforce.dev",
		registries: []string{"cgr.dev"},
		wantHost:   "cgr.dev or a host below it",
		request: func(x credentials.Exchange, base, token string) (*http.Request, error) {
			query := url.Values{"aud": {"cgr.dev"}, "identity": {x.Chainguard.Identity}}
			req, err := http.NewRequest(http.MethodPost, base+"/sts/exchange?"+query.Encode(), nil)
			if err == nil {
				req.Header.Set("Authorization", "Bearer "+token)
			}
			return req, err
		},
		username: func(credentials.Exchange, answer) string { return "_token" },
		lifetime: time.Hour, // Inferred.
		where:    "Chainguard: the identity's claim match (chainctl iam identities describe)",
	},
	{
		// docker/login-action src/dockerhub.ts; docs.docker.com, OIDC connections.
		name:       "dockerHub",
		set:        func(x credentials.Exchange) bool { return x.DockerHub != nil },
		host:       "identity.docker.com",
		audience:   subject.AudienceDockerHub,
		fixed:      true,
		registries: []string{"docker.io", "dhi.io"},
		wantHost:   "docker.io or dhi.io",
		request: func(x credentials.Exchange, base, token string) (*http.Request, error) {
			return postForm(base+"/oauth/token", url.Values{
				"grant_type": {exchangeGrant}, "subject_token_type": {idToken}, "subject_token": {token},
				"connection_id": {x.DockerHub.Connection}, "expires_in": {"3600"},
			})
		},
		username: func(x credentials.Exchange, _ answer) string { return x.DockerHub.Organization },
		lifetime: 5 * time.Minute, // The default of the endpoint: the granted lifetime may be shorter than the requested one.
		where:    "Docker Home: organization, OIDC connections, the rule set; Docker accepts tokens of GitHub Actions only",
	},
	{
		// IBM/go-sdk-core core/container_authenticator.go. The audience is inferred.
		name:       "ibm",
		set:        func(x credentials.Exchange) bool { return x.IBM != nil },
		host:       "iam.cloud.ibm.com",
		audience:   subject.AudienceIBM,
		fixed:      true,
		registries: []string{"icr.io"},
		wantHost:   "icr.io or a host below it",
		request: func(x credentials.Exchange, base, token string) (*http.Request, error) {
			return postForm(base+"/identity/token", url.Values{
				"grant_type": {"urn:ibm:params:oauth:grant-type:cr-token"}, "cr_token": {token}, "profile_id": {x.IBM.Profile},
			})
		},
		username: func(credentials.Exchange, answer) string { return "iambearer" },
		lifetime: time.Hour,
		where:    "IBM Cloud: Manage, Access (IAM), Trusted profiles, the trust relationship",
	},
}

const (
	exchangeGrant = "urn:ietf:params:oauth:grant-type:token-exchange" // RFC 8693, section 2.1.
	idToken       = "urn:ietf:params:oauth:token-type:id_token"       // RFC 8693, section 3.
)

// rowOf returns the row of the one exchange that is set, or nil.
func rowOf(x credentials.Exchange) (found *row) {
	for _, r := range table {
		if !r.set(x) {
			continue
		}
		if found != nil {
			return nil
		}
		found = r
	}
	return found
}

func (x *row) destination(endpointHost string) subject.Destination {
	host := cmp.Or(x.host, endpointHost)
	to := subject.Destination{Host: host, Audience: cmp.Or(x.audience, "https://"+host), Fixed: x.fixed, Own: x.host == ""}
	if x.request == nil {
		to.Lifetime = time.Hour // The token itself is in the pull secret.
	}
	return to
}

// serves reports whether a credential for the main host may be published for host. Hosts are compared as hosts.
func (x *row) serves(main, host string) bool {
	if len(x.registries) == 0 {
		return host == main || x.subdomains && strings.HasSuffix(host, "."+main)
	}
	for _, of := range x.registries {
		if host == of || strings.HasSuffix(host, "."+of) {
			return true
		}
	}
	return false
}

func postForm(to string, v url.Values) (*http.Request, error) {
	req, err := http.NewRequest(http.MethodPost, to, strings.NewReader(v.Encode()))
	if err == nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return req, err
}

// postJSON returns a POST request with the map as JSON. It removes empty values.
func postJSON(to string, v map[string]string) (*http.Request, error) {
	for name, text := range v {
		if text == "" {
			delete(v, name)
		}
	}
	body, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequest(http.MethodPost, to, bytes.NewReader(body))
	if err == nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return req, err
}

// An answer has the fields of all exchanges' responses.
type answer struct {
	Token       string      `json:"token"`
	AccessToken string      `json:"access_token"`
	ExpiresIn   json.Number `json:"expires_in"`
	Expiry      string      `json:"expiry"`
	Username    string      `json:"username"`

	// The fields of an error response.
	Message     string          `json:"message"`
	Error       json.RawMessage `json:"error"` // A string or an object.
	Description string          `json:"error_description"`
	Detail      string          `json:"detail"`
	IBMMessage  string          `json:"errorMessage"`
	Errors      []struct {
		Message string `json:"message"`
	} `json:"errors"`
}

func (a answer) token() string { return cmp.Or(a.AccessToken, a.Token) }

// expiresAt returns the earliest expiry that the response and the credential report. If they report none, it returns
// the end of the documented lifetime.
func (a answer) expiresAt(start time.Time, lifetime time.Duration) time.Time {
	var at time.Time
	earlier := func(t time.Time) {
		if !t.IsZero() && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	if seconds, err := a.ExpiresIn.Int64(); err == nil && seconds > 0 && seconds < 1<<31 {
		earlier(start.Add(time.Duration(seconds) * time.Second))
	}
	if t, err := time.Parse(time.RFC3339, a.Expiry); err == nil {
		earlier(t)
	}
	if claims, ok := subject.Parse(a.token()); ok {
		earlier(claims.ExpiresAt)
	}
	if at.IsZero() {
		at = start.Add(lifetime)
	}
	return at.Round(0)
}

// message returns the server's text in an error response.
func (a answer) message() string {
	var text string
	_ = json.Unmarshal(a.Error, &text) // An object has no text.
	if len(a.Errors) > 0 {
		text = cmp.Or(text, a.Errors[0].Message)
	}
	return cmp.Or(a.Message, a.Detail, a.Description, a.IBMMessage, text)
}

// refused returns the error for a response that rejects the token. If a trust does not match, vendors respond with
// 400, 401, 403, 404 or 422, each in its own way, so the hint for all of these shows the presented claims.
func (x *row) refused(what string, res *http.Response, a answer, token subject.Token) error {
	e := &registry.Error{Err: fmt.Errorf("%s: %s", what, res.Status)}
	if text := cloud.Clean(a.message(), token.Secret.Reveal()); text != "" {
		e.Err = fmt.Errorf("%s: %s: %q", what, res.Status, text)
	}
	switch status := res.StatusCode; {
	case status == http.StatusTooManyRequests:
		e.Code, e.Wait = registry.ErrRateLimited, cloud.RetryAfter(res.Header)
	case status >= http.StatusInternalServerError:
		e.Code, e.Hint = registry.ErrUnavailable, x.unavailable
	case status >= 300 && status < 400:
		e.Code, e.Hint = registry.ErrNotRegistry, "use the host to which it redirects as the endpoint: a token is not sent to another host"
	case strings.Contains(strings.ToLower(a.message()), "expired"):
		e.Code, e.Hint = registry.ErrExpired, "check the clocks; presented: "+token.Claims.Presented()
	default:
		e.Code = registry.ErrDenied
		e.Hint = fmt.Sprintf("compare what was presented with %s; presented: %s", x.where, token.Claims.Presented())
	}
	return e
}

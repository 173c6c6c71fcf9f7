// Package ecrtest simulates AWS in memory, as far as pulling images needs it: the API of ECR and ECR Public, STS, and
// the registries themselves. AWS's own clients, and every client of a registry, work with it unmodified.
//
// An [AWS] is a value that a test writes as a literal: users, roles, policies of repositories. [AWS.Attach] adds it to
// a network of named hosts, see package fakenet; [AWS.Registry] returns the registry of an account and region, to add
// images to; [AWS.Calls] returns the calls to the APIs. Signatures are verified with the secrets; tokens expire.
//
// It is for tests, examples and demonstrations. Policies are lists of actions, and only session policies have
// resources. Nothing is persistent, and the size of requests is not limited.
package ecrtest

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers/ecr"
	"github.com/regcred/regcred/providers/issuertest"
	"github.com/regcred/regcred/registry/registrytest"
	"github.com/regcred/regcred/registry/registrytest/fakenet"
)

// An AWS is a simulation of Amazon Web Services with every account, region and partition. Set the fields before the
// first use, and do not change them afterwards. It is safe for concurrent use and must not be copied once in use.
type AWS struct {
	Users []User
	Roles []Role

	// Issuers are the OpenID Connect providers of all accounts: the issuers of web identities whose tokens AWS
	// verifies. Their Audiences are the client IDs; if empty, the only one is sts.amazonaws.com. The accepted subjects
	// are in [Role.Subjects].
	Issuers []issuertest.Trust

	// Policies are the principals of other accounts that may pull from a repository: the key is the name of the
	// repository ("123456789012.dkr.ecr.us-east-1.amazonaws.com/team/app"), the values are ARNs of users and roles. An
	// ARN that ends in ":root" means its whole account.
	Policies map[string][]string

	// DisabledRegions are the regions that no account has enabled.
	DisabledRegions []string

	// TokenTTL is the lifetime of the registries' tokens. Zero means 12 hours.
	TokenTTL time.Duration
	// SessionTTL is the lifetime of assumed roles, unless the client requests another one. Zero means an hour.
	SessionTTL time.Duration

	// Rate and Burst limit the token requests of an account in a region: Rate per second, and Burst at once. Zero means
	// 20 and 200, as with AWS.
	Rate, Burst int

	// Skew is the time by which AWS's clock is ahead of this machine's.
	Skew time.Duration

	// Intercept is called before each call of an API; it may send the response itself, and then returns true. It is
	// called concurrently. If nil, it is not called.
	Intercept func(w http.ResponseWriter, r *http.Request, c Call) bool

	mu         sync.Mutex
	sessions   map[string]session // By access key.
	webTokens  map[string]webToken
	tokens     map[string]token // By password.
	buckets    map[string]*bucket
	registries map[string]*registrytest.Registry // By account and region.
	calls      []Call
}

// A User is an IAM user with a static access key.
type User struct {
	// ARN is the ARN of the user: "arn:aws:iam::123456789012:user/ci".
	ARN             string
	AccessKeyID     string
	SecretAccessKey credentials.Secret
	// Allow are the allowed actions, on all resources: "ecr:BatchGetImage"; "ecr:*" means all of a service. See
	// [PullActions].
	Allow []string
}

// A Role is an IAM role, which others assume.
type Role struct {
	// ARN is the ARN of the role: "arn:aws:iam::123456789012:role/pull".
	ARN string
	// TrustedBy are the ARNs of the users and roles that may assume it. An ARN that ends in ":root" means its whole
	// account.
	TrustedBy []string
	// ExternalID is the external ID that the caller must send. If empty, none is required.
	ExternalID string
	// Subjects are the subjects of web identities that may assume it; see [AWS.WebIdentity] and [AWS.Issuers].
	Subjects []string
	// Allow are the allowed actions; see [User.Allow].
	Allow []string
}

// PullActions returns the actions of [ecr.PullPolicy].
func PullActions() []string {
	return []string{"ecr:GetAuthorizationToken", "ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer", "ecr:BatchGetImage"}
}

// ListActions returns the actions of [ecr.ListPolicy].
func ListActions() []string {
	return append(PullActions(), "ecr:DescribeRepositories", "ecr:ListImages")
}

// Attach adds all hosts of AWS to the network.
func (a *AWS) Attach(n *fakenet.Network) {
	for _, domain := range domains() {
		n.Handle("*."+domain, a)
	}
	n.Handle("public.ecr.aws", a)
	n.Handle("ecr-public.aws.com", a)
}

// domains returns the domains of the partitions: of registries and APIs, and of both over IPv4 and IPv6.
func domains() []string {
	return []string{
		"amazonaws.com", "on.aws", "api.aws",
		"amazonaws.com.cn", "on.amazonwebservices.com.cn", "api.amazonwebservices.com.cn",
		"c2s.ic.gov", "api.aws.ic.gov", "sc2s.sgov.gov", "api.aws.scloud", "cloud.adc-e.uk", "api.cloud-aws.adc-e.uk", "csp.hci.ic.gov", "api.aws.hci.ic.gov",
		"amazonaws.eu", "api.amazonwebservices.eu",
	}
}

// ServeHTTP serves all hosts of AWS, selected by the Host header.
func (a *AWS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host := strings.ToLower(r.Host)
	if h, err := ecr.ParseHost(host); err == nil {
		a.serveRegistry(w, r, h)
		return
	}
	if e, ok := parseEndpoint(host); ok {
		a.serveAPI(w, r, e)
		return
	}
	http.Error(w, "ecrtest: no such host", http.StatusNotFound)
}

// API returns a handler for one service of a region, "ecr", "ecr-public" or "sts", at any address: for clients with
// their own endpoint, as set by the variable AWS_ENDPOINT_URL_STS of AWS's SDKs and command line. It panics for other
// services.
func (a *AWS) API(service, region string) http.Handler {
	e := endpoint{service, region}
	if !e.known() {
		panic("ecrtest: no service " + service)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { a.serveAPI(w, r, e) })
}

// An endpoint is one of AWS's APIs.
type endpoint struct {
	service string // The service in the scope of signatures.
	region  string
}

// parseEndpoint parses [api.]SERVICE[-fips].REGION.DOMAIN.
func parseEndpoint(host string) (endpoint, bool) {
	service, rest, _ := strings.Cut(strings.TrimPrefix(host, "api."), ".")
	region, domain, _ := strings.Cut(rest, ".")
	e := endpoint{strings.TrimSuffix(service, "-fips"), region}
	if slices.Contains(domains(), domain) {
		return e, e.known()
	}
	return e, false
}

func (e endpoint) known() bool {
	return e.service == "ecr" || e.service == "ecr-public" || e.service == "sts"
}

// now returns the time of AWS's clock.
func (a *AWS) now() time.Time { return time.Now().Add(a.Skew) }

func (a *AWS) locked(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.tokens == nil {
		a.sessions = make(map[string]session)
		a.webTokens = make(map[string]webToken)
		a.tokens = make(map[string]token)
		a.buckets = make(map[string]*bucket)
		a.registries = make(map[string]*registrytest.Registry)
	}
	f()
}

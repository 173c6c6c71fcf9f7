// Package ecrtest is an AWS in memory, as far as pulling images goes: the API of ECR and ECR Public, STS, and the
// registries themselves. AWS's own clients, and every client of a registry, talk to it unmodified.
//
// An [AWS] is a value that one writes as a literal: users, roles, policies of repositories. [AWS.Attach] puts it into a
// network of named hosts, see package fakenet; [AWS.Registry] is the registry of an account and region, to put images
// into; [AWS.Calls] tells what was asked. Signatures are recomputed from the secrets; tokens end when their time is
// over.
//
// It is for tests, examples and demonstrations: policies are lists of actions, nothing is persistent, and it does not
// limit what clients send.
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

// An AWS is all of Amazon Web Services: every account, region and partition. Set the fields before the first use, and
// change none of them afterwards. It is safe for concurrent use and must not be copied once in use.
type AWS struct {
	Users []User
	Roles []Role

	// Issuers are the OpenID Connect providers of all accounts: the issuers of web identities whose tokens AWS verifies.
	// Their Audiences are the client IDs; none means sts.amazonaws.com. See [Role.Subjects] for the subjects.
	Issuers []issuertest.Trust

	// Policies says who of other accounts may pull from a repository: the repository by its name
	// ("123456789012.dkr.ecr.us-east-1.amazonaws.com/team/app"), and the ARNs of users and roles. An ARN that ends in
	// ":root" stands for its whole account.
	Policies map[string][]string

	// DisabledRegions are those that no account has enabled.
	DisabledRegions []string

	// TokenTTL is how long the tokens of registries are good. Zero means 12 hours.
	TokenTTL time.Duration
	// SessionTTL is how long assumed roles are good, if the client does not say. Zero means an hour.
	SessionTTL time.Duration

	// Rate and Burst are how many tokens an account may ask for in a region: so many a second, and so many at once.
	// Zero means 20 and 200, as with AWS.
	Rate, Burst int

	// Skew is how far AWS's clock is ahead of this machine's.
	Skew time.Duration

	// Intercept is asked before each call of an API; it may answer itself, and then returns true. It is called
	// concurrently. Nil means no.
	Intercept func(w http.ResponseWriter, r *http.Request, c Call) bool

	mu         sync.Mutex
	sessions   map[string]session // By access key.
	webTokens  map[string]webToken
	tokens     map[string]token // By password.
	buckets    map[string]*bucket
	registries map[string]*registrytest.Registry // By account and region.
	calls      []Call
}

// A User has a static access key.
type User struct {
	// ARN is who it is: "arn:aws:iam::123456789012:user/ci".
	ARN             string
	AccessKeyID     string
	SecretAccessKey credentials.Secret
	// Allow are the actions that it may do, on everything: "ecr:BatchGetImage"; "ecr:*", all of a service. See
	// [PullActions].
	Allow []string
}

// A Role is assumed.
type Role struct {
	// ARN is which it is: "arn:aws:iam::123456789012:role/pull".
	ARN string
	// TrustedBy are the ARNs of the users and roles that may assume it. One that ends in ":root" stands for its whole
	// account.
	TrustedBy []string
	// ExternalID is what they must know. Empty means nothing.
	ExternalID string
	// Subjects are those of web identities that may assume it; see [AWS.WebIdentity] and [AWS.Issuers].
	Subjects []string
	// Allow are the actions that it may do; see [User.Allow].
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

// Attach gives all hosts of AWS to the network.
func (a *AWS) Attach(n *fakenet.Network) {
	for _, domain := range domains() {
		n.Handle("*."+domain, a)
	}
	n.Handle("public.ecr.aws", a)
	n.Handle("ecr-public.aws.com", a)
}

// domains are those of the partitions: of registries and APIs, and of both by IPv4 and IPv6.
func domains() []string {
	return []string{
		"amazonaws.com", "on.aws", "api.aws",
		"amazonaws.com.cn", "on.amazonwebservices.com.cn", "api.amazonwebservices.com.cn",
		"c2s.ic.gov", "api.aws.ic.gov", "sc2s.sgov.gov", "api.aws.scloud", "cloud.adc-e.uk", "api.cloud-aws.adc-e.uk", "csp.hci.ic.gov", "api.aws.hci.ic.gov",
		"amazonaws.eu", "api.amazonwebservices.eu",
	}
}

// ServeHTTP serves all hosts of AWS; the Host header says which.
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

// An endpoint is one of AWS's APIs.
type endpoint struct {
	service string // As it is signed for.
	region  string
}

// parseEndpoint reads [api.]SERVICE[-fips].REGION.DOMAIN.
func parseEndpoint(host string) (endpoint, bool) {
	service, rest, _ := strings.Cut(strings.TrimPrefix(host, "api."), ".")
	region, domain, _ := strings.Cut(rest, ".")
	e := endpoint{strings.TrimSuffix(service, "-fips"), region}
	if slices.Contains(domains(), domain) {
		return e, e.service == "ecr" || e.service == "ecr-public" || e.service == "sts"
	}
	return e, false
}

// now is AWS's time.
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

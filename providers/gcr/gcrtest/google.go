// Package gcrtest simulates Google Cloud in memory, as far as pulling images needs it: the token endpoints,
// impersonation, a metadata server, and the registries themselves. Google's own clients, and every client of a
// registry, work with it unmodified.
//
// A [Google] is a value that a test writes as a literal: service accounts, providers of workload identity.
// [Google.Attach] adds it to a network of named hosts, see package fakenet; [Google.NewKey] creates the key of a
// service account like the console; [Google.Registry] returns the registry at a host, to add images to; [Google.Calls]
// returns the calls to the APIs. Signatures of keys are verified; tokens expire.
//
// It is for tests, examples and demonstrations: permissions are lists of repositories, nothing is persistent, and the
// size of requests is not limited.
package gcrtest

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/regcred/regcred/providers/issuertest"
	"github.com/regcred/regcred/registry/registrytest"
	"github.com/regcred/regcred/registry/registrytest/fakenet"
)

// A Google is a simulation of Google Cloud. Set the fields before the first use, and do not change them afterwards; use
// the methods instead. It is safe for concurrent use and must not be copied once in use.
type Google struct {
	Accounts []Account

	// Providers are the providers of workload identity pools, by the audience of their tokens:
	// "//iam.googleapis.com/projects/123/locations/global/workloadIdentityPools/pool/providers/ci".
	Providers []string

	// Trusts are the issuers whose tokens Google verifies, by the audience of the exchange: one of Providers, or
	// "identitynamespace:PROJECT.svc.id.goog:https://container.googleapis.com/v1/projects/PROJECT/..." of a GKE
	// cluster. If a Trust has no Audiences, a provider accepts its own name, and a cluster accepts the name of its
	// pool.
	Trusts map[string]issuertest.Trust

	// Public are the repositories that allow anonymous pulls, as in [Account.Pull].
	Public []string

	// DisabledAPIs are the hosts of APIs that no project has enabled: "iamcredentials.googleapis.com".
	DisabledAPIs []string

	// TokenTTL is the lifetime of access tokens, unless the client requests a shorter one. Zero means an hour.
	TokenTTL time.Duration

	// Skew is the time by which Google's clock is ahead of this machine's.
	Skew time.Duration

	// Intercept is called before each call of an API; it may send the response itself, and then returns true. It is
	// called concurrently. If nil, it is not called.
	Intercept func(w http.ResponseWriter, r *http.Request, c Call) bool

	mu         sync.Mutex
	keys       map[string]*key    // By ID.
	tokens     map[string]token   // By text.
	subjects   map[string]subject // By text.
	refresh    map[string]string  // The account of each refresh token.
	disabled   map[string]bool    // Accounts and keys.
	deleted    map[string]bool    // Accounts.
	registries map[string]*registrytest.Registry
	calls      []Call
}

// An Account is a service account, or a federated identity that a role was granted to directly.
type Account struct {
	// Email is the e-mail address of the account: "puller@project.iam.gserviceaccount.com"; or a subject of workload
	// identity in the form of [Google.SubjectToken].
	Email string
	// Pull are the repositories that it may pull from, with their host: "us-docker.pkg.dev/project/repository/app";
	// "gcr.io/project/*" means all below project; "*" means all.
	Pull []string
	// ImpersonatedBy are the principals that may create tokens of it: e-mail addresses, and subjects of workload
	// identity in the form of [Google.SubjectToken].
	ImpersonatedBy []string
}

// A Call is one call of an API. It never holds a secret.
type Call struct {
	// Action is the kind of call: "token" for a key, "refresh" for the login of a person, "exchange" for the token of
	// another issuer, "generateAccessToken" for a service account, "metadata".
	Action string
	// Host is the host of the API.
	Host string
	// Principal is the caller; empty if unknown.
	Principal string
	// Code is Google's error code in the response; empty if the call succeeded.
	Code string
}

// Calls returns the calls so far, in the order of the responses.
func (g *Google) Calls() []Call {
	var calls []Call
	g.locked(func() { calls = slices.Clone(g.calls) })
	return calls
}

// The hosts of the APIs.
const (
	tokenHost       = "oauth2.googleapis.com"
	exchangeHost    = "sts.googleapis.com"
	credentialsHost = "iamcredentials.googleapis.com"
)

// Attach adds all hosts of Google to the network.
func (g *Google) Attach(n *fakenet.Network) {
	for _, host := range []string{tokenHost, exchangeHost, credentialsHost, "gcr.io", "*.gcr.io", "*.pkg.dev"} {
		n.Handle(host, g)
	}
}

// ServeHTTP serves all hosts of Google except the metadata server, which is on the machine. The Host header selects
// one.
func (g *Google) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host := strings.ToLower(r.Host)
	switch {
	case host == tokenHost && r.URL.Path == "/token":
		g.serve(w, r, g.serveToken)
	case host == exchangeHost && r.URL.Path == "/v1/token":
		g.serve(w, r, g.serveExchange)
	case host == credentialsHost:
		g.serve(w, r, g.serveCredentials)
	case isRegistry(host):
		g.Registry(host).ServeHTTP(w, r)
	default:
		http.Error(w, "gcrtest: no such host or path", http.StatusNotFound)
	}
}

// serve executes one call of an API.
func (g *Google) serve(w http.ResponseWriter, r *http.Request, answer func(*http.Request, *Call) (any, *failure)) {
	c := Call{Host: r.Host, Action: actionOf(r)}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.Header().Set("Date", g.now().UTC().Format(http.TimeFormat))
	if g.Intercept != nil && g.Intercept(w, r, c) {
		g.note(c)
		return
	}
	body, failed := answer(r, &c)
	if failed != nil {
		c.Code = failed.code
		g.note(c)
		failed.send(w)
		return
	}
	g.note(c)
	send(w, http.StatusOK, body)
}

func actionOf(r *http.Request) string {
	if r.Host == credentialsHost {
		_, action, _ := strings.Cut(r.URL.Path, ":")
		return action
	}
	switch r.PostFormValue("grant_type") {
	case grantJWT:
		return "token"
	case grantRefresh:
		return "refresh"
	case grantExchange:
		return "exchange"
	}
	return ""
}

func (g *Google) note(c Call) {
	g.locked(func() { g.calls = append(g.calls, c) })
}

// now returns the time of Google's clock.
func (g *Google) now() time.Time { return time.Now().Add(g.Skew) }

func (g *Google) locked(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.keys == nil {
		g.keys = make(map[string]*key)
		g.tokens = make(map[string]token)
		g.subjects = make(map[string]subject)
		g.refresh = make(map[string]string)
		g.disabled = make(map[string]bool)
		g.deleted = make(map[string]bool)
		g.registries = make(map[string]*registrytest.Registry)
	}
	f()
}

package registrytest

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/regcred/regcred/credentials"
)

// A Registry is a container registry in memory. It is an [http.Handler]; see also [Start] and [Registry.RoundTripper].
//
// Set the fields before the first use. After that, change the registry only with its methods. The zero Registry is
// empty, requires Basic authentication and has no accounts. A Registry is safe for concurrent use, and must not be
// copied after its first use.
type Registry struct {
	// Dialect is the registry's dialect. The zero Dialect is a plain registry with Basic authentication.
	Dialect Dialect

	// Accounts are the accounts that may log in, until [Registry.SetAccounts] replaces them. Several accounts may have the
	// same user name and different passwords.
	Accounts []Account
	// Authenticate looks up a user name and password that no account has, such as those issued by a cloud. It returns
	// false if they are unknown. An account whose ExpiresAt has passed gets the response for an expired login.
	// Authenticate is called concurrently. If nil, there are no further accounts.
	Authenticate func(username string, password credentials.Secret) (Account, bool)

	// Public are the repositories that can be pulled without a login; see [Account.Pull] for the patterns.
	Public []string
	// Blocked are the repositories whose images are blocked by a rule, such as a vulnerability policy; see
	// [Dialect.Blocks].
	Blocked []string
	// Repositories are the repositories that exist from the start, without images.
	Repositories []string

	// TokenHost is the host of the token endpoint, with its port if there is one, for a dialect whose token endpoint has
	// its own host. Empty means "auth." before the host of the registry. [Start] listens on a host of its own.
	TokenHost string
	// RedirectBlobs redirects requests for blobs to another host, which rejects every login, as storage services do with a
	// signed URL.
	RedirectBlobs bool
	// BlobHost is the host for RedirectBlobs. Empty means "blobs." before the host of the registry. [Start] listens on a
	// host of its own.
	BlobHost string

	// RateLimit limits the requests for manifests. The zero RateLimit means no limit.
	RateLimit RateLimit
	// TokenTTL is the lifetime of a token. Zero means the dialect's.
	TokenTTL time.Duration
	// OneScope makes the token endpoint ignore all but the first of several scopes.
	OneScope bool
	// PageSize is the maximum length of a page of a list. A client that requests more gets a 400. Zero means the
	// dialect's.
	PageSize int

	once   sync.Once
	signed string // Proves that this registry made the URL of the blob host.

	mu       sync.Mutex
	accounts []Account
	tokens   map[string]*token
	store    store
	windows  map[string]*window
	faults   []*fault
	log      []*Request
}

// An Account is a user of the registry. The zero value of each right is no right.
type Account struct {
	// Username and Password are compared exactly, the password in constant time.
	Username string
	Password credentials.Secret
	// ExpiresAt is the time at which the login expires. Zero means never.
	ExpiresAt time.Time

	// Pull are patterns of the repositories that the account may pull from: "team/app"; "team/*" for all below team; "*"
	// for all. A repository need not exist yet.
	Pull []string
	// Push are patterns of the repositories that the account may push to and pull from.
	Push []string
	// NoBlobs are patterns of repositories from which the account may pull manifests only, regardless of Pull and Push: in
	// some registries these are two rights.
	NoBlobs []string
	// Admin is the right to list all repositories.
	Admin bool
}

// matches reports whether one of the patterns matches the repository.
func matches(patterns []string, repository string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		prefix, below := strings.CutSuffix(p, "*")
		return p == repository || below && strings.HasPrefix(repository, prefix)
	})
}

func (a Account) may(action, repository string) bool {
	switch action {
	case "pull":
		return matches(a.Pull, repository) || matches(a.Push, repository)
	case "push":
		return matches(a.Push, repository)
	}
	return false
}

func (a Account) hasRights() bool { return len(a.Pull)+len(a.Push) > 0 || a.Admin }

func (a Account) expired() bool {
	return !a.ExpiresAt.IsZero() && !time.Now().Before(a.ExpiresAt)
}

func (r *Registry) init() {
	r.once.Do(func() {
		r.signed = randomText()
		r.accounts = slices.Clone(r.Accounts)
		r.tokens = make(map[string]*token)
		r.windows = make(map[string]*window)
		r.store.init()
		for _, name := range r.Repositories {
			r.store.create(name)
		}
	})
}

// locked calls f with the lock held.
func (r *Registry) locked(f func()) {
	r.init()
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

// SetAccounts replaces all accounts. Tokens that were issued remain valid; see [Registry.ExpireTokens].
func (r *Registry) SetAccounts(accounts ...Account) {
	r.locked(func() { r.accounts = slices.Clone(accounts) })
}

// ExpireTokens expires all bearer and refresh tokens that were issued.
func (r *Registry) ExpireTokens() {
	r.locked(func() {
		now := time.Now()
		for _, t := range r.tokens {
			t.expiresAt = now
		}
	})
}

// ServeHTTP serves the registry, its token endpoint and its blob storage. The Host header of the request selects one of
// them.
func (r *Registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	at := place{part: PartRegistry, tokenHost: r.TokenHost, blobHost: r.BlobHost}
	registryHost := req.Host
	if r.Dialect.token.otherHost && isOther(&at.tokenHost, &registryHost, "auth.") {
		at.part = PartToken
	}
	if r.RedirectBlobs && isOther(&at.blobHost, &registryHost, "blobs.") {
		at.part = PartBlobs
	}
	r.serve(w, req, at)
}

// isOther reports whether the request went to the other host. If the other host has no name yet, isOther derives it
// from the registry's.
func isOther(other, host *string, prefix string) bool {
	if *other != "" {
		return *other == *host
	}
	rest, ok := strings.CutPrefix(*host, prefix)
	if ok {
		*host = rest
	}
	*other = prefix + *host
	return ok
}

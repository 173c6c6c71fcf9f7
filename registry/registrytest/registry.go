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
// Set the fields before its first use, and change none of them afterwards: the methods are for that. The zero Registry
// is empty, wants Basic authentication and knows no account. It is safe for concurrent use and must not be copied once
// in use.
type Registry struct {
	// Dialect is how it speaks. The zero Dialect is a plain registry with Basic authentication.
	Dialect Dialect

	// Accounts are those who may log in, until [Registry.SetAccounts] names others. Several may have the same user
	// name, with passwords of their own.
	Accounts []Account
	// Authenticate is asked for a user name and password that no account has, such as those that a cloud issued. It
	// returns false for ones that it does not know either; an account whose ExpiresAt has passed is answered as
	// expired. It is called concurrently. Nil means that there are no others.
	Authenticate func(username string, password credentials.Secret) (Account, bool)

	// Public are the repositories that anybody may pull from; see [Account.Pull] for how they are named.
	Public []string
	// Blocked are the repositories whose images a rule stops, such as a vulnerability policy; see [Dialect.Blocks].
	Blocked []string
	// Repositories exist from the start, without an image.
	Repositories []string

	// TokenHost is the host of the token endpoint, with its port if there is one, where the dialect has one on another
	// host. Empty means "auth." before the host of the registry; [Start] listens on one.
	TokenHost string
	// RedirectBlobs sends those who ask for a blob to another host, which refuses every login, as storage services do
	// with a signed URL.
	RedirectBlobs bool
	// BlobHost is that host. Empty means "blobs." before the host of the registry; [Start] listens on one.
	BlobHost string

	// RateLimit is how often manifests may be asked for. The zero RateLimit means without a limit.
	RateLimit RateLimit
	// TokenTTL is how long a token is good. Zero means as long as the dialect's.
	TokenTTL time.Duration
	// OneScope makes the token endpoint heed only the first of several scopes.
	OneScope bool
	// PageSize is the longest page of a list; a client that asks for more gets a 400. Zero means as long as the
	// dialect's.
	PageSize int

	once   sync.Once
	signed string // Proves that a URL of the blob host was made here.

	mu       sync.Mutex
	accounts []Account
	tokens   map[string]*token
	store    store
	windows  map[string]*window
	faults   []*fault
	log      []*Request
}

// An Account is somebody who may log in. The zero value of each right is none.
type Account struct {
	// Username and Password are compared as they are, the password in constant time.
	Username string
	Password credentials.Secret
	// ExpiresAt is when the login ends to be accepted. Zero means never.
	ExpiresAt time.Time

	// Pull are the repositories that may be pulled from: "team/app"; "team/*", all below team; "*", all. One that does
	// not exist yet may be named.
	Pull []string
	// Push are those that may be pushed to, and pulled from.
	Push []string
	// NoBlobs are those whose manifests may be pulled and nothing else, whatever Pull and Push say: with some
	// registries these are two rights.
	NoBlobs []string
	// Admin may list all repositories.
	Admin bool
}

// matches reports whether one of the patterns names the repository.
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

// locked runs f with the state.
func (r *Registry) locked(f func()) {
	r.init()
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

// SetAccounts replaces all accounts. Tokens that were issued stay good; see [Registry.ExpireTokens].
func (r *Registry) SetAccounts(accounts ...Account) {
	r.locked(func() { r.accounts = slices.Clone(accounts) })
}

// ExpireTokens ends all bearer and refresh tokens that were issued, as if their time had passed.
func (r *Registry) ExpireTokens() {
	r.locked(func() {
		now := time.Now()
		for _, t := range r.tokens {
			t.expiresAt = now
		}
	})
}

// ServeHTTP serves the registry, its token endpoint and its storage of blobs; which of them, the Host header of the
// request says.
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

// isOther reports whether the request went to the other host, which it names after the registry's if it has no name.
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

// Package cache_test measures package credentials beside its peers, all in one run: see docs/benchmarks.md for the
// commands and the results.
package cache_test

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"cloud.google.com/go/auth"
	"github.com/aws/aws-sdk-go-v2/aws"
	fluxcache "github.com/fluxcd/pkg/cache"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/maypok86/otter/v2"
	"golang.org/x/oauth2"
	"k8s.io/client-go/transport"
	orasauth "oras.land/oras-go/v2/registry/remote/auth"

	"github.com/regcred/regcred/credentials"
)

// issue is what all caches ask. The text of its credential is shared, so that it does not count as memory of the cache.
type issue func(ctx context.Context) (credentials.Credential, error)

// A peer is a cache.
type peer struct {
	name string
	// bind caches one source. Nil means that the cache has keys only.
	bind func(issue) func(context.Context) error
	// open makes a cache with keys. Nil means that bound ones are put into a sync.Map, which is what its users do.
	open func() func(context.Context, credentials.Key, issue) error
}

// early is when renewal is due in the scenario of renewals: two seconds after the issue of a token that is good for
// twelve.
const (
	shortLife = 12 * time.Second
	early     = 10 * time.Second
)

var peers = []peer{
	{"regcred", bindRegcred, openRegcred},
	{"oauth2", func(issue issue) func(context.Context) error {
		src := oauth2.ReuseTokenSourceWithExpiry(nil, tokens(issue), early)
		return func(context.Context) error { _, err := src.Token(); return err }
	}, nil},
	{"aws", func(issue issue) func(context.Context) error {
		provider := aws.CredentialsProviderFunc(func(ctx context.Context) (aws.Credentials, error) {
			c, err := issue(ctx)
			return aws.Credentials{AccessKeyID: c.Username, SecretAccessKey: text, CanExpire: true, Expires: c.ExpiresAt}, err
		})
		cache := aws.NewCredentialsCache(provider, func(o *aws.CredentialsCacheOptions) { o.ExpiryWindow = early })
		return func(ctx context.Context) error { _, err := cache.Retrieve(ctx); return err }
	}, nil},
	{"client-go", func(issue issue) func(context.Context) error {
		src := transport.NewCachedTokenSource(tokens(issue))
		return func(context.Context) error { _, err := src.Token(); return err }
	}, nil},
	{"google auth", func(issue issue) func(context.Context) error {
		src := auth.NewCachedTokenProvider(googleTokens(issue), &auth.CachedTokenProviderOptions{ExpireEarly: early})
		return func(ctx context.Context) error { _, err := src.Token(ctx); return err }
	}, nil},
	{"ggcr", func(issue issue) func(context.Context) error {
		chain := authn.RefreshingKeychain(keychain(issue), shortLife-early)
		found, err := chain.Resolve(target{})
		return func(context.Context) error {
			if err != nil { // It asks at once when it resolves.
				found, err = chain.Resolve(target{})
			}
			if err != nil {
				return err
			}
			_, err := found.Authorization()
			return err
		}
	}, nil},
	{"flux", nil, func() func(context.Context, credentials.Key, issue) error {
		cache, err := fluxcache.NewTokenCache(200_000)
		if err != nil {
			panic(err)
		}
		return func(ctx context.Context, key credentials.Key, issue issue) error {
			_, _, err := cache.GetOrSet(ctx, key.Scope, func(ctx context.Context) (fluxcache.Token, error) {
				c, err := issue(ctx)
				return fluxToken{c}, err
			})
			return err
		}
	}},
	{"oras", nil, func() func(context.Context, credentials.Key, issue) error {
		cache := orasauth.NewCache()
		return func(ctx context.Context, key credentials.Key, issue issue) error {
			if _, err := cache.GetToken(ctx, key.Scope, orasauth.SchemeBearer, "scope"); err == nil {
				return nil
			}
			_, err := cache.Set(ctx, key.Scope, orasauth.SchemeBearer, "scope", func(ctx context.Context) (string, error) {
				_, err := issue(ctx)
				return text, err
			})
			return err
		}
	}},
	{"otter", nil, func() func(context.Context, credentials.Key, issue) error {
		cache := otter.Must(&otter.Options[credentials.Key, credentials.Credential]{
			MaximumSize:      200_000,
			ExpiryCalculator: otter.ExpiryWriting[credentials.Key, credentials.Credential](12 * time.Hour),
		})
		return func(ctx context.Context, key credentials.Key, issue issue) error {
			if _, ok := cache.GetIfPresent(key); ok {
				return nil
			}
			_, err := cache.Get(ctx, key, otter.LoaderFunc[credentials.Key, credentials.Credential](
				func(ctx context.Context, _ credentials.Key) (credentials.Credential, error) { return issue(ctx) }))
			return err
		}
	}},
	{"limit", bindLimit, nil},
}

func newCache() *credentials.Cache {
	life := float64(shortLife-early) / float64(shortLife)
	return &credentials.Cache{Policy: credentials.Policy{Fraction: life, Spread: -1, Reserve: -1}, Rate: -1, MaxEntries: 200_000}
}

func bindRegcred(issue issue) func(context.Context) error {
	src := newCache().Source(credentials.Key{}, credentials.Func(issue))
	return func(ctx context.Context) error { _, err := src.Credential(ctx); return err }
}

func openRegcred() func(context.Context, credentials.Key, issue) error {
	cache := newCache()
	return func(ctx context.Context, key credentials.Key, issue issue) error {
		_, err := cache.Credential(ctx, key, credentials.Func(issue))
		return err
	}
}

// bindLimit is the least that could hand out a credential: an atomic pointer and the time. Renewal, sharing and failure
// are not its concern.
func bindLimit(issue issue) func(context.Context) error {
	l := &limit{issue: issue}
	return func(ctx context.Context) error { _, err := l.Credential(ctx); return err }
}

type limit struct {
	have  atomic.Pointer[credentials.Credential]
	issue issue
}

//go:noinline
func (l *limit) Credential(ctx context.Context) (credentials.Credential, error) {
	if c := l.have.Load(); c != nil && time.Now().Before(c.ExpiresAt) {
		return *c, nil
	}
	c, err := l.issue(ctx)
	l.have.Store(&c)
	return c, err
}

// keyed returns the peer with keys.
func (p peer) keyed() func(context.Context, credentials.Key, issue) error {
	if p.open != nil {
		return p.open()
	}
	var all sync.Map
	return func(ctx context.Context, key credentials.Key, issue issue) error {
		get, ok := all.Load(key)
		if !ok {
			get, _ = all.LoadOrStore(key, p.bind(issue))
		}
		return get.(func(context.Context) error)(ctx)
	}
}

const text = "a token"

var secret = credentials.NewSecret(text)

func credential(life time.Duration) credentials.Credential {
	now := time.Now()
	return credentials.Credential{Username: "AWS", Password: secret, IssuedAt: now, ExpiresAt: now.Add(life)}
}

type tokens issue

func (t tokens) Token() (*oauth2.Token, error) {
	c, err := t(context.Background())
	return &oauth2.Token{AccessToken: text, Expiry: c.ExpiresAt}, err
}

type googleTokens issue

func (t googleTokens) Token(ctx context.Context) (*auth.Token, error) {
	c, err := t(ctx)
	return &auth.Token{Value: text, Expiry: c.ExpiresAt}, err
}

type keychain issue

func (k keychain) Resolve(authn.Resource) (authn.Authenticator, error) {
	c, err := k(context.Background())
	return authn.FromConfig(authn.AuthConfig{Username: c.Username, Password: text}), err
}

type target struct{}

func (target) String() string      { return "registry.example.com" }
func (target) RegistryStr() string { return "registry.example.com" }

type fluxToken struct{ credentials.Credential }

// GetDuration is Flux's expiry. It renews after four fifths.
func (t fluxToken) GetDuration() time.Duration {
	if left := time.Until(t.ExpiresAt); left > time.Minute {
		return left
	}
	return (shortLife - early) * 5 / 4
}

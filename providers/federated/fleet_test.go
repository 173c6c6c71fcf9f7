package federated_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/providers/federated"
	"github.com/regcred/regcred/providers/federated/federatedtest"
	"github.com/regcred/regcred/providers/issuertest"
	"github.com/regcred/regcred/registry"
)

// A fleetIssuer issues the tokens of many accounts and counts them.
type fleetIssuer struct {
	issuer   *issuertest.Issuer
	lifetime time.Duration
	tokens   atomic.Int64
}

func (f *fleetIssuer) SubjectToken(_ context.Context, r providers.SubjectRequest) (credentials.Secret, error) {
	f.tokens.Add(1)
	account := r.Subject.Kubernetes
	return credentials.NewSecret(f.issuer.Token("system:serviceaccount:"+account.Namespace+":"+account.Name, r.Audience, f.lifetime)), nil
}

// TestFleet keeps a credential for each of many namespaces, each with an account of its own, for two days. No credential
// is ever expired, and the requests for tokens stay within 1.3 times the least that the lifetimes allow.
// REGCRED_NAMESPACES sets the number of namespaces.
func TestFleet(t *testing.T) {
	namespaces := 100
	if text := os.Getenv("REGCRED_NAMESPACES"); text != "" {
		var err error
		namespaces, err = strconv.Atoi(text)
		require.NoError(t, err)
	}
	for _, lifetime := range []time.Duration{time.Hour, 12 * time.Hour} {
		t.Run(lifetime.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { fleet(t, namespaces, lifetime) })
		})
	}
}

func fleet(t *testing.T, namespaces int, lifetime time.Duration) {
	const days = 2
	f := &fleetIssuer{issuer: issuertest.New("https://kubernetes.example.com", issuertest.ES256), lifetime: lifetime}
	provider := federated.Provider{Subjects: f}
	profile := registry.Profile{
		Name: "zot", Kind: registry.Custom, Endpoint: "zot.example.com",
		Login: credentials.Login{Federated: &credentials.FederatedLogin{
			Subject:  credentials.Subject{Kubernetes: &credentials.ServiceAccount{Name: "puller"}},
			Exchange: credentials.Exchange{Password: &credentials.PasswordExchange{}},
		}},
	}
	cache := &credentials.Cache{}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = cache.Run(ctx) })
	defer running.Wait()
	defer stop()
	sources := make([]*credentials.CachedSource, namespaces)
	for i := range sources {
		p := profile.ForNamespace(fmt.Sprintf("team-%d", i))
		sources[i] = cache.Source(providers.Key(provider, p), providers.Source(provider, p))
	}
	seen := make(map[string]bool)
	for range days * 24 * 4 {
		for _, source := range sources {
			c, err := source.Credential(t.Context())
			require.NoError(t, err)
			require.True(t, time.Now().Before(c.ExpiresAt))
			seen[c.Password.Reveal()] = true
		}
		time.Sleep(15 * time.Minute)
	}
	least := float64(namespaces) * float64(days*24*time.Hour) / float64(lifetime)
	got := float64(f.tokens.Load())
	t.Logf("%d namespaces, tokens of %s: %.0f requests in %d days, %.3f times the least", namespaces, lifetime, got, days, got/least)
	require.LessOrEqual(t, got, 1.3*least+float64(namespaces), "with the first token of each namespace")
	require.LessOrEqual(t, float64(len(seen)), got, "no credential is shared between namespaces")
	require.GreaterOrEqual(t, len(seen), namespaces)
}

// Tenants with paths of their own at one registry share its limit: at a cold start, the registry and the API server get
// a burst and then a constant rate.
func TestColdStartAtOneHost(t *testing.T) {
	const tenants = 300
	issuer := issuertest.New("https://kubernetes.example.com", issuertest.RS256)
	synctest.Test(t, func(t *testing.T) {
		f := &fleetIssuer{issuer: issuer, lifetime: 10 * time.Minute}
		// All tenants share the robot of one tenant, because only the requests are counted.
		trust := issuertest.Trust{Issuer: issuer.URL, Keys: issuer.JWKS, Subject: "system:serviceaccount:*"}
		server := &federatedtest.Server{Trust: trust, Name: "acme+shop"}
		provider := federated.Provider{Subjects: f, RoundTripper: server.RoundTripper()}
		cache := &credentials.Cache{}
		var running sync.WaitGroup
		begin := time.Now()
		for i := range tenants {
			p := profile(fmt.Sprintf("quay.example.com/tenant-%d", i), credentials.Exchange{Quay: &credentials.QuayExchange{Robot: "acme+shop"}}).ForNamespace("")
			p.Login.Federated.Subject.Kubernetes = &credentials.ServiceAccount{Namespace: fmt.Sprintf("tenant-%d", i), Name: "puller"}
			source := cache.Source(providers.Key(provider, p), providers.Source(provider, p))
			running.Go(func() {
				_, err := source.Credential(t.Context())
				if err != nil {
					t.Error(err)
				}
			})
		}
		time.Sleep(time.Millisecond)
		require.Len(t, server.Log(), 200, "the burst")
		time.Sleep(time.Second)
		require.InDelta(t, 220, len(server.Log()), 1)
		running.Wait()
		require.InDelta(t, float64(tenants-200)/20, time.Since(begin).Seconds(), 1)
		require.EqualValues(t, tenants, f.tokens.Load())
	})
}

func TestScope(t *testing.T) {
	scope := func(endpoint string, x credentials.Exchange, hosts ...string) string {
		p := profile(endpoint, x)
		p.Hosts = hosts
		return federated.Provider{}.Scope(p)
	}
	quay := credentials.Exchange{Quay: &credentials.QuayExchange{Robot: "acme+shop"}}
	require.Equal(t, "quay.io", scope("quay.io/acme", quay))
	require.Equal(t, "quay.io", scope("quay.io/other", quay))
	require.Empty(t, scope("quay.io/acme", quay, "evil.example"), "it does not share the credential of valid profiles")
	require.Equal(t, "api.cloudsmith.io", scope("docker.cloudsmith.io/acme", targets()["cloudsmith"].profile.Login.Federated.Exchange))
	require.Empty(t, scope("evil.example/acme", targets()["cloudsmith"].profile.Login.Federated.Exchange))
	require.Empty(t, scope("quay.io", credentials.Exchange{}))
}

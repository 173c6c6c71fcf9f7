package ecr_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/providers/ecr"
	"github.com/regcred/regcred/providers/ecr/ecrtest"
	"github.com/regcred/regcred/providers/issuertest"
	"github.com/regcred/regcred/registry/registrytest"
)

// A meter counts requests in simulated time, and compares them with a token bucket.
type meter struct {
	rate, burst float64

	mu     sync.Mutex
	all    int
	second map[int64]int // By the second.
	left   float64
	at     time.Time
	beyond int
}

func newMeter(rate, burst float64) *meter {
	return &meter{rate: rate, burst: burst, left: burst, at: time.Now(), second: make(map[int64]int)}
}

func (m *meter) count() {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	m.all++
	m.second[now.Unix()]++
	m.left = min(m.burst, m.left+m.rate*now.Sub(m.at).Seconds())
	if m.at = now; m.left < 0.999 { // Floats.
		m.beyond++
		return
	}
	m.left--
}

// peak returns the most requests within one second.
func (m *meter) peak() (most int) {
	for _, n := range m.second {
		most = max(most, n)
	}
	return most
}

// A countedCluster issues tokens of one account in each namespace.
type countedCluster struct {
	issuer *issuertest.Issuer
	tokens *meter
}

func (c countedCluster) SubjectToken(_ context.Context, r providers.SubjectRequest) (credentials.Secret, error) {
	c.tokens.count()
	account := r.Subject.Kubernetes
	return credentials.NewSecret(c.issuer.Token("system:serviceaccount:"+account.Namespace+":"+account.Name, r.Audience, r.Lifetime)), nil
}

// TestKeylessFleet starts a platform with an account and a role session for each namespace, all at once and with nothing
// cached, and runs it through four lifetimes. The requests to the Kubernetes API, to STS and to ECR are counted by the
// second: none exceeds a quota, and none is made in vain. REGCRED_NAMESPACES sets the number of namespaces.
func TestKeylessFleet(t *testing.T) {
	namespaces := 300
	if text := os.Getenv("REGCRED_NAMESPACES"); text != "" {
		var err error
		namespaces, err = strconv.Atoi(text)
		require.NoError(t, err)
	}
	for _, lifetime := range []time.Duration{time.Hour, 12 * time.Hour} {
		t.Run(lifetime.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { keylessFleet(t, namespaces, lifetime) })
		})
	}
}

func keylessFleet(t *testing.T, namespaces int, lifetime time.Duration) {
	const (
		lifetimes = 4
		// Of all calls of an account in a region: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html.
		quotaSTS = 600
		// Of GetAuthorizationToken: https://docs.aws.amazon.com/AmazonECR/latest/userguide/service-quotas.html.
		quotaECR, burstECR = 20, 200
	)
	tokens, sts, authorizations := newMeter(quotaECR, burstECR), newMeter(quotaECR, burstECR), newMeter(quotaECR, burstECR)
	issuer := issuertest.New("https://kubernetes.example.com", issuertest.ES256)
	cloud := &ecrtest.AWS{
		Roles:    []ecrtest.Role{{ARN: podARN, Allow: ecrtest.PullActions()}},
		Issuers:  []issuertest.Trust{{Issuer: issuer.URL, Keys: issuer.JWKS}},
		TokenTTL: lifetime,
		Intercept: func(_ http.ResponseWriter, _ *http.Request, c ecrtest.Call) bool {
			if c.Action == "ecr:GetAuthorizationToken" {
				authorizations.count()
			} else {
				sts.count()
			}
			time.Sleep(50 * time.Millisecond)
			return false
		},
	}
	for i := range namespaces {
		cloud.Roles[0].Subjects = append(cloud.Roles[0].Subjects, fmt.Sprintf("system:serviceaccount:team-%d:puller", i))
	}
	provider := ecr.Provider{Subjects: countedCluster{issuer, tokens}, RoundTripper: registrytest.NewRoundTripper(cloud)}
	profile := keyless("")
	profile.Login.AWS.WebIdentity.Subject.Kubernetes.Namespace = ""

	cache := &credentials.Cache{}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = cache.Run(ctx) })
	begin := time.Now()
	sources := make([]*credentials.CachedSource, namespaces)
	var started sync.WaitGroup
	for i := range sources {
		p := profile.ForNamespace(fmt.Sprintf("team-%d", i))
		sources[i] = cache.Source(providers.Key(provider, p), providers.Source(provider, p))
		started.Go(func() {
			if _, err := sources[i].Credential(ctx); err != nil {
				t.Errorf("at the start: %v", err)
			}
		})
	}
	started.Wait()
	cold := time.Since(begin)
	for time.Since(begin) < lifetimes*lifetime {
		time.Sleep(lifetime / 4)
		for _, source := range sources {
			called := time.Now()
			c, err := source.Credential(ctx)
			require.NoError(t, err)
			require.True(t, called.Before(c.ExpiresAt))
			require.Zero(t, time.Since(called), "nobody waits after the start")
		}
	}
	stop()
	running.Wait()
	time.Sleep(time.Second) // Calls in flight end.

	least := lifetimes * namespaces
	t.Logf("%d namespaces, %s: all had a credential after %s; %.2f times the least calls; in one second at most %d TokenRequests, %d calls of STS, %d of ECR",
		namespaces, lifetime, cold, float64(sts.all)/float64(least), tokens.peak(), sts.peak(), authorizations.peak())
	for name, m := range map[string]*meter{"TokenRequest": tokens, "STS": sts, "ECR": authorizations} {
		require.Zero(t, m.beyond, "%s: requests beyond %d a second after %d at once", name, quotaECR, burstECR)
		require.LessOrEqual(t, m.peak(), quotaSTS, name)
		require.LessOrEqual(t, float64(m.all), 1.3*float64(least), name)
	}
	for _, call := range cloud.Calls() {
		require.Empty(t, call.Code, "no call is throttled or rejected")
	}
	wait := time.Duration(max(0, namespaces-burstECR)) * time.Second / quotaECR
	require.LessOrEqual(t, cold, wait+2*time.Second, "a cold start takes as long as the quota requires")
}

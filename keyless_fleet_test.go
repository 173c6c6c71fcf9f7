package regcred_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/inject/injecttest"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/providers/ecr"
	"github.com/regcred/regcred/providers/ecr/ecrtest"
	"github.com/regcred/regcred/providers/issuertest"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
)

const fleetHost = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"

// TestKeylessSecrets keeps a pull secret in each of many namespaces through eight lifetimes. Each namespace has an
// account and a credential of its own. The test counts TokenRequests, calls to the issuer and writes of secrets: each
// number is at most 1.3 times the minimum that the lifetimes require. The registry accepts each published password
// until the instant at which it is replaced. REGCRED_NAMESPACES sets the number of namespaces.
func TestKeylessSecrets(t *testing.T) {
	namespaces := 50
	if text := os.Getenv("REGCRED_NAMESPACES"); text != "" {
		var err error
		namespaces, err = strconv.Atoi(text)
		require.NoError(t, err)
	}
	for _, lifetime := range []time.Duration{time.Hour, 12 * time.Hour} {
		t.Run(lifetime.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { keylessSecrets(t, namespaces, lifetime) })
		})
	}
}

// A keylessFleet is a cluster whose accounts AWS trusts. It counts the events in the cluster and the calls to AWS.
type keylessFleet struct {
	issuer *issuertest.Issuer
	client http.RoundTripper

	mu        sync.Mutex
	tokens    map[string]int // TokenRequests by namespace.
	sts, ecr  int
	writes    int
	published map[string]publishedLogin // By namespace.
	passwords map[string]bool
	complete  time.Time // When the last namespace got its first secret.
	wrong     []string
}

type publishedLogin struct {
	password  string
	expiresAt time.Time
}

// SubjectToken issues the tokens of all accounts.
func (f *keylessFleet) SubjectToken(_ context.Context, r providers.SubjectRequest) (credentials.Secret, error) {
	account := r.Subject.Kubernetes
	f.mu.Lock()
	f.tokens[account.Namespace]++
	f.mu.Unlock()
	return credentials.NewSecret(f.issuer.Token("system:serviceaccount:"+account.Namespace+":"+account.Name, r.Audience, r.Lifetime)), nil
}

// calls counts the calls of AWS's APIs, which are slow.
func (f *keylessFleet) calls(_ http.ResponseWriter, _ *http.Request, c ecrtest.Call) bool {
	f.mu.Lock()
	if c.Action == "ecr:GetAuthorizationToken" {
		f.ecr++
	} else {
		f.sts++
	}
	f.mu.Unlock()
	time.Sleep(50 * time.Millisecond)
	return false
}

// changed counts the writes of secrets. Only a write changes a secret, so a secret that is valid when it is replaced
// was valid until then.
func (f *keylessFleet) changed(c inject.Change, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		f.wrong = append(f.wrong, fmt.Sprintf("%s: %v", c, err))
		return
	}
	if c.Action == inject.LinkAccount {
		return
	}
	f.writes++
	before, exists := f.published[c.Namespace]
	if exists {
		f.valid(c.Namespace, before)
	} else {
		f.complete = time.Now()
	}
	var config struct {
		Auths map[string]struct{ Auth []byte }
	}
	if err := json.Unmarshal(c.Secret.Config.Reveal(), &config); err != nil {
		f.wrong = append(f.wrong, err.Error())
		return
	}
	expires, err := time.Parse(time.RFC3339, c.Secret.Annotations[inject.AnnotationExpiresAt])
	if err != nil {
		f.wrong = append(f.wrong, err.Error())
		return
	}
	now := publishedLogin{strings.TrimPrefix(string(config.Auths[fleetHost].Auth), "AWS:"), expires}
	if f.passwords[now.password] {
		f.wrong = append(f.wrong, c.Namespace+": the credential is that of another namespace, or was published before")
	}
	f.passwords[now.password], f.published[c.Namespace] = true, now
	f.valid(c.Namespace, now)
}

// valid checks a published login now, by its annotation and with the registry.
func (f *keylessFleet) valid(namespace string, p publishedLogin) {
	if !time.Now().Before(p.expiresAt) {
		f.wrong = append(f.wrong, fmt.Sprintf("%s: expired since %s", namespace, time.Since(p.expiresAt)))
	}
	r, err := http.NewRequest(http.MethodGet, "https://"+fleetHost+"/v2/", nil)
	if err != nil {
		f.wrong = append(f.wrong, err.Error())
		return
	}
	r.SetBasicAuth("AWS", p.password)
	response, err := f.client.RoundTrip(r)
	if err != nil {
		f.wrong = append(f.wrong, err.Error())
		return
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusOK {
		f.wrong = append(f.wrong, namespace+": the registry answers "+response.Status)
	}
}

func keylessSecrets(t *testing.T, namespaces int, lifetime time.Duration) {
	const lifetimes = 8
	f := &keylessFleet{
		issuer: issuertest.New("https://kubernetes.example.com", issuertest.ES256),
		tokens: make(map[string]int), published: make(map[string]publishedLogin), passwords: make(map[string]bool),
	}
	cloud := &ecrtest.AWS{
		Roles:    []ecrtest.Role{{ARN: shopRole, Allow: ecrtest.PullActions()}},
		Issuers:  []issuertest.Trust{{Issuer: f.issuer.URL, Keys: f.issuer.JWKS}},
		TokenTTL: lifetime, Intercept: f.calls,
	}
	profile := registry.Profile{Name: "ecr", Kind: registry.ECR, Endpoint: fleetHost, Login: credentials.Login{AWS: &credentials.AWSLogin{
		WebIdentity: &credentials.AWSWebIdentity{RoleARN: shopRole, Subject: &credentials.Subject{Kubernetes: &credentials.ServiceAccount{Name: "puller"}}},
	}}}
	cluster := &injecttest.Cluster{}
	targets := make([]inject.Target, namespaces)
	for i := range targets {
		name := fmt.Sprintf("team-%d", i)
		require.NoError(t, cluster.CreateNamespace(t.Context(), name, nil))
		cloud.Roles[0].Subjects = append(cloud.Roles[0].Subjects, "system:serviceaccount:"+name+":puller")
		targets[i] = inject.Target{
			Name: "regcred-" + name, Profiles: []registry.Profile{profile.ForNamespace(name)},
			Namespaces: inject.Selection{Names: []string{name}}, Accounts: inject.Selection{Names: []string{"default"}},
		}
	}
	f.client = registrytest.NewRoundTripper(cloud)
	provider := ecr.Provider{Subjects: f, RoundTripper: f.client}
	cache := &credentials.Cache{}
	syncer := &inject.Syncer{
		Cluster: cluster, OnChange: f.changed,
		Credential: func(ctx context.Context, p registry.Profile) (credentials.Credential, error) {
			return cache.Credential(ctx, providers.Key(provider, p), providers.Source(provider, p))
		},
		Lookup: func(p registry.Profile) credentials.Entry {
			key := providers.Key(provider, p)
			entry, _ := cache.Lookup(key)
			entry.Key = key
			return entry
		},
	}
	renewed := make(chan struct{}, 1)
	cache.Hooks.Issued = func(e credentials.Event) {
		syncer.Renewed(e)
		select {
		case renewed <- struct{}{}:
		default: // A pass is due already.
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = cache.Run(ctx) })
	begin := time.Now()
	end := begin.Add(lifetimes * lifetime)
	passes := 1
	_, err := syncer.Sync(ctx, targets) // At a cold start, some credentials come later than this pass.
	require.NoError(t, err)
	for time.Now().Before(end) {
		wait := time.Until(end)
		if next := syncer.NextAt(); !next.IsZero() {
			wait = min(wait, max(time.Until(next), time.Millisecond))
		}
		select {
		case <-renewed:
		case <-time.After(wait):
		}
		_, err := syncer.SyncDue(ctx)
		require.NoError(t, err)
		passes++
	}
	stop()
	running.Wait()
	time.Sleep(time.Second) // Calls in flight end.

	for name, p := range f.published {
		f.valid(name, p)
	}
	cold, least := f.complete.Sub(begin), float64(lifetimes*namespaces)
	tokens := 0
	for _, n := range f.tokens {
		tokens += n
	}
	t.Logf("%d namespaces, %s: all had a secret after %s; %d TokenRequests, %d calls of STS, %d of ECR, %d writes of secrets in %d passes: "+
		"%.3f, %.3f, %.3f and %.3f times the least", namespaces, lifetime, cold, tokens, f.sts, f.ecr, f.writes, passes,
		float64(tokens)/least, float64(f.sts)/least, float64(f.ecr)/least, float64(f.writes)/least)
	require.Empty(t, f.wrong[:min(5, len(f.wrong))])
	require.Len(t, f.published, namespaces)
	require.Len(t, f.tokens, namespaces, "each with the account of its own namespace")
	for name, n := range map[string]int{"TokenRequests": tokens, "calls of STS": f.sts, "calls of ECR": f.ecr, "writes": f.writes} {
		require.LessOrEqual(t, float64(n), 1.3*least, name)
		require.GreaterOrEqual(t, float64(n), least, name)
	}
	require.Equal(t, f.writes+namespaces, cluster.Writes(), "beside the secrets, only the link of each account")
	for _, call := range cloud.Calls() {
		require.Empty(t, call.Code, "no call is throttled or rejected")
	}
	// ECR answers 200 calls at once, and then 20 a second.
	require.LessOrEqual(t, cold, time.Duration(max(0, namespaces-200))*time.Second/20+2*time.Second)
}

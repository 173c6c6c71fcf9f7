package federated_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/field"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/providers/custom"
	"github.com/regcred/regcred/providers/federated"
	"github.com/regcred/regcred/providers/federated/federatedtest"
	"github.com/regcred/regcred/providers/issuertest"
	"github.com/regcred/regcred/registry"
)

const puller = "system:serviceaccount:shop:puller"

// A cluster issues tokens of the account shop/puller, as an API server does.
type cluster struct {
	issuer *issuertest.Issuer
	mu     sync.Mutex
	asked  []providers.SubjectRequest
	// token, if not nil, returns the token instead of the issuer.
	token func(audience string) string
}

func newCluster(algorithm issuertest.Algorithm) *cluster {
	return &cluster{issuer: issuertest.New("https://kubernetes.example.com", algorithm)}
}

func (c *cluster) SubjectToken(_ context.Context, s providers.SubjectRequest) (credentials.Secret, error) {
	c.mu.Lock()
	c.asked = append(c.asked, s)
	c.mu.Unlock()
	if c.token != nil {
		return credentials.NewSecret(c.token(s.Audience)), nil
	}
	return credentials.NewSecret(c.issuer.Token(puller, s.Audience, 10*time.Minute)), nil
}

func (c *cluster) trust() issuertest.Trust {
	return issuertest.Trust{Issuer: c.issuer.URL, Keys: c.issuer.JWKS, Subject: puller}
}

func profile(endpoint string, x credentials.Exchange) registry.Profile {
	return registry.Profile{
		Name: "shop", Tenant: "acme", Kind: registry.Custom, Endpoint: endpoint,
		Login: credentials.Login{Federated: &credentials.FederatedLogin{
			Subject: credentials.Subject{Kubernetes: &credentials.ServiceAccount{Namespace: "shop", Name: "puller"}}, Exchange: x,
		}},
	}
}

// A target is an exchange with the name that its server has for the subject.
type target struct {
	profile  registry.Profile
	name     string
	audience string
	username string
	denied   registry.Code // Of a subject that is not trusted.
}

func targets() map[string]target {
	return map[string]target{
		"quay": {
			profile("quay.example.com/acme", credentials.Exchange{Quay: &credentials.QuayExchange{Robot: "acme+shop"}}),
			"acme+shop", "https://quay.example.com", "acme+shop", registry.ErrDenied,
		},
		"artifactory": {
			profile("acme.jfrog.io", credentials.Exchange{Artifactory: &credentials.ArtifactoryExchange{Provider: "k8s"}}),
			"k8s", "https://acme.jfrog.io", "puller", registry.ErrDenied,
		},
		"cloudsmith": {
			profile("docker.cloudsmith.io/acme", credentials.Exchange{Cloudsmith: &credentials.CloudsmithExchange{Organization: "acme", Service: "shop"}}),
			"acme/shop", "https://api.cloudsmith.io", "token", registry.ErrDenied,
		},
		"chainguard": {
			profile("cgr.dev/acme", credentials.Exchange{Chainguard: &credentials.ChainguardExchange{Identity: "id"}}),
			"id", "https://issuer.enforce.dev", "_token", registry.ErrDenied,
		},
		"dockerHub": {
			profile("docker.io/acme", credentials.Exchange{DockerHub: &credentials.DockerHubExchange{Organization: "acme", Connection: "uuid"}}),
			"uuid", "https://identity.docker.com", "acme", registry.ErrDenied,
		},
		"ibm": {
			profile("de.icr.io/acme", credentials.Exchange{IBM: &credentials.IBMExchange{Profile: "Profile-1"}}),
			"Profile-1", "iam", "iambearer", registry.ErrDenied,
		},
	}
}

func TestExchanges(t *testing.T) {
	for name, x := range targets() {
		t.Run(name, func(t *testing.T) {
			c := newCluster(issuertest.RS256)
			server := &federatedtest.Server{Trust: c.trust(), Name: x.name, Lifetime: 20 * time.Minute}
			provider := federated.Provider{Subjects: c, RoundTripper: server.RoundTripper()}
			before := time.Now().Truncate(time.Second)
			got, err := provider.Credential(t.Context(), x.profile)
			require.NoError(t, err)
			require.Equal(t, x.username, got.Username)
			require.True(t, server.Issued(got.Password.Reveal()))
			require.WithinDuration(t, before.Add(20*time.Minute), got.ExpiresAt, time.Minute)
			require.Equal(t, x.audience, c.asked[0].Audience)
			require.Equal(t, 10*time.Minute, c.asked[0].Lifetime, "the token is used once")

			// A trust that does not match: the hint shows what was presented, and no error holds the token.
			server.Trust.Subject = "system:serviceaccount:other:puller"
			_, err = provider.Credential(t.Context(), x.profile)
			require.ErrorIs(t, err, x.denied)
			require.ErrorContains(t, err, puller)
			require.ErrorContains(t, err, c.issuer.URL)
			require.NotContains(t, err.Error(), "eyJ")

			server.Throttle = 7 * time.Second
			_, err = provider.Credential(t.Context(), x.profile)
			require.ErrorIs(t, err, registry.ErrRateLimited)
			e, _ := errors.AsType[*registry.Error](err)
			require.Equal(t, 7*time.Second, e.Wait)
			require.Len(t, server.Log(), 3, "a rejection is not sent again")
		})
	}
}

func TestTokenIsThePassword(t *testing.T) {
	c := newCluster(issuertest.ES256)
	server := &federatedtest.Server{}
	p := profile("zot.example.com", credentials.Exchange{Password: &credentials.PasswordExchange{}})
	got, err := federated.Provider{Subjects: c, RoundTripper: server.RoundTripper()}.Credential(t.Context(), p)
	require.NoError(t, err)
	require.Equal(t, "token", got.Username)
	require.WithinDuration(t, time.Now().Add(10*time.Minute), got.ExpiresAt, time.Minute, "the lifetime is what the token says, not what was requested")
	require.Equal(t, time.Hour, c.asked[0].Lifetime)
	require.Equal(t, "https://zot.example.com", c.asked[0].Audience)
	require.Empty(t, server.Log())
}

func TestQuay(t *testing.T) {
	p := targets()["quay"].profile
	t.Run("rejects keys that are not RSA", func(t *testing.T) {
		c := newCluster(issuertest.ES256)
		server := &federatedtest.Server{Trust: c.trust(), Name: "acme+shop"}
		_, err := federated.Provider{Subjects: c, RoundTripper: server.RoundTripper()}.Credential(t.Context(), p)
		require.ErrorIs(t, err, registry.ErrDenied)
		require.ErrorContains(t, err, "ES256")
	})
	t.Run("cannot reach the issuer", func(t *testing.T) {
		c := newCluster(issuertest.RS256)
		c.issuer.SetUnreachable(true)
		server := &federatedtest.Server{Trust: c.trust(), Name: "acme+shop"}
		_, err := federated.Provider{Subjects: c, RoundTripper: server.RoundTripper()}.Credential(t.Context(), p)
		require.ErrorIs(t, err, registry.ErrUnavailable)
		require.ErrorContains(t, err, "Quay can reach the issuer")
	})
	t.Run("takes any audience unless the federation has some", func(t *testing.T) {
		c := newCluster(issuertest.RS256)
		server := &federatedtest.Server{Trust: c.trust(), Name: "acme+shop"}
		ask := func() int {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://quay.example.com/oauth2/federation/robot/token", nil)
			require.NoError(t, err)
			req.SetBasicAuth("acme+shop", c.issuer.Token(puller, "another", time.Minute))
			res, err := (&http.Client{Transport: server.RoundTripper()}).Do(req)
			require.NoError(t, err)
			require.NoError(t, res.Body.Close())
			return res.StatusCode
		}
		require.Equal(t, 200, ask())
		server.QuayChecksAudience = true
		require.Equal(t, 400, ask())
	})
}

func TestArtifactoryReturnsTheUserName(t *testing.T) {
	c := newCluster(issuertest.RS256)
	server := &federatedtest.Server{Trust: c.trust(), Name: "k8s", User: "ann"}
	got, err := federated.Provider{Subjects: c, RoundTripper: server.RoundTripper()}.Credential(t.Context(), targets()["artifactory"].profile)
	require.NoError(t, err)
	require.Equal(t, "ann", got.Username)
}

// The author of a profile may try to get a token for another service. In each of these cases, no request leaves the
// process.
func TestAttacks(t *testing.T) {
	password := credentials.Exchange{Password: &credentials.PasswordExchange{}}
	with := func(p registry.Profile, change func(*registry.Profile, *credentials.FederatedLogin)) registry.Profile {
		change(&p, p.Login.Federated)
		return p
	}
	audience := func(p registry.Profile, a string) registry.Profile {
		return with(p, func(_ *registry.Profile, l *credentials.FederatedLogin) { l.Subject.Audience = a })
	}
	file := func(p registry.Profile) registry.Profile {
		return with(p, func(_ *registry.Profile, l *credentials.FederatedLogin) {
			l.Subject = credentials.Subject{File: "/var/run/token"}
		})
	}
	attacks := map[string]registry.Profile{
		"no host":    profile("", password),
		"plain http": with(profile("evil.example", password), func(p *registry.Profile, _ *credentials.FederatedLogin) { p.Transport.PlainHTTP = true }),
		"a proxy sees a file's token": with(file(profile("evil.example", password)), func(p *registry.Profile, _ *credentials.FederatedLogin) {
			p.Transport.Proxy = "http://evil.example:3128"
		}),
		"two audiences in one":        audience(profile("evil.example", password), "https://evil.example,sts.amazonaws.com"),
		"another registry's audience": audience(profile("evil.example", password), "https://quay.io"),
		"hub at another host":         profile("evil.example", credentials.Exchange{DockerHub: &credentials.DockerHubExchange{Organization: "acme", Connection: "uuid"}}),
		"hub, a longer name":          profile("docker.io.evil.example", credentials.Exchange{DockerHub: &credentials.DockerHubExchange{Organization: "acme", Connection: "uuid"}}),
		"hub, a name that ends so":    profile("evildocker.io", credentials.Exchange{DockerHub: &credentials.DockerHubExchange{Organization: "acme", Connection: "uuid"}}),
		"hub, another audience":       audience(targets()["dockerHub"].profile, "https://evil.example"),
		"a second host":               with(targets()["quay"].profile, func(p *registry.Profile, _ *credentials.FederatedLogin) { p.Hosts = []string{"evil.example"} }),
		"cloudsmith elsewhere":        profile("evil.example/acme", credentials.Exchange{Cloudsmith: &credentials.CloudsmithExchange{Organization: "acme", Service: "shop"}}),
		"chainguard elsewhere":        profile("evilcgr.dev", credentials.Exchange{Chainguard: &credentials.ChainguardExchange{Identity: "id"}}),
		"ibm elsewhere":               profile("icr.io.evil.example", credentials.Exchange{IBM: &credentials.IBMExchange{Profile: "Profile-1"}}),
	}
	for _, reserved := range []string{
		"sts.amazonaws.com", "sts.amazonaws.com.cn", "api://AzureADTokenExchange", "api://AzureADTokenExchangeUSGov", "api://AKSIdentityBinding",
		"https://identity.docker.com", "iam", "pods.eks.amazonaws.com", "acme.svc.id.goog", "https://kubernetes.default.svc", "kubernetes.default.svc",
		"//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q",
		"https://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q",
	} {
		attacks["audience "+reserved] = audience(profile("evil.example", password), reserved)
		attacks["audience at quay "+reserved] = audience(targets()["quay"].profile, reserved)
	}
	issuer := newCluster(issuertest.RS256).issuer
	for name, p := range attacks {
		t.Run(name, func(t *testing.T) {
			c := &cluster{issuer: issuer}
			server := &federatedtest.Server{Trust: c.trust()}
			provider := federated.Provider{
				Subjects: c, RoundTripper: server.RoundTripper(),
				// Even if a careless program allows every audience, the audiences of clouds are rejected.
				Allow: func(_, audience, host string) bool {
					return audience != "https://quay.io" && !strings.Contains(audience, ",")
				},
			}
			_, err := provider.Credential(t.Context(), p)
			require.ErrorIs(t, err, registry.ErrInvalid)
			_, isField := errors.AsType[*field.Errors](err)
			require.True(t, isField, "%v", err)
			require.Empty(t, server.Log())
			require.Empty(t, c.asked, "no token was even requested")
		})
	}
}

// A token is checked before it is sent. The most common mistake is a file that holds the pod's own token.
func TestWrongTokensDoNotLeave(t *testing.T) {
	c := newCluster(issuertest.RS256)
	sign := func(aud any, life time.Duration) func(string) string {
		return func(string) string {
			return c.issuer.Sign(map[string]any{"sub": puller, "aud": aud, "exp": time.Now().Add(life).Unix()})
		}
	}
	tests := map[string]struct {
		token func(string) string
		code  registry.Code
	}{
		"the API server's audience": {sign("https://kubernetes.default.svc", time.Minute), registry.ErrNoIdentity},
		"no audience":               {sign([]string{}, time.Minute), registry.ErrNoIdentity},
		"an empty audience":         {sign([]string{""}, time.Minute), registry.ErrNoIdentity},
		"two audiences":             {sign([]string{"https://quay.example.com", "vault"}, time.Minute), registry.ErrNoIdentity},
		"expired":                   {sign("https://quay.example.com", -time.Minute), registry.ErrExpired},
		"lives for a month":         {sign("https://quay.example.com", 30*24*time.Hour), registry.ErrNoIdentity},
		"no end":                    {func(string) string { return c.issuer.Sign(map[string]any{"aud": "https://quay.example.com"}) }, registry.ErrNoIdentity},
		"a kubeconfig":              {func(string) string { return "apiVersion: v1\nclient-key-data: SEKRET" }, registry.ErrNoIdentity},
		"a password":                {func(string) string { return "hunter2" }, registry.ErrNoIdentity},
		"three parts, no claims":    {func(string) string { return "a." + base64.RawURLEncoding.EncodeToString([]byte("SEKRET")) + ".c" }, registry.ErrNoIdentity},
		"nothing":                   {func(string) string { return "" }, registry.ErrNoIdentity},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			server := &federatedtest.Server{Trust: c.trust(), Name: "acme+shop"}
			c.token = test.token
			_, err := federated.Provider{Subjects: c, RoundTripper: server.RoundTripper()}.Credential(t.Context(), targets()["quay"].profile)
			require.ErrorIs(t, err, test.code)
			require.NotContains(t, err.Error(), "SEKRET")
			require.NotContains(t, err.Error(), "eyJ")
			require.Empty(t, server.Log())
		})
	}
}

// A redirect is not followed, and the token is sent once.
func TestRedirectsAreNotFollowed(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		var hosts []string
		c := newCluster(issuertest.RS256)
		rt := roundTripper(func(r *http.Request) (*http.Response, error) {
			hosts = append(hosts, r.URL.Host)
			return &http.Response{StatusCode: status, Status: fmt.Sprint(status), Header: http.Header{"Location": {"https://evil.example/"}}, Body: http.NoBody, Request: r}, nil
		})
		for name, x := range targets() {
			hosts = nil
			_, err := federated.Provider{Subjects: c, RoundTripper: rt}.Credential(t.Context(), x.profile)
			require.Error(t, err, name)
			require.Len(t, hosts, 1, name)
			require.NotContains(t, hosts[0], "evil")
		}
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestOtherwise(t *testing.T) {
	basic := registry.Profile{
		Name: "a", Kind: registry.Custom, Endpoint: "quay.io",
		Login: credentials.Login{Username: "jo", Password: credentials.NewSecret("hunter22")},
	}
	got, err := federated.Provider{Fallback: custom.Provider{}}.Credential(t.Context(), basic)
	require.NoError(t, err)
	require.Equal(t, "jo", got.Username)
	_, err = federated.Provider{}.Credential(t.Context(), basic)
	require.ErrorIs(t, err, registry.ErrInvalid)

	_, err = federated.Provider{Fallback: custom.Provider{}}.Credential(t.Context(), targets()["quay"].profile)
	require.ErrorIs(t, err, registry.ErrInvalid)
	require.ErrorContains(t, err, "this program does not provide")
	require.Error(t, providers.Validate(custom.Provider{}, targets()["quay"].profile), "custom alone does not serve it")
}

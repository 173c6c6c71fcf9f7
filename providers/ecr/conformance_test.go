package ecr_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/providers/ecr"
	"github.com/regcred/regcred/providers/ecr/ecrtest"
	"github.com/regcred/regcred/providers/issuertest"
	"github.com/regcred/regcred/providers/providerstest"
	"github.com/regcred/regcred/registry"
)

func TestConformance(t *testing.T) {
	noAmbient(t)
	cloud := newAWS()
	cloud.Rate, cloud.Burst = 10000, 10000
	ann := ecrtest.User{
		ARN: "arn:aws:iam::123456789012:user/ann", AccessKeyID: "AKIAEXAMPLEANN000000", SecretAccessKey: credentials.NewSecret("the-secret-of-ann"),
		Allow: append(ecrtest.PullActions(), "ecr-public:*", "sts:GetServiceBearerToken"),
	}
	cloud.Users = append(cloud.Users, ann)
	n := attach(t, cloud)
	refusing := attach(t, answering(func(w http.ResponseWriter, c ecrtest.Call) {
		c.Fail(w, http.StatusForbidden, "AccessDeniedException", "no")
	}))
	stalled := newAWS()
	stalled.Intercept = func(_ http.ResponseWriter, r *http.Request, _ ecrtest.Call) bool {
		<-r.Context().Done()
		return true
	}
	t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", writeFile(t, cloud.WebIdentity(podSubject, 0).Reveal()))
	t.Setenv("AWS_ROLE_ARN", podARN)
	shared := new(registry.Transports)
	t.Cleanup(shared.CloseIdleConnections)
	c := &cluster{issuer: issuertest.New("https://kubernetes.example.com", issuertest.ES256)}
	cloud.Issuers = []issuertest.Trust{{Issuer: c.issuer.URL, Keys: c.issuer.JWKS}}
	p := ecr.Provider{Transports: shared, Subjects: c}

	annLogin := awsLogin(credentials.AWSLogin{AccessKeyID: ann.AccessKeyID, SecretAccessKey: ann.SecretAccessKey})
	var profiles []registry.Profile
	owners := map[string]string{} // ARNs, or prefixes of ARNs.
	add := func(owner, endpoint string, login credentials.Login) {
		q := profile(n, endpoint, login)
		q.Name = fmt.Sprintf("profile-%d", len(profiles))
		owners[q.Name] = owner
		profiles = append(profiles, q)
	}
	add(ciARN, home, ciLogin())
	add(ann.ARN, home, annLogin)
	add(ciARN, "210987654321.dkr.ecr.us-east-1.amazonaws.com/team", ciLogin())
	add(ciARN, "123456789012.dkr-ecr.eu-west-1.on.aws", ciLogin())
	add("arn:aws:sts::210987654321:assumed-role/pull/", home, ciLogin(credentials.AWSRole{ARN: hubARN}, credentials.AWSRole{ARN: pullARN, ExternalID: "tenant-7"}))
	add(podSession, home, awsLogin(credentials.AWSLogin{WebIdentity: &credentials.AWSWebIdentity{RoleARN: podARN, Token: cloud.WebIdentity(podSubject, 0)}}))
	add(podSession, home, credentials.Login{Ambient: true})
	add(ann.ARN, "public.ecr.aws", annLogin)
	add("", "public.ecr.aws", credentials.Login{Anonymous: true})
	add(podSession, home, keyless("").Login)

	refused := func(change func(*registry.Profile)) registry.Profile {
		q := profile(n, home, ciLogin())
		change(&q)
		return q
	}
	providerstest.TestProvider(t, providerstest.Fixture{
		Provider: through(n, p),
		Profiles: profiles,
		Invalid: []registry.Profile{
			refused(func(q *registry.Profile) { q.Endpoint = "ghcr.io" }),
			refused(func(q *registry.Profile) { q.Endpoint += ".evil.example" }),
			refused(func(q *registry.Profile) { q.Hosts = []string{"123456789012.dkr.ecr.eu-west-1.amazonaws.com"} }),
			refused(func(q *registry.Profile) { q.Hosts = []string{"public.ecr.aws"} }),
			refused(func(q *registry.Profile) { q.Transport.PlainHTTP = true }),
			refused(func(q *registry.Profile) { q.Login = credentials.Login{Anonymous: true} }),
			refused(func(q *registry.Profile) {
				q.Login = credentials.Login{Username: "AWS", Password: credentials.NewSecret("a-token-that-ends")}
			}),
			refused(func(q *registry.Profile) { q.Login = credentials.Login{Google: &credentials.GoogleLogin{}} }),
			refused(func(q *registry.Profile) { q.Login = credentials.Login{Ambient: true} }), // With a proxy of its own.
			refused(func(q *registry.Profile) { q.Login = keyless("https://evil.example").Login }),
			refused(func(q *registry.Profile) {
				q.Login = ciLogin(credentials.AWSRole{ARN: "arn:aws-cn:iam::123456789012:role/pull"})
			}),
		},
		Failing: through(refusing, p),
		Stalled: through(attach(t, stalled), p),
		Check: func(q registry.Profile, c credentials.Credential) error {
			if q.Login.Anonymous {
				return nil
			}
			host, err := q.MainEndpoint()
			if err != nil {
				return err
			}
			account, ok := cloud.Registry(host.Host).Authenticate(c.Username, c.Password)
			if !ok || !account.ExpiresAt.After(time.Now()) || !strings.HasPrefix(account.Username, owners[q.Name]) {
				return fmt.Errorf("it is a token of %q for another registry, or not one of %q", account.Username, owners[q.Name])
			}
			return nil
		},
	})
}

// A thousand profiles of one principal and region, in as many accounts, need one call.
func TestCacheSharesOneToken(t *testing.T) {
	cloud := newAWS()
	n := attach(t, cloud)
	cache := new(credentials.Cache)
	var wait sync.WaitGroup
	got := make([]credentials.Credential, 1000)
	for i := range got {
		p := profile(n, fmt.Sprintf("%012d.dkr.ecr.us-east-1.amazonaws.com/team-%d", i, i), ciLogin())
		p.Name = fmt.Sprintf("p-%d", i)
		wait.Go(func() {
			c, err := cache.Credential(t.Context(), providers.Key(ecr.Provider{}, p), providers.Source(ecr.Provider{}, p))
			if err == nil {
				got[i] = c
			}
		})
	}
	wait.Wait()
	require.Len(t, cloud.Calls(), 1)
	for _, c := range got {
		require.Equal(t, "AWS", c.Username)
		require.True(t, c.Equal(got[0]))
	}
}

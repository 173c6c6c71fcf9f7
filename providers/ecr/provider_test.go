package ecr_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers/ecr"
	"github.com/regcred/regcred/providers/ecr/ecrtest"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest/fakenet"
)

const (
	ciARN  = "arn:aws:iam::123456789012:user/ci"
	ciKey  = "AKIAEXAMPLECI0000000"
	ciText = "the-secret-of-ci-which-never-shows"
	home   = "123456789012.dkr.ecr.us-east-1.amazonaws.com"

	hubARN  = "arn:aws:iam::123456789012:role/hub"
	pullARN = "arn:aws:iam::210987654321:role/pull"
	podARN  = "arn:aws:iam::123456789012:role/pods/puller"

	podSubject = "system:serviceaccount:team:puller"
)

// ci is a user who may pull.
func ci() ecrtest.User {
	return ecrtest.User{ARN: ciARN, AccessKeyID: ciKey, SecretAccessKey: credentials.NewSecret(ciText), Allow: ecrtest.PullActions()}
}

// newAWS has a user who may pull, a role that the user may assume, a role of another account that the first role may
// assume with the external ID, and a role for pods.
func newAWS() *ecrtest.AWS {
	return &ecrtest.AWS{
		Users: []ecrtest.User{ci()},
		Roles: []ecrtest.Role{
			{ARN: hubARN, TrustedBy: []string{ciARN}, Allow: append(ecrtest.PullActions(), "sts:AssumeRole")},
			{ARN: pullARN, TrustedBy: []string{hubARN}, ExternalID: "tenant-7", Allow: ecrtest.PullActions()},
			{ARN: podARN, Subjects: []string{podSubject}, Allow: ecrtest.PullActions()},
		},
	}
}

func ciLogin(roles ...credentials.AWSRole) credentials.Login {
	return awsLogin(credentials.AWSLogin{AccessKeyID: ciKey, SecretAccessKey: credentials.NewSecret(ciText), Roles: roles})
}

func awsLogin(l credentials.AWSLogin) credentials.Login { return credentials.Login{AWS: &l} }

// attach adds the cloud to a network.
func attach(t *testing.T, cloud *ecrtest.AWS) *fakenet.Network {
	t.Helper()
	n, err := fakenet.New()
	require.NoError(t, err)
	t.Cleanup(n.Close)
	cloud.Attach(n)
	return n
}

// profile returns a profile with the network's transport, unless the login is something of the program: see through.
func profile(n *fakenet.Network, endpoint string, login credentials.Login) registry.Profile {
	p := registry.Profile{Name: "team-a", Kind: registry.ECR, Endpoint: endpoint, Login: login, Transport: n.TransportConfig()}
	if l := login.AWS; login.Ambient || l != nil && (l.WebIdentity == nil && l.AccessKeyID == "" || l.WebIdentity != nil && l.WebIdentity.TokenFile != "") {
		p.Transport = registry.TransportConfig{}
	}
	return p
}

// through returns the provider with the network as that of the program. The machine's own endpoints are reached directly.
func through(n *fakenet.Network, p ecr.Provider) ecr.Provider {
	transport := n.Client().Transport.(*http.Transport).Clone()
	proxy := transport.Proxy
	transport.Proxy = func(r *http.Request) (*url.URL, error) {
		if r.URL.Scheme == "http" {
			return nil, nil
		}
		return proxy(r)
	}
	p.RoundTripper = transport
	return p
}

func TestStaticKey(t *testing.T) {
	cloud := newAWS()
	n := attach(t, cloud)
	before := time.Now()
	c, err := ecr.Provider{}.Credential(t.Context(), profile(n, home, ciLogin()))
	require.NoError(t, err)
	require.Equal(t, "AWS", c.Username)
	require.Greater(t, c.Password.Len(), 1000)
	require.WithinRange(t, c.ExpiresAt, before.Add(12*time.Hour-time.Second), time.Now().Add(12*time.Hour+time.Second), "the issuer's own instant")
	require.WithinRange(t, c.IssuedAt, before.Round(0), time.Now())
	require.Equal(t, []ecrtest.Call{{
		Action: "ecr:GetAuthorizationToken", Host: "api.ecr.us-east-1.amazonaws.com", Region: "us-east-1", AccessKeyID: ciKey, Principal: ciARN,
	}}, cloud.Calls())
}

func TestRoleChain(t *testing.T) {
	cloud := newAWS()
	n := attach(t, cloud)
	chain := ciLogin(credentials.AWSRole{ARN: hubARN, SessionName: "platform"}, credentials.AWSRole{ARN: pullARN, ExternalID: "tenant-7"})
	c, err := ecr.Provider{}.Credential(t.Context(), profile(n, home, chain))
	require.NoError(t, err)
	require.NoError(t, c.Validate(time.Now()))
	var who []string
	for _, call := range cloud.Calls() {
		who = append(who, call.Action+" as "+call.Principal)
	}
	require.Equal(t, []string{
		"sts:AssumeRole as " + ciARN,
		"sts:AssumeRole as arn:aws:sts::123456789012:assumed-role/hub/platform",
		"ecr:GetAuthorizationToken as arn:aws:sts::210987654321:assumed-role/pull/regcred",
	}, who)

	t.Run("without the external ID", func(t *testing.T) {
		_, err := ecr.Provider{}.Credential(t.Context(), profile(n, home, ciLogin(credentials.AWSRole{ARN: hubARN}, credentials.AWSRole{ARN: pullARN})))
		require.ErrorIs(t, err, registry.ErrDenied)
		require.ErrorContains(t, err, "sts:AssumeRole as role "+hubARN, "who asked")
		require.ErrorContains(t, err, pullARN, "for what")
		require.Contains(t, registry.HintOf(err), "external ID")
	})
	t.Run("without the role between", func(t *testing.T) {
		_, err := ecr.Provider{}.Credential(t.Context(), profile(n, home, ciLogin(credentials.AWSRole{ARN: pullARN, ExternalID: "tenant-7"})))
		require.ErrorIs(t, err, registry.ErrDenied)
		require.ErrorContains(t, err, "sts:AssumeRole as access key "+ciKey)
	})
}

// Roles are assumed from any initial identity.
func TestRolesFromEachIdentity(t *testing.T) {
	noAmbient(t)
	cloud := newAWS()
	next := ecrtest.Role{ARN: "arn:aws:iam::123456789012:role/next", TrustedBy: []string{ciARN, podARN}, Allow: ecrtest.PullActions()}
	cloud.Roles = append(cloud.Roles, next)
	n := attach(t, cloud)
	web := cloud.WebIdentity(podSubject, 0)
	t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", writeFile(t, web.Reveal()))
	t.Setenv("AWS_ROLE_ARN", podARN)
	roles := []credentials.AWSRole{{ARN: next.ARN, SessionName: "tenant"}}
	for name, login := range map[string]credentials.Login{
		"access key":   ciLogin(roles...),
		"web identity": awsLogin(credentials.AWSLogin{WebIdentity: &credentials.AWSWebIdentity{RoleARN: podARN, Token: web}, Roles: roles}),
		"process":      awsLogin(credentials.AWSLogin{Roles: roles}),
	} {
		_, err := through(n, ecr.Provider{}).Credential(t.Context(), profile(n, home, login))
		require.NoError(t, err, name)
		require.Equal(t, "arn:aws:sts::123456789012:assumed-role/next/tenant", principal(cloud), name)
	}
}

// The API is called in the registry's region, by the same kind of name, whatever the environment selects.
func TestAPIFollowsTheRegistry(t *testing.T) {
	t.Setenv("AWS_REGION", "eu-west-3")
	t.Setenv("AWS_DEFAULT_REGION", "eu-west-3")
	t.Setenv("AWS_USE_FIPS_ENDPOINT", "true")
	t.Setenv("AWS_USE_DUALSTACK_ENDPOINT", "true")
	t.Setenv("AWS_ENDPOINT_URL", "https://evil.example")
	for host, want := range map[string]string{
		"123456789012.dkr.ecr.us-east-1.amazonaws.com":                "api.ecr.us-east-1.amazonaws.com",
		"123456789012.dkr.ecr-fips.us-east-1.amazonaws.com":           "api.ecr-fips.us-east-1.amazonaws.com",
		"123456789012.dkr-ecr.eu-west-1.on.aws":                       "ecr.eu-west-1.api.aws",
		"123456789012.dkr-ecr-fips.us-west-2.on.aws":                  "ecr-fips.us-west-2.api.aws",
		"123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn":            "api.ecr.cn-north-1.amazonaws.com.cn",
		"123456789012.dkr-ecr.cn-north-1.on.amazonwebservices.com.cn": "ecr.cn-north-1.api.amazonwebservices.com.cn",
		"123456789012.dkr.ecr.us-gov-west-1.amazonaws.com":            "api.ecr.us-gov-west-1.amazonaws.com",
		"123456789012.dkr.ecr-fips.us-gov-east-1.amazonaws.com":       "api.ecr-fips.us-gov-east-1.amazonaws.com",
		"123456789012.dkr.ecr.us-iso-east-1.c2s.ic.gov":               "api.ecr.us-iso-east-1.c2s.ic.gov",
		"123456789012.dkr.ecr.us-isob-east-1.sc2s.sgov.gov":           "api.ecr.us-isob-east-1.sc2s.sgov.gov",
		"123456789012.dkr.ecr.eu-isoe-west-1.cloud.adc-e.uk":          "api.ecr.eu-isoe-west-1.cloud.adc-e.uk",
		"123456789012.dkr.ecr.us-isof-south-1.csp.hci.ic.gov":         "api.ecr.us-isof-south-1.csp.hci.ic.gov",
		"123456789012.dkr.ecr.eusc-de-east-1.amazonaws.eu":            "api.ecr.eusc-de-east-1.amazonaws.eu",
		"public.ecr.aws":     "api.ecr-public.us-east-1.amazonaws.com",
		"ecr-public.aws.com": "ecr-public.us-east-1.api.aws",
	} {
		t.Run(host, func(t *testing.T) {
			h, err := ecr.ParseHost(host)
			require.NoError(t, err)
			user := ci()
			user.ARN = "arn:" + h.Partition + ":iam::123456789012:user/ci"
			user.Allow = append(user.Allow, "ecr-public:GetAuthorizationToken", "sts:GetServiceBearerToken")
			cloud := &ecrtest.AWS{Users: []ecrtest.User{user}}
			n := attach(t, cloud)
			c, err := ecr.Provider{}.Credential(t.Context(), profile(n, host, ciLogin()))
			require.NoError(t, err, "asked: %v", n.Dialed())
			require.Equal(t, "AWS", c.Username)
			require.Equal(t, []string{want + ":443"}, n.Dialed())
			require.Len(t, cloud.Calls(), 1)
		})
	}
}

// STS is called in the registry's region too: other regions do not know the roles of an isolated region.
func TestSTSFollowsTheRegistry(t *testing.T) {
	cloud := newAWS()
	n := attach(t, cloud)
	for _, host := range []string{"123456789012.dkr.ecr.ap-east-1.amazonaws.com", "123456789012.dkr.ecr-fips.us-west-2.amazonaws.com", "123456789012.dkr-ecr.eu-west-1.on.aws"} {
		_, err := ecr.Provider{}.Credential(t.Context(), profile(n, host, ciLogin(credentials.AWSRole{ARN: hubARN})))
		require.NoError(t, err)
	}
	dialed := n.Dialed()
	require.Contains(t, dialed, "sts.ap-east-1.amazonaws.com:443")
	require.Contains(t, dialed, "sts-fips.us-west-2.amazonaws.com:443")
	require.Contains(t, dialed, "sts.eu-west-1.api.aws:443")
}

func TestEndpointOfOnesOwn(t *testing.T) {
	cloud := newAWS()
	n := attach(t, cloud)
	asked := map[string]string{}
	p := ecr.Provider{Endpoint: func(service, region string) string {
		asked[service] = region
		if service == "sts" {
			return ""
		}
		return "https://api.ecr.us-east-1.amazonaws.com"
	}}
	_, err := p.Credential(t.Context(), profile(n, "123456789012.dkr.ecr-fips.us-east-1.amazonaws.com", ciLogin(credentials.AWSRole{ARN: hubARN})))
	require.NoError(t, err)
	require.Equal(t, map[string]string{"ecr": "us-east-1", "sts": "us-east-1"}, asked)
	require.Equal(t, []string{"sts-fips.us-east-1.amazonaws.com:443", "api.ecr.us-east-1.amazonaws.com:443"}, n.Dialed())
}

func TestPublic(t *testing.T) {
	cloud := newAWS()
	n := attach(t, cloud)
	c, err := ecr.Provider{}.Credential(t.Context(), profile(n, "public.ecr.aws", credentials.Login{Anonymous: true}))
	require.NoError(t, err)
	require.Equal(t, credentials.Credential{Anonymous: true}, c)
	require.Empty(t, n.Dialed(), "nobody needs to be asked")

	_, err = ecr.Provider{}.Credential(t.Context(), profile(n, "public.ecr.aws", ciLogin()))
	require.ErrorIs(t, err, registry.ErrDenied)
	require.Contains(t, registry.HintOf(err), "sts:GetServiceBearerToken")

	_, err = ecr.Provider{}.Credential(t.Context(), profile(n, home, credentials.Login{Anonymous: true}))
	require.ErrorIs(t, err, registry.ErrInvalid, "a private registry serves nobody without a login")
}

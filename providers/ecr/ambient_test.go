package ecr_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/egress"
	"github.com/regcred/regcred/providers/ecr"
	"github.com/regcred/regcred/providers/ecr/ecrtest"
	"github.com/regcred/regcred/registry"
)

// noAmbient hides the machine's own identity from tests.
func noAmbient(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{
		"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CA_BUNDLE",
		"AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN",
		"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "AWS_EC2_METADATA_DISABLED",
	} {
		t.Setenv(name, "")
	}
	t.Setenv("HOME", dir)
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(dir, "config"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(dir, "credentials"))
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1") // No server listens there.
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func principal(cloud *ecrtest.AWS) string {
	calls := cloud.Calls()
	return calls[len(calls)-1].Principal
}

const podSession = "arn:aws:sts::123456789012:assumed-role/puller/"

func TestAmbientIdentities(t *testing.T) {
	authorization := credentials.NewSecret("the-token-of-the-pod")
	for name, test := range map[string]struct {
		setUp func(t *testing.T, cloud *ecrtest.AWS)
		want  string
	}{
		"environment": {func(t *testing.T, _ *ecrtest.AWS) {
			t.Setenv("AWS_ACCESS_KEY_ID", ciKey)
			t.Setenv("AWS_SECRET_ACCESS_KEY", ciText)
		}, ciARN},
		"shared files": {func(t *testing.T, _ *ecrtest.AWS) {
			t.Setenv("AWS_SHARED_CREDENTIALS_FILE", writeFile(t, "[team]\naws_access_key_id = "+ciKey+"\naws_secret_access_key = "+ciText+"\n"))
			t.Setenv("AWS_PROFILE", "team")
		}, ciARN},
		"role in shared files": {func(t *testing.T, _ *ecrtest.AWS) {
			t.Setenv("AWS_SHARED_CREDENTIALS_FILE", writeFile(t, "[base]\naws_access_key_id = "+ciKey+"\naws_secret_access_key = "+ciText+"\n"))
			t.Setenv("AWS_CONFIG_FILE", writeFile(t, "[profile hub]\nrole_arn = "+hubARN+"\nsource_profile = base\nrole_session_name = file\n"))
			t.Setenv("AWS_PROFILE", "hub")
		}, "arn:aws:sts::123456789012:assumed-role/hub/file"},
		"web identity of a pod": {func(t *testing.T, cloud *ecrtest.AWS) {
			t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", writeFile(t, cloud.WebIdentity(podSubject, 0).Reveal()))
			t.Setenv("AWS_ROLE_ARN", podARN)
			t.Setenv("AWS_ROLE_SESSION_NAME", "irsa")
		}, podSession + "irsa"},
		"EKS Pod Identity": {func(t *testing.T, cloud *ecrtest.AWS) {
			s := httptest.NewServer(cloud.ContainerCredentials(podARN, authorization))
			t.Cleanup(s.Close)
			t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", s.URL)
			t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", writeFile(t, authorization.Reveal()))
		}, podSession + "eks-pod"},
		"instance role": {func(t *testing.T, cloud *ecrtest.AWS) {
			s := httptest.NewServer(cloud.InstanceMetadata(podARN))
			t.Cleanup(s.Close)
			t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", s.URL)
		}, podSession + "i-0123456789abcdef0"},
	} {
		t.Run(name, func(t *testing.T) {
			noAmbient(t)
			cloud := newAWS()
			n := attach(t, cloud)
			test.setUp(t, cloud)
			for _, login := range []credentials.Login{{Ambient: true}, {AWS: &credentials.AWSLogin{}}} {
				c, err := through(n, ecr.Provider{}).Credential(t.Context(), profile(n, home, login))
				require.NoError(t, err)
				require.Equal(t, "AWS", c.Username)
				require.Equal(t, test.want, principal(cloud))
			}
			for _, host := range n.Dialed() {
				require.NotContains(t, host, "127.0.0.1", "the machine's own endpoints are reached directly")
			}
			_, err := through(n, ecr.Provider{NoAmbient: true}).Credential(t.Context(), profile(n, home, credentials.Login{Ambient: true}))
			require.ErrorIs(t, err, registry.ErrInvalid)
		})
	}
}

// If the chain itself calls STS, it uses the endpoint that matches the registry's name.
func TestSTSOfTheChainFollowsTheRegistry(t *testing.T) {
	noAmbient(t)
	cloud := newAWS()
	n := attach(t, cloud)
	t.Setenv("AWS_REGION", "eu-west-3")
	t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", writeFile(t, cloud.WebIdentity(podSubject, 0).Reveal()))
	t.Setenv("AWS_ROLE_ARN", podARN)
	for host, want := range map[string]string{
		home: "sts.us-east-1.amazonaws.com:443",
		"123456789012.dkr.ecr-fips.us-west-2.amazonaws.com": "sts-fips.us-west-2.amazonaws.com:443",
		"123456789012.dkr-ecr.eu-west-1.on.aws":             "sts.eu-west-1.api.aws:443",
	} {
		_, err := through(n, ecr.Provider{}).Credential(t.Context(), profile(n, host, credentials.Login{Ambient: true}))
		require.NoError(t, err)
		require.Contains(t, n.Dialed(), want)
	}
}

func TestNoIdentity(t *testing.T) {
	noAmbient(t)
	n := attach(t, newAWS())
	start := time.Now()
	_, err := through(n, ecr.Provider{}).Credential(t.Context(), profile(n, home, credentials.Login{Ambient: true}))
	require.ErrorIs(t, err, registry.ErrNoIdentity)
	for _, tried := range []string{"environment", "web identity", "shared files", "container credentials", "instance metadata"} {
		require.ErrorContains(t, err, tried)
	}
	require.Less(t, time.Since(start), 20*time.Second)
	require.Empty(t, n.Dialed())
}

// Without an instance metadata service, requests to it time out slowly: it can be disabled, for all profiles or for
// one.
func TestInstanceMetadataIsOff(t *testing.T) {
	noAmbient(t)
	cloud := newAWS()
	n := attach(t, cloud)
	s := httptest.NewServer(cloud.InstanceMetadata(podARN))
	t.Cleanup(s.Close)
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", s.URL)

	_, err := through(n, ecr.Provider{NoInstanceMetadata: true}).Credential(t.Context(), profile(n, home, credentials.Login{Ambient: true}))
	require.ErrorIs(t, err, registry.ErrNoIdentity)
	_, err = through(n, ecr.Provider{}).Credential(t.Context(), profile(n, home, awsLogin(credentials.AWSLogin{NoInstanceMetadata: true})))
	require.ErrorIs(t, err, registry.ErrNoIdentity)
	require.Empty(t, cloud.Calls())
	_, err = through(n, ecr.Provider{}).Credential(t.Context(), profile(n, home, credentials.Login{Ambient: true}))
	require.NoError(t, err)
}

func TestWebIdentity(t *testing.T) {
	noAmbient(t)
	cloud := newAWS()
	n := attach(t, cloud)
	web := func(w credentials.AWSWebIdentity) registry.Profile {
		w.RoleARN = podARN
		return profile(n, home, awsLogin(credentials.AWSLogin{WebIdentity: &w}))
	}
	_, err := through(n, ecr.Provider{NoAmbient: true}).Credential(t.Context(), web(credentials.AWSWebIdentity{Token: cloud.WebIdentity(podSubject, 0), SessionName: "platform"}))
	require.NoError(t, err)
	require.Equal(t, podSession+"platform", principal(cloud))

	path := writeFile(t, cloud.WebIdentity(podSubject, 0).Reveal()+"\n")
	_, err = through(n, ecr.Provider{NoAmbient: true, SubjectTokens: []string{path}}).Credential(t.Context(), web(credentials.AWSWebIdentity{TokenFile: path}))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, []byte(cloud.WebIdentity("somebody", 0).Reveal()), 0o600))
	_, err = through(n, ecr.Provider{NoAmbient: true, SubjectTokens: []string{path}}).Credential(t.Context(), web(credentials.AWSWebIdentity{TokenFile: path}))
	require.ErrorIs(t, err, registry.ErrDenied, "the file is read again")
	require.Contains(t, registry.HintOf(err), "trust policy")

	missing := "/nonexistent/token"
	_, err = through(n, ecr.Provider{SubjectTokens: []string{missing}}).Credential(t.Context(), web(credentials.AWSWebIdentity{TokenFile: missing}))
	require.ErrorIs(t, err, registry.ErrNoIdentity)
	_, err = through(n, ecr.Provider{}).Credential(t.Context(), web(credentials.AWSWebIdentity{Token: cloud.WebIdentity(podSubject, -time.Second)}))
	require.ErrorIs(t, err, registry.ErrExpired)
	forged := credentials.NewSecret("eyJhbGciOiJub25lIn0.forged.token")
	_, err = through(n, ecr.Provider{}).Credential(t.Context(), web(credentials.AWSWebIdentity{Token: forged}))
	require.ErrorIs(t, err, registry.ErrUnauthorized)
	require.NotContains(t, err.Error(), forged.Reveal())
}

// A profile with its own proxy would receive the text of any file that it names.
func TestProfileNamesNoFile(t *testing.T) {
	noAmbient(t)
	path := writeFile(t, "client-key-data: of the platform")
	sent := 0
	carry := roundTripper(func(*http.Request) (*http.Response, error) { sent++; return nil, errors.New("nobody there") })
	p := registry.Profile{
		Name: "evil", Kind: registry.ECR, Endpoint: home,
		Login: awsLogin(credentials.AWSLogin{WebIdentity: &credentials.AWSWebIdentity{RoleARN: podARN, TokenFile: path}}),
	}
	for name, test := range map[string]struct {
		provider ecr.Provider
		egress   *egress.Policy
		reads    bool
	}{
		"nothing is listed":      {provider: ecr.Provider{}},
		"another file is listed": {provider: ecr.Provider{SubjectTokens: []string{path + "/", path + "x", "/var/run/secrets/token"}}},
		"listed":                 {provider: ecr.Provider{SubjectTokens: []string{path}}, reads: true},
		"listed, untrusted":      {provider: ecr.Provider{SubjectTokens: []string{path}}, egress: &egress.Policy{}},
		"listed, allowed":        {provider: ecr.Provider{SubjectTokens: []string{path}}, egress: &egress.Policy{AllowFiles: true}, reads: true},
	} {
		sent = 0
		test.provider.RoundTripper = carry
		p.Transport.Egress = test.egress
		_, err := test.provider.Credential(t.Context(), p)
		require.Error(t, err, name)
		require.Equal(t, test.reads, sent > 0, name)
		require.Equal(t, !test.reads, errors.Is(err, registry.ErrInvalid), name)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// The pod's own endpoint may fail; that does not mean that there is no identity.
func TestContainerCredentialsFail(t *testing.T) {
	noAmbient(t)
	cloud := newAWS()
	n := attach(t, cloud)
	s := httptest.NewServer(cloud.ContainerCredentials(podARN, credentials.NewSecret("right")))
	t.Cleanup(s.Close)
	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", s.URL)
	t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "wrong")
	_, err := through(n, ecr.Provider{}).Credential(t.Context(), profile(n, home, credentials.Login{Ambient: true}))
	require.ErrorIs(t, err, registry.ErrNoIdentity)
	s.Close()
	_, err = through(n, ecr.Provider{}).Credential(t.Context(), profile(n, home, credentials.Login{Ambient: true}))
	require.ErrorIs(t, err, registry.ErrUnreachable)
}

package keyless_test

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecrpublic"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/providers/ecr/ecrtest"
	"github.com/regcred/regcred/providers/issuertest"
	"github.com/regcred/regcred/registry/registrytest"
)

const (
	awsHost   = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
	awsRegion = "eu-west-1"
	awsRole   = "arn:aws:iam::123456789012:role/pull"
)

// newAWS returns a cloud with one role, which the trusted subject may assume.
func newAWS(trust issuertest.Trust) *ecrtest.AWS {
	return &ecrtest.AWS{
		Roles:   []ecrtest.Role{{ARN: awsRole, Subjects: []string{trust.Subject}, Allow: append(ecrtest.PullActions(), "ecr-public:*", "sts:GetServiceBearerToken")}},
		Issuers: []issuertest.Trust{{Issuer: trust.Issuer, Keys: trust.Keys}},
	}
}

// environment sets the variables that EKS's webhook sets in a pod, and hides all other configuration of AWS.
func environment(t *testing.T, token string) {
	t.Helper()
	folder := t.TempDir()
	file := filepath.Join(folder, "token")
	require.NoError(t, os.WriteFile(file, []byte(token), 0o600))
	for name, value := range map[string]string{
		"AWS_ROLE_ARN": awsRole, "AWS_WEB_IDENTITY_TOKEN_FILE": file, "AWS_REGION": awsRegion, "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_CONFIG_FILE": filepath.Join(folder, "none"), "AWS_SHARED_CREDENTIALS_FILE": filepath.Join(folder, "none"),
		"AWS_ACCESS_KEY_ID": "", "AWS_CA_BUNDLE": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "",
	} {
		t.Setenv(name, value)
	}
}

// awsLogin logs in as a pod on EKS does, with AWS's default configuration and nothing else, and returns the user name
// and password for the registry.
func awsLogin(t *testing.T, options ...func(*config.LoadOptions) error) (username, password string, err error) {
	t.Helper()
	// One attempt: the test is about responses, not about repetition.
	options = append(options, config.WithRetryMaxAttempts(1))
	loaded, err := config.LoadDefaultConfig(t.Context(), options...)
	require.NoError(t, err)
	got, err := ecr.NewFromConfig(loaded).GetAuthorizationToken(t.Context(), &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		return "", "", err
	}
	require.Len(t, got.AuthorizationData, 1)
	data := got.AuthorizationData[0]
	require.Equal(t, "https://"+awsHost, *data.ProxyEndpoint)
	require.WithinDuration(t, time.Now().Add(12*time.Hour), *data.ExpiresAt, time.Minute)
	username, password = split(t, *data.AuthorizationToken)
	return username, password, nil
}

func split(t *testing.T, token string) (username, password string) {
	t.Helper()
	pair, err := base64.StdEncoding.DecodeString(token)
	require.NoError(t, err)
	username, password, _ = strings.Cut(string(pair), ":")
	return username, password
}

// status is the response of a registry to a login.
func status(t *testing.T, network http.RoundTripper, url, username, password string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	req.SetBasicAuth(username, password)
	response, err := network.RoundTrip(req)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	return response.StatusCode
}

// AWS's own SDK logs in at the fake of AWS as in a pod on EKS: it assumes the role by web identity, requests a registry
// token with the session's keys, and the registry accepts the token. This shows that the fake requires what AWS
// requires, and not merely what package ecr sends.
func TestFakeAWSWithItsSDK(t *testing.T) {
	const subject = "system:serviceaccount:shop:puller"
	issuer := issuertest.New("https://kubernetes.example.com", issuertest.RS256)
	token := func(subject, audience string, lifetime time.Duration) string {
		return issuer.Token(subject, audience, lifetime)
	}
	good := token(subject, "sts.amazonaws.com", time.Hour)
	for name, test := range map[string]struct {
		token  string
		change func(*ecrtest.AWS)
		code   string
	}{
		"a pod's token":             {good, nil, ""},
		"another subject":           {token("system:serviceaccount:shop:other", "sts.amazonaws.com", time.Hour), nil, "AccessDenied"},
		"another audience":          {token(subject, "https://kubernetes.default.svc", time.Hour), nil, "InvalidIdentityToken"},
		"an expired token":          {token(subject, "sts.amazonaws.com", -time.Minute), nil, "ExpiredTokenException"},
		"no token":                  {"not-a-token", nil, "InvalidIdentityToken"},
		"no provider of the issuer": {good, func(a *ecrtest.AWS) { a.Issuers[0].Issuer = "https://other.example.com" }, "InvalidIdentityToken"},
		"other keys": {good, func(a *ecrtest.AWS) {
			a.Issuers[0].Keys = issuertest.New(issuer.URL, issuertest.RS256).JWKS
		}, "InvalidIdentityToken"},
		"a region that is off": {good, func(a *ecrtest.AWS) { a.DisabledRegions = []string{awsRegion} }, "RegionDisabledException"},
		"a role without ECR":   {good, func(a *ecrtest.AWS) { a.Roles[0].Allow = []string{"s3:*"} }, "AccessDeniedException"},
	} {
		t.Run(name, func(t *testing.T) {
			cloud := newAWS(issuertest.Trust{Issuer: issuer.URL, Keys: issuer.JWKS, Subject: subject})
			if test.change != nil {
				test.change(cloud)
			}
			network := registrytest.NewRoundTripper(cloud)
			environment(t, test.token)
			username, password, err := awsLogin(t, config.WithHTTPClient(&http.Client{Transport: network}))
			if test.code != "" {
				var api smithy.APIError
				require.ErrorAs(t, err, &api)
				require.Equal(t, test.code, api.ErrorCode())
				return
			}
			require.NoError(t, err)
			require.Equal(t, http.StatusOK, status(t, network, "https://"+awsHost+"/v2/", username, password))
			require.Equal(t, http.StatusUnauthorized, status(t, network, "https://"+awsHost+"/v2/", username, password+"x"))
		})
	}
}

// The SDK's own options select FIPS, dual-stack and regional hosts, and its endpoints work at any address.
func TestFakeAWSAtTheEndpointsOfItsSDK(t *testing.T) {
	issuer := issuertest.New("https://kubernetes.example.com", issuertest.ES256)
	trust := issuertest.Trust{Issuer: issuer.URL, Keys: issuer.JWKS, Subject: "system:serviceaccount:shop:puller"}
	cloud := newAWS(trust)
	client := config.WithHTTPClient(&http.Client{Transport: registrytest.NewRoundTripper(cloud)})
	environment(t, issuer.Token(trust.Subject, "sts.amazonaws.com", time.Hour))
	for name, option := range map[string]func(*config.LoadOptions) error{
		"default":    func(*config.LoadOptions) error { return nil },
		"FIPS":       config.WithUseFIPSEndpoint(aws.FIPSEndpointStateEnabled),
		"dual-stack": config.WithUseDualStackEndpoint(aws.DualStackEndpointStateEnabled),
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := awsLogin(t, client, option)
			require.NoError(t, err)
		})
	}
	t.Run("ECR Public", func(t *testing.T) {
		loaded, err := config.LoadDefaultConfig(t.Context(), client, config.WithRegion("us-east-1"))
		require.NoError(t, err)
		got, err := ecrpublic.NewFromConfig(loaded).GetAuthorizationToken(t.Context(), &ecrpublic.GetAuthorizationTokenInput{})
		require.NoError(t, err)
		username, _ := split(t, *got.AuthorizationData.AuthorizationToken)
		require.Equal(t, "AWS", username)
	})
	t.Run("endpoints of one's own", func(t *testing.T) {
		for _, service := range []string{"ecr", "sts"} {
			server := httptest.NewServer(cloud.API(service, awsRegion))
			defer server.Close()
			t.Setenv("AWS_ENDPOINT_URL_"+strings.ToUpper(service), server.URL)
		}
		_, _, err := awsLogin(t)
		require.NoError(t, err)
	})
	t.Run("a provider of the program", func(t *testing.T) {
		loaded, err := config.LoadDefaultConfig(t.Context(), client)
		require.NoError(t, err)
		retriever := stscreds.IdentityTokenFile(os.Getenv("AWS_WEB_IDENTITY_TOKEN_FILE"))
		role := stscreds.NewWebIdentityRoleProvider(sts.NewFromConfig(loaded), awsRole, retriever, func(o *stscreds.WebIdentityRoleOptions) {
			o.RoleSessionName, o.Duration = "shop-puller", 15*time.Minute
		})
		key, err := role.Retrieve(t.Context())
		require.NoError(t, err)
		require.WithinDuration(t, time.Now().Add(15*time.Minute), key.Expires, time.Minute)
		require.Equal(t, "123456789012", key.AccountID)
	})
	t.Run("what STS returns of the token", func(t *testing.T) {
		loaded, err := config.LoadDefaultConfig(t.Context(), client)
		require.NoError(t, err)
		token := issuer.Token(trust.Subject, "sts.amazonaws.com", time.Hour)
		in := &sts.AssumeRoleWithWebIdentityInput{RoleArn: aws.String(awsRole), RoleSessionName: aws.String("shop-puller"), WebIdentityToken: &token}
		got, err := sts.NewFromConfig(loaded).AssumeRoleWithWebIdentity(t.Context(), in)
		require.NoError(t, err)
		require.Equal(t, trust.Subject, *got.SubjectFromWebIdentityToken)
		require.Equal(t, "sts.amazonaws.com", *got.Audience)
		require.Equal(t, "arn:aws:iam::123456789012:oidc-provider/kubernetes.example.com", *got.Provider)
		require.Equal(t, "arn:aws:sts::123456789012:assumed-role/pull/shop-puller", *got.AssumedRoleUser.Arn)

		in.RoleSessionName = aws.String("system:serviceaccount:shop:puller")
		_, err = sts.NewFromConfig(loaded).AssumeRoleWithWebIdentity(t.Context(), in)
		var api smithy.APIError
		require.ErrorAs(t, err, &api)
		require.Equal(t, "ValidationError", api.ErrorCode(), "a session name has no colon")
	})
}

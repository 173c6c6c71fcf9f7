package validate_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
	"github.com/regcred/regcred/validate"
)

// answering checks an image of a registry that responds to each manifest request with the message.
func answering(t *testing.T, name string, d registrytest.Dialect, status int, message string) (validate.Result, error) {
	t.Helper()
	r := newRegistry(d, user("ann", "right", "*"))
	body, err := json.Marshal(map[string]any{"errors": []any{map[string]string{"code": "DENIED", "message": message}}})
	require.NoError(t, err)
	r.Inject(registrytest.Fault{
		Match:  func(r registrytest.Request) bool { return strings.Contains(r.Path, "/manifests/") },
		Answer: registrytest.Answer{Status: status, Body: string(body)},
	})
	checker := validate.Checker{RoundTripper: r.RoundTripper()}
	return checker.Image(t.Context(), image(t, name), as("ann", "right"))
}

const ecrImage = "123456789012.dkr.ecr.us-east-1.amazonaws.com/team/app:1"

// Messages with more information than their status, as users reported them.
func TestKnownMessages(t *testing.T) {
	for _, test := range []struct {
		image   string
		dialect registrytest.Dialect
		status  int
		message string
		want    registry.Code
		hint    string
	}{
		{ecrImage, registrytest.ECR(), 403, "The security token included in the request is invalid.", registry.ErrExpired, "get a new token"},
		{ecrImage, registrytest.ECR(), 403, "The security token included in the request is expired", registry.ErrExpired, "get a new token"},
		{ecrImage, registrytest.ECR(), 400, "Your Authorization Token is invalid.", registry.ErrExpired, "get a new token"},
		{ecrImage, registrytest.ECR(), 500, "KMS key arn:aws:kms:us-east-1:1:key/2 is disabled (Service: Kms, KMSDisabledException)", registry.ErrBlocked, "KMS key"},
		{ecrImage, registrytest.ECR(), 403, "The upstream registry denied the request for library/app", registry.ErrDenied, "pull-through cache rule"},
		{
			ecrImage, registrytest.ECR(), 403,
			"User: arn:aws:sts::123456789012:assumed-role/pull/i-1 is not authorized to perform: ecr:GetDownloadUrlForLayer on resource: arn:aws:ecr:us-east-1:123456789012:repository/team/app because no VPC endpoint policy allows the ecr:GetDownloadUrlForLayer action",
			registry.ErrDenied, "allow ecr:GetDownloadUrlForLayer in the policy of the VPC endpoint that this network uses",
		},
		{
			ecrImage, registrytest.ECR(), 403, "User: arn:aws:iam::1:user/a is not authorized to perform: ecr:NewAction on resource: x",
			registry.ErrDenied, "allow ecr:newaction in the IAM policy of this identity",
		},
		{"harbor.example.com/team/app:1", registrytest.Harbor(), 500, "http status code: 429, body: pull rate limit", registry.ErrRateLimited, "Harbor's proxy cache"},
		{"gcr.io/team/app:1", registrytest.GCR(), 403, "This API method requires billing to be enabled. Please enable billing on project #1", registry.ErrBlocked, "enable billing"},
		{"example.azurecr.io/team/app:1", registrytest.ACR(), 401, "AADSTS7000222: The provided client secret keys are expired.", registry.ErrExpired, "new client secret"},
		{"example.azurecr.io/team/app:1", registrytest.ACR(), 401, "AADSTS7000215: Invalid client secret provided.", registry.ErrUnauthorized, "value of the client secret"},
		{"example.azurecr.io/team/app:1", registrytest.ACR(), 401, "AADSTS53003: Access has been blocked by Conditional Access policies.", registry.ErrBlocked, "conditional access"},
	} {
		_, err := answering(t, test.image, test.dialect, test.status, test.message)
		require.Equal(t, test.want, registry.CodeOf(err), test.message)
		require.Contains(t, registry.HintOf(err), test.hint)
		require.ErrorContains(t, err, test.message[:20])
		require.Equal(t, test.want == registry.ErrRateLimited, registry.Temporary(err), "%v", err)
	}
}

// A token that AWS no longer accepts before its expiry is dropped and issued again.
func TestEarlyExpiryIsRenewed(t *testing.T) {
	r := newRegistry(registrytest.ECR(), registrytest.Account{Username: "AWS", Password: credentials.NewSecret("token"), Pull: []string{"*"}})
	add(t, r, registrytest.Image{}, "team/app:1")
	r.Inject(registrytest.Fault{Times: 2, Match: func(r registrytest.Request) bool { return strings.Contains(r.Path, "/manifests/") }, Answer: registrytest.Answer{
		Status: 403, Body: `{"errors":[{"code":"DENIED","message":"The security token included in the request is expired"}]}`,
	}})
	var refused []credentials.Credential
	checker := validate.Checker{RoundTripper: r.RoundTripper()}
	_, err := checker.Image(t.Context(), image(t, ecrImage), validate.Candidate{
		Source:     source("AWS", "token"),
		OnRejected: func(c credentials.Credential) { refused = append(refused, c) },
	})
	require.Len(t, refused, 1, "%v", err)
}

func TestMessageInError(t *testing.T) {
	jwt := "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl"
	for message, want := range map[string]string{
		"disk is full":                        `409 DENIED "disk is full"`,
		"two\nlines\tand \x1b[31mcolour":      `"two lines and [31mcolour"`,
		`quoted "text"`:                       `"quoted \"text\""`,
		strings.Repeat("word ", 100):          `wo..."`,
		"see https://docs.example.com/a?b=c.": `"see https://docs.example.com/a"`,
		"at https://user:pass@s3.example.com/x?X-Amz-Signature=abc#y": `"at https://s3.example.com/x"`,
		"token " + jwt + " is bad":                                    `"token [...] is bad"`,
		"token=ghp_Zx81aBcD92kLmNoP34qRsTuVwXyZ567890ab":              `"[...]"`,
		"key AKIA and 0123456789abcdef0123456789abcdef0":              `"key AKIA and [...]"`,
		"blob sha256:" + strings.Repeat("0a", 32) + " gone":           `"blob sha256:` + strings.Repeat("0a", 32) + ` gone"`,
		"role/AWSReservedSSO_AdministratorAccess_0123456789abcdef":    `"role/AWSReservedSSO_AdministratorAccess_0123456789abcdef"`,
		"the password right is wrong":                                 `409 DENIED`,
		"the password RIGHT":                                          `409 DENIED`,
	} {
		result, err := answering(t, "registry.example.com/team/app:1", registrytest.DistributionBasic(), http.StatusConflict, message)
		require.ErrorContains(t, err, want, message)
		for _, secret := range []string{"pass@", "Signature", "eyJ", "ghp_", "right", "RIGHT", "0123456789abcdef0123456789abcdef0"} {
			require.NotContains(t, err.Error(), secret)
			for _, a := range result.Attempts {
				for _, ex := range a.Exchanges {
					require.NotContains(t, ex.String(), secret)
				}
			}
		}
	}
}

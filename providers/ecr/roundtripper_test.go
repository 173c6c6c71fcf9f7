package ecr_test

import (
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers/ecr"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
)

// A bubble detects a socket: a goroutine that waits for the network prevents its end.
func TestRoundTripperCarriesAllCalls(t *testing.T) {
	for name, test := range map[string]struct {
		endpoint string
		login    credentials.Login
		want     []string
	}{
		"key":             {home, ciLogin(), []string{"api.ecr.us-east-1.amazonaws.com"}},
		"role":            {home, ciLogin(credentials.AWSRole{ARN: hubARN}), []string{"sts.us-east-1.amazonaws.com", "api.ecr.us-east-1.amazonaws.com"}},
		"public":          {"public.ecr.aws", ciLogin(), []string{"api.ecr-public.us-east-1.amazonaws.com"}},
		"metadata server": {home, credentials.Login{Ambient: true}, []string{"metadata.test", "metadata.test", "metadata.test", "api.ecr.us-east-1.amazonaws.com"}},
	} {
		t.Run(name, func(t *testing.T) {
			noAmbient(t)
			t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://metadata.test")
			synctest.Test(t, func(t *testing.T) {
				cloud := newAWS()
				cloud.Users[0].Allow = append(cloud.Users[0].Allow, "sts:*", "ecr-public:*")
				metadata := cloud.InstanceMetadata(podARN)
				var asked []string
				p := ecr.Provider{RoundTripper: registrytest.NewRoundTripper(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					asked = append(asked, r.Host)
					if r.Host == "metadata.test" {
						metadata.ServeHTTP(w, r)
						return
					}
					cloud.ServeHTTP(w, r)
				}))}
				profile := registry.Profile{Name: "team-a", Kind: registry.ECR, Endpoint: test.endpoint, Login: test.login}
				if !test.login.Ambient {
					profile.Transport.Proxy = "http://proxy.test" // Does not count.
				}
				c, err := p.Credential(t.Context(), profile)
				require.NoError(t, err)
				require.Equal(t, ecr.Username, c.Username)
				require.Equal(t, test.want, asked)
			})
		})
	}
}

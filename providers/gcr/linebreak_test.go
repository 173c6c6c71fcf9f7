package gcr_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/providers/gcr"
	"github.com/regcred/regcred/registry"
)

// The line breaks of the private key were expanded (by a shell, YAML or Terraform): the file is complete, not
// truncated. Threads: GoogleCloudPlatform/kubernetes-engine-samples#40, velero-io/velero#1942.
func TestLineBreaksWrittenOut(t *testing.T) {
	key := strings.ReplaceAll(newGoogle().NewKey(puller).Reveal(), `\n`, "\n")
	err := providers.Validate(gcr.Provider{}, registry.Profile{Name: "a", Kind: registry.GCR, Endpoint: home,
		Login: googleLogin(credentials.GoogleLogin{Credentials: credentials.NewSecret(key)})})
	require.ErrorContains(t, err, "line break")
	require.NotContains(t, err.Error(), "was it cut")
}

package validate_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/internal/scenario"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
	"github.com/regcred/regcred/validate"
)

// A result with a temporary failure does not say that the image pulls.
func TestTemporaryFailureIsNoYes(t *testing.T) {
	var s scenario.Scenario
	s.Blob.ConfigStatus = 503
	for _, runtime := range []validate.Runtime{validate.Containerd, validate.CRIO, validate.Docker, validate.DockerContainerd} {
		checker := validate.Checker{Runtimes: []validate.Runtime{runtime}, Deep: true, RoundTripper: registrytest.NewRoundTripper(scenario.NewRegistry(s, ""))}
		image, err := registry.ParseImage(scenario.Image)
		require.NoError(t, err)
		result, err := checker.Image(t.Context(), image, validate.Candidate{Source: credentials.Static(credentials.Credential{
			Username: scenario.Username, Password: credentials.NewSecret(scenario.Password),
		})})
		require.Error(t, err, runtime)
		require.NotEqual(t, validate.Yes, result.Pulls, runtime)
		require.NotEqual(t, validate.Yes, result.Runs, runtime)
	}
}

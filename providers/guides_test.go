package providers_test

import (
	"os"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/providers/acr"
	"github.com/regcred/regcred/providers/custom"
	"github.com/regcred/regcred/providers/dockerhub"
	"github.com/regcred/regcred/providers/federated"
	"github.com/regcred/regcred/providers/subjects"
	"github.com/regcred/regcred/registry"
)

// TestGuides validates each profile in a guide.
func TestGuides(t *testing.T) {
	var tokens subjects.Set // No token is requested: the profiles are validated.
	set := providers.Set{
		registry.DockerHub: federated.Provider{Subjects: tokens, Fallback: dockerhub.Provider{}}, registry.ACR: acr.Provider{Subjects: tokens},
		registry.Custom: federated.Provider{Subjects: tokens, Fallback: custom.Provider{}},
	}
	block := regexp.MustCompile("(?s)```json\n(.*?)```")
	for guide, want := range map[string]int{
		"../docs/dockerhub.md": 3, "../docs/custom.md": 9, "../docs/acr.md": 1, "../docs/keyless.md": 1,
		"../docs/keyless/quay.md": 1, "../docs/keyless/artifactory.md": 1, "../docs/keyless/cloudsmith.md": 1, "../docs/keyless/chainguard.md": 1,
		"../docs/keyless/dockerhub.md": 1, "../docs/keyless/ibm.md": 1, "../docs/keyless/password.md": 2, "../docs/keyless/threats.md": 0,
	} {
		text, err := os.ReadFile(guide)
		require.NoError(t, err)
		blocks := block.FindAllSubmatch(text, -1)
		require.Len(t, blocks, want, guide)
		for _, b := range blocks {
			profiles, err := registry.DecodeProfiles(b[1])
			require.NoError(t, err, "%s: %s", guide, b[1])
			for _, p := range profiles {
				require.NoError(t, set.Validate(p), "%s: %s", guide, b[1])
				require.Empty(t, p.Warnings())
			}
		}
	}
}

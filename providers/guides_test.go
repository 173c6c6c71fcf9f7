package providers_test

import (
	"os"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/providers/custom"
	"github.com/regcred/regcred/providers/dockerhub"
	"github.com/regcred/regcred/registry"
)

// TestGuides issues a credential for each profile that stands in a guide.
func TestGuides(t *testing.T) {
	set := providers.Set{registry.DockerHub: dockerhub.Provider{}, registry.Custom: custom.Provider{}}
	block := regexp.MustCompile("(?s)```json\n(.*?)```")
	for guide, want := range map[string]int{"../docs/dockerhub.md": 3, "../docs/custom.md": 9} {
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

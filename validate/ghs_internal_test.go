package validate

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
)

func TestHintForAnInstallationToken(t *testing.T) {
	app := credentials.Credential{Username: "x", Password: credentials.NewSecret("ghs_0123456789")}
	person := credentials.Credential{Username: "x", Password: credentials.NewSecret("ghp_0123456789")}
	require.Contains(t, hintFor(ghcr, registry.ErrHidden, app), "installation token of a GitHub App")
	require.NotContains(t, hintFor(ghcr, registry.ErrHidden, person), "GitHub App")
	require.NotContains(t, hintFor(ghcr, registry.ErrUnauthorized, app), "GitHub App", "it is let in")
	require.Equal(t, ghcr, vendorOfHost("containers.acme.ghe.com"))
}

package ecr_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/providers/ecr"
	"github.com/regcred/regcred/registry"
)

func TestEndpointOfAVPC(t *testing.T) {
	err := providers.Validate(ecr.Provider{}, registry.Profile{
		Name: "a", Kind: registry.ECR, Endpoint: "vpce-0a1b-2c.dkr.ecr.eu-west-1.vpce.amazonaws.com",
		Login: credentials.Login{Ambient: true},
	})
	require.ErrorContains(t, err, "turn on private DNS")
}

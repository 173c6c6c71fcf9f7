package ecr

import (
	"net"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/registry"
)

// Tests must not query a real name server, so the response for a region that does not exist is simulated.
func TestUnknownRegion(t *testing.T) {
	s := session{host: Host{Region: "eu-nowhere-1"}}
	err := s.fail(t.Context(), stepToken, identity{name: "access key AKIA"}, &url.Error{Op: "Post", URL: "https://api.ecr.eu-nowhere-1.amazonaws.com/", Err: &net.OpError{
		Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "api.ecr.eu-nowhere-1.amazonaws.com", IsNotFound: true},
	}})
	require.ErrorIs(t, err, registry.ErrHostNotFound)
	require.ErrorContains(t, err, "ecr:GetAuthorizationToken as access key AKIA")
	require.ErrorContains(t, err, "api.ecr.eu-nowhere-1.amazonaws.com")
	require.Contains(t, registry.HintOf(err), "check the region eu-nowhere-1")
}

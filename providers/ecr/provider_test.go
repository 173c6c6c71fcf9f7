package ecr_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/providers/ecr"
	"github.com/regcred/regcred/providers/ecr/ecrtest"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest/fakenet"
)

const (
	ciARN  = "arn:aws:iam::123456789012:user/ci"
	ciKey  = "AKIAEXAMPLECI0000000"
	ciText = "the-secret-of-ci-which-never-shows"
	home   = "123456789012.dkr.ecr.us-east-1.amazonaws.com"
)

// ci is a user who may pull.
func ci() ecrtest.User {
	return ecrtest.User{ARN: ciARN, AccessKeyID: ciKey, SecretAccessKey: credentials.NewSecret(ciText), Allow: ecrtest.PullActions()}
}

func ciLogin(roles ...credentials.AWSRole) credentials.Login {
	return credentials.Login{AWS: &credentials.AWSLogin{AccessKeyID: ciKey, SecretAccessKey: credentials.NewSecret(ciText), Roles: roles}}
}

// attach puts the cloud into a network.
func attach(t *testing.T, cloud *ecrtest.AWS) *fakenet.Network {
	t.Helper()
	n, err := fakenet.New()
	require.NoError(t, err)
	t.Cleanup(n.Close)
	cloud.Attach(n)
	return n
}

// profile has the network's transport.
func profile(n *fakenet.Network, endpoint string, login credentials.Login) registry.Profile {
	return registry.Profile{Name: "team-a", Kind: registry.ECR, Endpoint: endpoint, Login: login, Transport: n.Transport()}
}

func TestStaticKey(t *testing.T) {
	cloud := &ecrtest.AWS{Users: []ecrtest.User{ci()}}
	n := attach(t, cloud)
	c, err := ecr.Provider{}.Credential(context.Background(), profile(n, home, ciLogin()))
	require.NoError(t, err)
	t.Log(c.Username, c.Password.Len(), c.ExpiresAt, cloud.Calls(), n.Dialed())
	cloud.Users[0].SecretAccessKey = credentials.NewSecret("x")
	_, err = ecr.Provider{}.Credential(context.Background(), profile(n, home, ciLogin()))
	t.Log(err)
}

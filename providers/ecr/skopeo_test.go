package ecr_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/internal/testtool"
	"github.com/regcred/regcred/providers/ecr"
	"github.com/regcred/regcred/providers/ecr/ecrtest"
	"github.com/regcred/regcred/pullsecret"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
	"github.com/regcred/regcred/registry/registrytest/fakenet"
	"github.com/regcred/regcred/validate"
)

// skopeo inspects an image with only the pull secret, like a node.
func skopeo(t *testing.T, n *fakenet.Network, p registry.Profile, c credentials.Credential, image string) error {
	t.Helper()
	secret, err := pullsecret.Build(pullsecret.Entry{Profile: p, Credential: c})
	require.NoError(t, err)
	dir := t.TempDir()
	authFile := filepath.Join(dir, "auth.json")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "ca.crt"), []byte(n.CA), 0o600))
	require.NoError(t, os.WriteFile(authFile, secret.Reveal(), 0o600))
	out, err := testtool.Run(t, []string{"HOME=" + dir, "HTTPS_PROXY=" + n.URL, "NO_PROXY="}, "skopeo", "--insecure-policy", "inspect",
		"--authfile", authFile, "--cert-dir", dir, "docker://"+image)
	if err != nil {
		t.Logf("skopeo: %s", out)
	}
	return err
}

func addImage(t *testing.T, cloud *ecrtest.AWS, host, repository string) {
	t.Helper()
	_, err := cloud.Registry(host).Add(repository, registrytest.Image{})
	require.NoError(t, err)
}

// From a profile to a pull by an independent client. The pull fails once the token is expired, and works with a new
// one.
func TestSkopeo(t *testing.T) {
	testtool.Need(t, "skopeo")
	cloud := newAWS()
	n := attach(t, cloud)
	addImage(t, cloud, home, "team/app:1")
	p := profile(n, home, ciLogin(credentials.AWSRole{ARN: hubARN}))
	p.Hosts = []string{"123456789012.dkr-ecr.us-east-1.on.aws", "123456789012.dkr.ecr-fips.us-east-1.amazonaws.com"}
	c, err := ecr.Provider{}.Credential(t.Context(), p)
	require.NoError(t, err)
	for _, host := range append([]string{home}, p.Hosts...) {
		require.NoError(t, skopeo(t, n, p, c, host+"/team/app:1"), "one token serves all names of the registry")
	}
	const elsewhere = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
	require.Error(t, skopeo(t, n, profile(n, elsewhere, ciLogin()), c, elsewhere+"/team/app:1"), "not another region")

	cloud.ExpireTokens()
	require.Error(t, skopeo(t, n, p, c, home+"/team/app:1"), "its twelve hours are over")
	c, err = ecr.Provider{}.Credential(t.Context(), p)
	require.NoError(t, err)
	require.NoError(t, skopeo(t, n, p, c, home+"/team/app:1"))
}

func TestSkopeoPublic(t *testing.T) {
	testtool.Need(t, "skopeo")
	user := ci()
	user.Allow = append(user.Allow, "ecr-public:*", "sts:GetServiceBearerToken")
	cloud := &ecrtest.AWS{Users: []ecrtest.User{user}}
	n := attach(t, cloud)
	addImage(t, cloud, "public.ecr.aws", "docker/library/busybox:1")
	for name, login := range map[string]credentials.Login{"anonymous": {Anonymous: true}, "with a token": ciLogin()} {
		t.Run(name, func(t *testing.T) {
			p := profile(n, "public.ecr.aws", login)
			c, err := ecr.Provider{}.Credential(t.Context(), p)
			require.NoError(t, err)
			require.NoError(t, skopeo(t, n, p, c, "public.ecr.aws/docker/library/busybox:1"))
		})
	}
}

// One principal, three accounts: its own, one whose repository allows it, and one whose repository does not.
func TestCrossAccount(t *testing.T) {
	const image = "team/app:1"
	own, admits, refuses := home, "222222222222.dkr.ecr.us-east-1.amazonaws.com", "333333333333.dkr.ecr.us-east-1.amazonaws.com"
	cloud := newAWS()
	cloud.Policies = map[string][]string{admits + "/team/app": {ciARN}, refuses + "/team/app": {hubARN}}
	n := attach(t, cloud)
	for _, host := range []string{own, admits, refuses} {
		addImage(t, cloud, host, image)
	}
	p := profile(n, own, ciLogin())
	p.Hosts = []string{admits, refuses}
	c, err := ecr.Provider{}.Credential(t.Context(), p)
	require.NoError(t, err)
	require.Len(t, cloud.Calls(), 1, "one token for all")

	transports := new(registry.Transports)
	t.Cleanup(transports.CloseIdleConnections)
	checker := validate.Checker{Transports: transports}
	check := func(host string) error {
		ref, err := registry.ParseImage(host + "/" + image)
		require.NoError(t, err)
		_, err = checker.Image(t.Context(), ref, validate.Candidate{Name: p.Name, Source: credentials.Static(c), Transport: p.Transport})
		return err
	}
	require.NoError(t, check(own))
	require.NoError(t, check(admits))
	err = check(refuses)
	require.ErrorIs(t, err, registry.ErrDenied)
	require.Contains(t, registry.HintOf(err), "from another account, both its own policy and the policy of the repository must")
	t.Log(err)
	t.Run("skopeo", func(t *testing.T) {
		testtool.Need(t, "skopeo")
		require.NoError(t, skopeo(t, n, p, c, own+"/"+image))
		require.NoError(t, skopeo(t, n, p, c, admits+"/"+image))
		require.Error(t, skopeo(t, n, p, c, refuses+"/"+image))
	})
}

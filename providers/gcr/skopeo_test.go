package gcr_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/internal/testtool"
	"github.com/regcred/regcred/providers/gcr"
	"github.com/regcred/regcred/pullsecret"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
	"github.com/regcred/regcred/registry/registrytest/fakenet"
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

// From a profile to a pull by an independent client. The pull fails once the credential is expired, and works with a
// new one.
func TestSkopeo(t *testing.T) {
	testtool.Need(t, "skopeo")
	const image = "project/repository/app:1"
	for _, host := range []string{home, "gcr.io"} {
		cloud := newGoogle()
		cloud.Public = []string{host + "/public/*"}
		n := attach(t, cloud)
		for _, name := range []string{image, "example.com/other/app:1", "public/images/app:1"} {
			_, err := cloud.Registry(host).Add(name, registrytest.Image{})
			require.NoError(t, err)
		}

		t.Run(host+" with an access token", func(t *testing.T) {
			p := profile(n, googleLogin(credentials.GoogleLogin{Credentials: cloud.NewKey(builder), Impersonate: puller, Delegates: []string{middle}}))
			p.Endpoint = host
			c, err := gcr.Provider{}.Credential(t.Context(), p)
			require.NoError(t, err)
			require.NoError(t, skopeo(t, n, p, c, host+"/"+image))
			require.Error(t, skopeo(t, n, p, c, host+"/example.com/other/app:1"), "no right to it")

			cloud.ExpireTokens()
			require.Error(t, skopeo(t, n, p, c, host+"/"+image), "its hour is over")
			c, err = gcr.Provider{}.Credential(t.Context(), p)
			require.NoError(t, err)
			require.NoError(t, skopeo(t, n, p, c, host+"/"+image))
		})
		t.Run(host+" without a login", func(t *testing.T) {
			p := profile(n, credentials.Login{Anonymous: true})
			p.Endpoint = host
			c, err := gcr.Provider{}.Credential(t.Context(), p)
			require.NoError(t, err)
			require.NoError(t, skopeo(t, n, p, c, host+"/public/images/app:1"))
			require.Error(t, skopeo(t, n, p, c, host+"/"+image))
		})
		t.Run(host+" with a key", func(t *testing.T) {
			key := cloud.NewKey(puller)
			p := profile(n, googleLogin(credentials.GoogleLogin{Credentials: key}))
			p.Endpoint = host
			c, err := gcr.Provider{}.Credential(t.Context(), p)
			require.NoError(t, err)
			require.NoError(t, skopeo(t, n, p, c, host+"/"+image))
			cloud.ExpireTokens()
			require.NoError(t, skopeo(t, n, p, c, host+"/"+image), "a key has no end")
			cloud.DisableKey(key)
			require.Error(t, skopeo(t, n, p, c, host+"/"+image), "until it is disabled")
		})
	}
}

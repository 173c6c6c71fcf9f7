package systemregistry_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/internal/testtool"
	"github.com/regcred/regcred/providers/system"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/systemregistry"

	"github.com/regcred/regcred/credentials"
)

// source creates an image on disk, in the form that a docker client would have.
func source(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	manifest, config := manifestOf("layer")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "version"), []byte("Directory Transport Version: 1.1\n"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "manifest.json"), []byte(manifest), 0o600))
	for _, blob := range []string{"layer", config} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, digestOf(blob)[len("sha256:"):]), []byte(blob), 0o600))
	}
	return "dir:" + dir
}

// A person pushes. A profile of kind system gets a login that can pull and nothing else.
func TestSkopeo(t *testing.T) {
	testtool.Need(t, "skopeo")
	r := start(t, systemregistry.Server{Dir: t.TempDir()})
	image := "docker://" + r.Host + "/team/app:1"
	out, err := testtool.Run(t, nil, "skopeo", "copy", "--dest-cert-dir", r.certs, "--dest-creds", "ann:"+password("ann").Reveal(), source(t), image)
	require.NoError(t, err, out)

	profile := registry.Profile{
		Name: "system", Kind: registry.System, Endpoint: r.URL + "/team",
		Login:     credentials.Login{Username: "ann", Password: password("ann")},
		Transport: registry.TransportConfig{CABundle: r.CA()},
	}
	c, err := system.Provider{Lifetime: time.Minute}.Credential(t.Context(), profile)
	require.NoError(t, err)
	creds := c.Username + ":" + c.Password.Reveal()
	out, err = testtool.Run(t, nil, "skopeo", "copy", "--src-cert-dir", r.certs, "--src-creds", creds, image, "dir:"+t.TempDir())
	require.NoError(t, err, out)
	out, err = testtool.Run(t, nil, "skopeo", "copy", "--dest-cert-dir", r.certs, "--dest-creds", creds, source(t), image+"-mine")
	require.Error(t, err, out, "the login may pull only")
	out, err = testtool.Run(t, nil, "skopeo", "inspect", "--cert-dir", r.certs, "--creds", "ann:wrong password", image)
	require.Error(t, err, out)
	out, err = testtool.Run(t, nil, "skopeo", "inspect", "--cert-dir", r.certs, "--no-creds", image)
	require.Error(t, err, out)
}

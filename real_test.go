package regcred_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred"
	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/internal/testtool"
	"github.com/regcred/regcred/registry"
)

// The pipeline's verdicts match an independent registry and client: an image that passes is pulled with only the
// content of its secret, and an image that fails is rejected for the reason in the verdict.
func TestRealRegistry(t *testing.T) {
	r := startRealRegistry(t)
	skopeo := func(args ...string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		out, err := exec.CommandContext(ctx, testtool.Need(t, "skopeo"), append([]string{"--insecure-policy", "copy"}, args...)...).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	image, err := random.Image(1024, 2)
	require.NoError(t, err)
	digest, err := image.Digest()
	require.NoError(t, err)
	oci := t.TempDir()
	written, err := layout.Write(oci, empty.Index)
	require.NoError(t, err)
	require.NoError(t, written.AppendImage(image))
	skopeo("--dest-cert-dir", r.certs, "--dest-creds", realUser+":"+realPassword, "oci:"+oci, "docker://"+r.host+"/shop/web:1.4")

	newRequest := func(password, image string) regcred.Request {
		return regcred.Request{
			Profiles: []registry.Profile{{
				Name: "shop", Kind: registry.Custom, Endpoint: r.host + "/shop",
				Login:     credentials.Login{Username: realUser, Password: credentials.NewSecret(password)},
				Transport: registry.TransportConfig{CABundle: r.ca},
			}},
			Images: []string{r.host + "/" + image},
		}
	}
	run := func(password, image string) (regcred.Outcome, error) {
		var p regcred.Pipeline
		return p.Run(t.Context(), newRequest(password, image))
	}
	for _, name := range []string{"shop/web:1.4", "shop/web@" + digest.String()} {
		outcome, err := run(realPassword, name)
		require.NoError(t, err)
		require.Equal(t, digest.String(), outcome.Images[0].Digest)

		auth, pulled := filepath.Join(t.TempDir(), "auth.json"), t.TempDir()
		require.NoError(t, os.WriteFile(auth, outcome.Secret.Config.Reveal(), 0o600))
		skopeo("--src-cert-dir", r.certs, "--src-authfile", auth, "docker://"+r.host+"/"+name, "dir:"+pulled)
		want, err := image.RawManifest()
		require.NoError(t, err)
		got, err := os.ReadFile(filepath.Join(pulled, "manifest.json"))
		require.NoError(t, err)
		require.Equal(t, string(want), string(got))
	}

	tests := map[string]struct {
		password, image string
		want            registry.Code
	}{
		"wrong password":        {"wrong", "shop/web:1.4", registry.ErrUnauthorized},
		"missing tag":           {realPassword, "shop/web:1.5", registry.ErrImageNotFound},
		"missing repository":    {realPassword, "shop/other:1.4", registry.ErrRepositoryNotFound},
		"outside of a profile":  {realPassword, "other/web:1.4", registry.ErrNoProfile},
		"digest of another one": {realPassword, "shop/web@sha256:" + strings.Repeat("0", 64), registry.ErrImageNotFound},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			outcome, err := run(test.password, test.image)
			require.Error(t, err)
			require.Zero(t, outcome.Secret)
			require.Equal(t, test.want, registry.CodeOf(outcome.Images[0].Err), "%v", outcome.Images[0].Err)
		})
	}

	t.Run("unknown authority", func(t *testing.T) {
		request := newRequest(realPassword, "shop/web:1.4")
		request.Profiles[0].Transport = registry.TransportConfig{}
		var p regcred.Pipeline
		_, err := p.Run(t.Context(), request)
		require.ErrorIs(t, err, registry.ErrTLSUnknownIssuer)
	})
}

package registrytest_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/registry/registrytest"
)

// A client that nobody here wrote pulls from every dialect over TLS, and pushes to it.
func TestSkopeo(t *testing.T) {
	if _, err := exec.LookPath("skopeo"); err != nil {
		t.Skip("skopeo is not installed: a pull and push with it were not tried")
	}
	for _, d := range registrytest.Dialects() {
		t.Run(d.Name, func(t *testing.T) {
			t.Parallel()
			r := newRegistry(t, d)
			r.RedirectBlobs = true
			index, err := r.Add("team/app:multi", registrytest.Image{Platforms: []string{"linux/amd64", "linux/arm64/v8"}})
			require.NoError(t, err)
			_, err = r.Add("team/app:docker", registrytest.Image{Format: registrytest.DockerSchema2})
			require.NoError(t, err)
			s := start(t, r)
			certs, dir := t.TempDir(), t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(certs, "ca.crt"), []byte(s.CA), 0o600))
			skopeo := func(args ...string) (string, error) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				out, err := exec.CommandContext(ctx, "skopeo", append([]string{"--insecure-policy"}, args...)...).CombinedOutput()
				return string(out), err
			}
			login := []string{"--creds", "ann:right"}
			if d.Open {
				login = []string{"--no-creds"}
			}
			from := func(tag string) string { return "docker://" + s.Host + "/team/app:" + tag }

			raw, err := skopeo(append([]string{"inspect", "--raw", "--cert-dir", certs, from("multi")}, login...)...)
			require.NoError(t, err, raw)
			var got struct{ Manifests []any }
			require.NoError(t, json.Unmarshal([]byte(raw), &got))
			require.Len(t, got.Manifests, 2)
			for _, tag := range []string{"1", "multi", "docker"} {
				args := append([]string{"copy", "--src-cert-dir", certs, "--src-" + login[0][2:]}, login[1:]...)
				out, err := skopeo(append(args, "--all", from(tag), "dir:"+filepath.Join(dir, tag))...)
				require.NoError(t, err, out)
			}
			if d.Open {
				return
			}
			out, err := skopeo("copy", "--all", "--preserve-digests", "--dest-cert-dir", certs, "--dest-creds", "ann:right", "dir:"+filepath.Join(dir, "multi"), "docker://"+s.Host+"/new/app:copy")
			require.NoError(t, err, out)
			out, err = skopeo("inspect", "--cert-dir", certs, "--creds", "ann:right", "--raw", "docker://"+s.Host+"/new/app@"+index)
			require.NoError(t, err, out)
			require.Equal(t, raw, out, "what was pushed is what was pulled")

			out, err = skopeo("copy", "--dest-cert-dir", certs, "--dest-creds", "ann:right", "dir:"+filepath.Join(dir, "1"), from("mine"))
			require.Error(t, err, out, "no right to push")
			out, err = skopeo("inspect", "--cert-dir", certs, "--creds", "ann:wrong", from("1"))
			require.Error(t, err, out)
		})
	}
}

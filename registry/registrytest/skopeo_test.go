package registrytest

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/internal/testtool"
)

// refused is the text with which skopeo reports a rejected login.
var refused = regexp.MustCompile(`(?i)denied|unauthorized|authentication required|not authorized|invalid username|403 .Forbidden`)

// A third-party client pulls from every dialect over TLS, and pushes to it.
func TestSkopeo(t *testing.T) {
	testtool.Need(t, "skopeo")
	for _, d := range Dialects() {
		t.Run(d.Name, func(t *testing.T) {
			t.Parallel()
			r := newRegistry(t, d)
			r.RedirectBlobs = true
			index, err := r.Add("team/app:multi", Image{Platforms: []string{"linux/amd64", "linux/arm64/v8"}})
			require.NoError(t, err)
			_, err = r.Add("team/app:docker", Image{Format: DockerSchema2})
			require.NoError(t, err)
			s := startServer(t, r)
			certs, dir := t.TempDir(), t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(certs, "ca.crt"), []byte(s.CA), 0o600))
			skopeo := func(args ...string) (string, error) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				out, err := exec.CommandContext(ctx, "skopeo", append([]string{"--insecure-policy"}, args...)...).CombinedOutput()
				return string(out), err
			}
			login := []string{"--creds", "ann:right"}
			if d.open {
				login = []string{"--no-creds"}
			}
			from := func(tag string) string { return "docker://" + s.Host + "/team/app:" + tag }
			for _, tag := range []string{"multi", "docker"} {
				args := append([]string{"copy", "--all", "--src-cert-dir", certs, "--src-" + login[0][2:]}, login[1:]...)
				out, err := skopeo(append(args, from(tag), "dir:"+filepath.Join(dir, tag))...)
				require.NoError(t, err, out)
			}
			pulled, err := os.ReadFile(filepath.Join(dir, "multi", "manifest.json"))
			require.NoError(t, err)
			require.Equal(t, index, fmt.Sprintf("sha256:%x", sha256.Sum256(pulled)))
			if d.open {
				return
			}
			push := []string{"copy", "--all", "--preserve-digests", "--dest-cert-dir", certs, "--dest-creds", "ann:right", "dir:" + filepath.Join(dir, "multi")}
			out, err := skopeo(append(push, "docker://"+s.Host+"/new/app:copy")...)
			require.NoError(t, err, out)
			out, err = skopeo("inspect", "--cert-dir", certs, "--creds", "ann:right", "--raw", "docker://"+s.Host+"/new/app@"+index)
			require.NoError(t, err, out)
			require.Equal(t, string(pulled), out, "what was pushed is what was pulled")

			out, err = skopeo(append(push, from("mine"))...)
			require.Error(t, err, "no right to push")
			require.Regexp(t, refused, out)
			out, err = skopeo("inspect", "--cert-dir", certs, "--creds", "ann:wrong", from("multi"))
			require.Error(t, err)
			require.Regexp(t, refused, out)
		})
	}
}

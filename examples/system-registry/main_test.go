package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/internal/testtool"
	"github.com/regcred/regcred/registry"
)

// started runs the program until stop is called, and returns the URL that it printed.
func started(t *testing.T, dir string) (url string, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	lines, ended := make(printed, 100), make(chan error, 1)
	go func() { ended <- run(ctx, []string{"-dir", dir, "-addr", "127.0.0.1:0"}, lines) }()
	select {
	case text := <-lines:
		return strings.Fields(text)[1], func() {
			cancel()
			require.NoError(t, <-ended)
		}
	case err := <-ended:
		cancel()
		t.Fatal(err)
	case <-time.After(time.Minute):
		cancel()
		t.Fatal("it printed nothing")
	}
	return "", nil
}

// printed collects the output of the program, with an element for each write.
type printed chan string

func (p printed) Write(b []byte) (int, error) {
	select {
	case p <- string(b):
		return len(b), nil
	default:
		return 0, errors.New("printed too much")
	}
}

// After the registry has started and an image was pushed, a client can pull it with only the content of the pull
// secret that a pod would have; and again after a restart.
func TestFromNothingToAPodsSecret(t *testing.T) {
	testtool.Need(t, "skopeo")
	dir, image := t.TempDir(), "oci:"+filepath.Join(t.TempDir(), "image")
	random, err := random.Image(1000, 2)
	require.NoError(t, err)
	path, err := layout.Write(strings.TrimPrefix(image, "oci:"), empty.Index)
	require.NoError(t, err)
	require.NoError(t, path.AppendImage(random))

	for _, tag := range []string{"1", "2"} {
		t.Run(tag, func(t *testing.T) {
			url, stop := started(t, dir)
			defer stop()
			_, host, _ := strings.Cut(url, "://")
			copied := func(args ...string) error {
				out, err := testtool.Run(t, []string{"SSL_CERT_FILE=" + filepath.Join(dir, caFile)}, "skopeo", append([]string{"copy"}, args...)...)
				t.Log(out)
				return err
			}
			password, err := os.ReadFile(filepath.Join(dir, passwordFile))
			require.NoError(t, err)
			pushed := "docker://" + host + "/team/app:" + tag
			require.NoError(t, copied("--dest-creds", adminName+":"+string(password), image, pushed))

			var secret bytes.Buffer
			require.NoError(t, run(t.Context(), []string{"-dir", dir, "-url", url, "-pull", "team/app:" + tag, "-namespace", "shop"}, &secret))
			require.Contains(t, secret.String(), "namespace: \"shop\"")
			content := dockerConfig(t, secret.String())
			require.NotContains(t, string(content), base64.StdEncoding.EncodeToString([]byte(adminName+":"+string(password))))
			config := filepath.Join(t.TempDir(), "config.json")
			require.NoError(t, os.WriteFile(config, content, 0o600))

			require.NoError(t, copied("--src-authfile", config, "docker://"+host+"/team/app:1", "dir:"+t.TempDir()))
			require.Error(t, copied("--src-no-creds", pushed, "dir:"+t.TempDir()), "without the secret")
			require.Error(t, copied("--dest-authfile", config, image, pushed), "the secret pulls, and does nothing else")

			secret.Reset()
			err = run(t.Context(), []string{"-dir", dir, "-url", url, "-pull", "team/app:none"}, &secret)
			require.ErrorIs(t, err, registry.ErrNotFound)
			require.Zero(t, secret.Len(), "what is not proven is not printed")
		})
	}
}

// dockerConfig returns the content of a pull secret.
func dockerConfig(t *testing.T, manifest string) []byte {
	t.Helper()
	_, rest, found := strings.Cut(manifest, ".dockerconfigjson:")
	require.True(t, found, "it is no pull secret")
	text, err := base64.StdEncoding.DecodeString(strings.Fields(rest)[0])
	require.NoError(t, err)
	return text
}

// Incorrect usage has its own exit code.
func TestUsage(t *testing.T) {
	for _, args := range [][]string{{"unexpected"}, {"-unknown"}} {
		require.Equal(t, 2, exitCode(run(t.Context(), args, io.Discard)), args)
	}
	require.Equal(t, 1, exitCode(errors.New("denied")))
}

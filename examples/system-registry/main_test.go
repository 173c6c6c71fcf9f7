package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/internal/testtool"
	"github.com/regcred/regcred/registry"
)

// started runs the program until stop is called, and returns the URL that it printed.
func started(t *testing.T, dir string, more ...string) (url string, lines <-chan string, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out, ended := make(printed, 100), make(chan error, 1)
	go func() { ended <- run(ctx, append([]string{"-dir", dir, "-addr", "127.0.0.1:0"}, more...), out) }()
	select {
	case text := <-out:
		return strings.Fields(text)[1], out, func() {
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
	return "", nil, nil
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
			url, _, stop := started(t, dir)
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

// A backup restores images that the storage has lost, and the check finds that it lost them.
func TestBackupCheckAndRestore(t *testing.T) {
	dir, backup := t.TempDir(), t.TempDir()
	url, _, stop := started(t, dir)
	password, err := os.ReadFile(filepath.Join(dir, passwordFile))
	require.NoError(t, err)
	image, err := random.Image(1000, 2)
	require.NoError(t, err)
	authority, err := os.ReadFile(filepath.Join(dir, caFile))
	require.NoError(t, err)
	trusted := x509.NewCertPool()
	require.True(t, trusted.AppendCertsFromPEM(authority))
	ref, err := name.ParseReference(strings.TrimPrefix(url, "https://") + "/team/app:1")
	require.NoError(t, err)
	require.NoError(t, remote.Write(ref, image, remote.WithContext(t.Context()),
		remote.WithAuth(&authn.Basic{Username: adminName, Password: string(password)}),
		remote.WithTransport(&http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted}})))
	stop()

	_, lines, stop := started(t, dir, "-backup", backup)
	for done := false; !done; {
		select {
		case line := <-lines:
			done = strings.HasPrefix(line, "backup:")
		case <-time.After(time.Minute):
			t.Fatal("no backup was made")
		}
	}
	stop()

	var out bytes.Buffer
	require.NoError(t, run(t.Context(), []string{"-dir", dir, "-check"}, &out), "%s", &out)
	layers, err := image.Layers()
	require.NoError(t, err)
	digest, err := layers[0].Digest()
	require.NoError(t, err)
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "images/docker/registry/v2/blobs/sha256", digest.Hex[:2], digest.Hex)))
	require.Error(t, run(t.Context(), []string{"-dir", dir, "-check"}, &out))
	require.Contains(t, out.String(), digest.String())

	// A restore that cannot work changes nothing, and the folder does not pass the check afterwards.
	restored := filepath.Join(t.TempDir(), "restored")
	require.Error(t, run(t.Context(), []string{"-dir", restored, "-restore", t.TempDir()}, &out), "it is no backup")
	require.NoDirExists(t, restored)
	used := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(used, "file"), nil, 0o600))
	require.Error(t, run(t.Context(), []string{"-dir", used, "-restore", backup}, &out), "the folder is not empty")
	require.NoFileExists(t, filepath.Join(used, accountsFile))
	damaged := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(damaged, "store.jsonl"), []byte("{"), 0o600))
	require.Error(t, run(t.Context(), []string{"-dir", restored, "-restore", damaged}, &out))
	require.ErrorIs(t, run(t.Context(), []string{"-dir", restored, "-check"}, &out), fs.ErrNotExist)
	require.ErrorContains(t, run(t.Context(), []string{"-dir", restored}, &out), "restore it again")

	restored = filepath.Join(t.TempDir(), "restored")
	require.NoError(t, run(t.Context(), []string{"-dir", restored, "-restore", backup}, &out))
	require.NoError(t, run(t.Context(), []string{"-dir", restored, "-check"}, &out), "%s", &out)
	require.Error(t, run(t.Context(), []string{"-dir", restored, "-restore", backup}, &out), "the folder is not empty")
	require.Error(t, run(t.Context(), []string{"-dir", t.TempDir(), "-check"}, &out), "there is no registry")

	// The password that the restored registry names is correct.
	requireLogin(t, restored, string(password))
	kept, err := os.ReadFile(filepath.Join(restored, passwordFile))
	require.NoError(t, err)
	require.Equal(t, password, kept)
	info, err := os.Stat(filepath.Join(restored, passwordFile))
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o600), info.Mode().Perm())

	// If the backup has no such file, none with a wrong password is created.
	require.NoError(t, os.Remove(filepath.Join(restored, passwordFile)))
	requireLogin(t, restored, string(password))
	require.NoFileExists(t, filepath.Join(restored, passwordFile))
}

// requireLogin starts the registry in the folder, and requires that the password of the admin is correct.
func requireLogin(t *testing.T, dir, password string) {
	t.Helper()
	url, _, stop := started(t, dir)
	defer stop()
	authority, err := os.ReadFile(filepath.Join(dir, caFile))
	require.NoError(t, err)
	trusted := x509.NewCertPool()
	require.True(t, trusted.AppendCertsFromPEM(authority))
	ref, err := name.ParseReference(strings.TrimPrefix(url, "https://") + "/team/app:1")
	require.NoError(t, err)
	_, err = remote.Head(ref, remote.WithContext(t.Context()), remote.WithAuth(&authn.Basic{Username: adminName, Password: password}),
		remote.WithTransport(&http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted}}))
	require.NoError(t, err)
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
	for _, args := range [][]string{{"unexpected"}, {"-unknown"}, {"-check", "-restore", "backup"}, {"-check", "-pull", "team/app:1"}, {"-restore", "a", "-backup", "b"}} {
		require.Equal(t, 2, exitCode(run(t.Context(), args, io.Discard)), args)
	}
	require.Equal(t, 1, exitCode(errors.New("denied")))
}

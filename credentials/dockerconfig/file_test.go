package dockerconfig_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker/cli/cli/config"
	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/credentials/dockerconfig"
	"github.com/regcred/regcred/registry"
)

// home creates an empty home directory with no configuration, no helper and no runtime directory.
func home(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, value := range map[string]string{
		"HOME": dir, "PATH": filepath.Join(dir, "bin"), "XDG_RUNTIME_DIR": filepath.Join(dir, "run"),
		"XDG_CONFIG_HOME": "", "DOCKER_CONFIG": "", "DOCKER_AUTH_CONFIG": "", "REGISTRY_AUTH_FILE": "",
	} {
		t.Setenv(name, value)
	}
	return dir
}

func put(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
	require.NoError(t, os.WriteFile(path, []byte(text), mode))
}

// login returns a configuration with a login for the host, whose user name is the text.
func login(host, username string) string {
	return fmt.Sprintf(`{"auths":{%q:{"username":%q,"password":"p"}}}`, host, username)
}

func TestFilesOfTheUser(t *testing.T) {
	dir := home(t)
	file := dockerconfig.File{Server: "ghcr.io"}
	_, err := file.Credential(t.Context())
	require.ErrorIs(t, err, credentials.ErrNoLogin)
	require.ErrorContains(t, err, filepath.Join(dir, ".docker", "config.json"), "it names where it looked")
	require.ErrorContains(t, err, filepath.Join(dir, "run", "containers", "auth.json"))
	require.Equal(t, registry.ErrNoIdentity, registry.CodeOf(err))

	asks := func(want string) {
		t.Helper()
		c, err := file.Credential(t.Context())
		require.NoError(t, err)
		require.Equal(t, want, c.Username)
	}
	// From the last file to the first.
	put(t, filepath.Join(dir, ".config", "containers", "auth.json"), login("ghcr.io", "podman, lasting"), 0o600)
	asks("podman, lasting")
	put(t, filepath.Join(dir, "run", "containers", "auth.json"), login("ghcr.io", "podman"), 0o600)
	asks("podman")
	put(t, filepath.Join(dir, "elsewhere.json"), login("ghcr.io", "podman, elsewhere"), 0o600)
	t.Setenv("REGISTRY_AUTH_FILE", filepath.Join(dir, "elsewhere.json"))
	asks("podman, elsewhere")
	put(t, filepath.Join(dir, "bin", "docker-credential-pass"), `#!/bin/sh
echo '{"Username":"default store","Secret":"p"}'`, 0o700)
	put(t, filepath.Join(dir, "bin", "pass"), "#!/bin/sh\n", 0o700)
	asks("default store")
	put(t, filepath.Join(dir, ".docker", "config.json"), login("quay.io", "docker"), 0o600)
	asks("podman, elsewhere") // A file with any login or store disables the default store.
	put(t, filepath.Join(dir, ".docker", "config.json"), login("ghcr.io", "docker"), 0o600)
	asks("docker")
	put(t, filepath.Join(dir, "other", "config.json"), login("ghcr.io", "docker, other"), 0o600)
	t.Setenv("DOCKER_CONFIG", filepath.Join(dir, "other"))
	asks("docker, other")
	t.Setenv("DOCKER_AUTH_CONFIG", login("ghcr.io", "environment"))
	asks("environment")
	t.Setenv("DOCKER_AUTH_CONFIG", login("quay.io", "environment"))
	asks("docker, other")

	put(t, filepath.Join(dir, "other", "config.json"), `hunter2`, 0o600)
	_, err = file.Credential(t.Context())
	require.ErrorIs(t, err, dockerconfig.ErrMalformed, "a file that cannot be read is not a file without a login")
	require.NotContains(t, err.Error(), "hunter2")
}

func TestDefaultStoreThatFailsIsNoError(t *testing.T) {
	dir := home(t)
	put(t, filepath.Join(dir, "bin", "pass"), "#!/bin/sh\n", 0o700)
	put(t, filepath.Join(dir, "bin", "docker-credential-pass"), "#!/bin/sh\nexit 1\n", 0o700)
	put(t, filepath.Join(dir, "run", "containers", "auth.json"), login("ghcr.io", "podman"), 0o600)
	c, err := dockerconfig.File{Server: "ghcr.io"}.Credential(t.Context())
	require.NoError(t, err)
	require.Equal(t, "podman", c.Username)
}

// If ctx ends while the helper runs, it is unknown whether there is a login.
func TestDefaultStoreThatIsCanceled(t *testing.T) {
	dir := home(t)
	started := filepath.Join(dir, "started")
	put(t, filepath.Join(dir, "bin", "pass"), "#!/bin/sh\n", 0o700)
	put(t, filepath.Join(dir, "bin", "docker-credential-pass"), "#!/bin/sh\necho > "+started+"\nexec /bin/sleep 600\n", 0o700)
	left := errors.New("the user left")
	ctx, cancel := context.WithCancelCause(t.Context())
	result := make(chan error, 1)
	go func() {
		_, err := dockerconfig.File{Server: "ghcr.io"}.Credential(ctx)
		result <- err
	}()
	require.Eventually(t, func() bool { _, err := os.Stat(started); return err == nil }, time.Minute, time.Millisecond)
	cancel(left)
	require.ErrorIs(t, <-result, left)
}

// An empty name of a helper selects the file, as in docker.
func TestEmptyHelperSelectsTheFile(t *testing.T) {
	dir := home(t)
	put(t, filepath.Join(dir, "bin", "docker-credential-all"), `#!/bin/sh
echo '{"Username":"store","Secret":"p"}'`, 0o700)
	const text = `{"auths":{"ghcr.io":{"auth":"dTpw"}},"credHelpers":{"ghcr.io":"","quay.io":""},"credsStore":"all"}`
	put(t, filepath.Join(dir, ".docker", "config.json"), text, 0o600)
	own, err := config.Load(filepath.Join(dir, ".docker"))
	require.NoError(t, err)
	for server, want := range map[string]string{"ghcr.io": "u", "quay.io": "", "example.com": "store"} {
		theirs, err := own.GetAuthConfig(server)
		require.NoError(t, err)
		require.Equal(t, want, theirs.Username)
		c, err := dockerconfig.File{Server: server}.Credential(t.Context())
		require.Equal(t, want, c.Username)
		require.Equal(t, want == "", errors.Is(err, credentials.ErrNoLogin), err)
	}
}

func TestFileThatIsTooLarge(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.json")
	put(t, path, strings.Repeat(" ", 4<<20)+"{}", 0o600)
	_, err := dockerconfig.File{Path: path, Server: "ghcr.io"}.Credential(t.Context())
	require.ErrorIs(t, err, dockerconfig.ErrMalformed)
}

// Docker requests https://index.docker.io/v1/ from a store for every name of Docker Hub.
func TestStoreIsAskedForTheKeyOfDockerHub(t *testing.T) {
	dir := home(t)
	put(t, filepath.Join(dir, "bin", "docker-credential-desktop"), `#!/bin/sh
read -r s
[ "$s" = https://index.docker.io/v1/ ] && echo '{"Username":"u","Secret":"p"}' && exit
echo 'credentials not found in native keychain'; exit 1
`, 0o700)
	for _, text := range []string{
		`{"auths":{},"credsStore":"desktop"}`, `{"auths":{"docker.io":{}},"credsStore":"desktop"}`, `{"credHelpers":{"docker.io":"desktop"}}`,
	} {
		config, err := dockerconfig.Parse([]byte(text))
		require.NoError(t, err)
		for _, server := range []string{"https://index.docker.io/v1/", "docker.io", "index.docker.io", "registry-1.docker.io"} {
			c, err := config.Source(server).Credential(t.Context())
			require.NoError(t, err, server)
			require.Equal(t, "u", c.Username)
		}
	}
}

// Version 0.6 of docker-credential-pass returns this for an unknown server. The login is in the file.
func TestStoreThatAnswersWithNothing(t *testing.T) {
	dir := home(t)
	put(t, filepath.Join(dir, "bin", "docker-credential-pass"), "#!/bin/sh\n"+`echo '{"ServerURL":"","Username":"","Secret":""}'`, 0o700)
	_, err := dockerconfig.Helper{Name: "pass", Server: "unknown.example.com"}.Credential(t.Context())
	require.ErrorIs(t, err, credentials.ErrNoLogin)
	config, err := dockerconfig.Parse([]byte(`{"credsStore":"pass","auths":{"file.example.com":{"auth":"YW5uOnJpZ2h0"}}}`))
	require.NoError(t, err)
	c, err := config.Source("file.example.com").Credential(t.Context())
	require.NoError(t, err)
	require.Equal(t, "ann", c.Username)
}

func TestHelperThatFailsHasAHint(t *testing.T) {
	dir := home(t)
	put(t, filepath.Join(dir, "bin", "docker-credential-broken"), "#!/bin/sh\necho hunter2 >&2; exit 3\n", 0o700)
	_, err := dockerconfig.Helper{Name: "broken", Server: "ghcr.io"}.Credential(t.Context())
	require.ErrorIs(t, err, registry.ErrUnavailable)
	require.ErrorContains(t, err, "exit status 3")
	require.Equal(t, "run it by hand to see why: echo ghcr.io | docker-credential-broken get", registry.HintOf(err))
	_, err = dockerconfig.Helper{Name: "missing", Server: "ghcr.io"}.Credential(t.Context())
	require.ErrorIs(t, err, registry.ErrNoIdentity)
	require.Contains(t, registry.HintOf(err), "install docker-credential-missing")
}

func TestOtherForms(t *testing.T) {
	for name, text := range map[string]string{
		"byte order mark": "\ufeff" + login("ghcr.io", "u"),
		".dockercfg":      `{"ghcr.io":{"auth":"dTpw","email":"u@example.com"}}`,
	} {
		config, err := dockerconfig.Parse([]byte(text))
		require.NoError(t, err, name)
		c, err := config.Source("ghcr.io").Credential(t.Context())
		require.NoError(t, err, name)
		require.Equal(t, "u", c.Username, name)
	}
	for _, text := range []string{`{}`, `{"HttpHeaders":{"a":"b"}}`, `{"ghcr.io":{}}`} {
		config, err := dockerconfig.Parse([]byte(text))
		require.NoError(t, err)
		_, err = config.Source("ghcr.io").Credential(t.Context())
		require.ErrorIs(t, err, credentials.ErrNoLogin, text)
	}
}

// For podman's logins to a part of a registry, the nearest is used, as in containers-auth.json(5).
func TestPathsOfPodman(t *testing.T) {
	config, err := dockerconfig.Parse([]byte(`{"auths":{
		"example.com":              {"username":"host","password":"p"},
		"example.com/team":         {"username":"team","password":"p"},
		"example.com/team/app":     {"username":"app","password":"p"},
		"only.example.com/team":    {"username":"only","password":"p"},
		"https://old.example.com/api/docker": {"username":"old","password":"p"}}}`))
	require.NoError(t, err)
	for server, want := range map[string]string{
		"example.com": "host", "example.com/other": "host", "example.com/team": "team", "example.com/team/x/y": "team",
		"example.com/team/app": "app", "example.com/teams": "host", "only.example.com": "", "only.example.com/team/app": "only",
		"old.example.com": "old",
	} {
		c, err := config.Source(server).Credential(t.Context())
		require.Equal(t, want, c.Username, server)
		require.Equal(t, want == "", err != nil, server)
	}
}

// FuzzLikeDocker compares the package with docker's own: if docker finds a login in a file, this package finds the same
// one.
func FuzzLikeDocker(f *testing.F) {
	for _, key := range []string{"ghcr.io", "https://index.docker.io/v1/", "http://r.example.com:5000/v2/", "docker.io", "r.example.com/v1/"} {
		for _, server := range []string{"ghcr.io", "docker.io", "index.docker.io", "r.example.com:5000", "r.example.com"} {
			f.Add(key, server)
		}
	}
	f.Fuzz(func(t *testing.T, key, server string) {
		text := login(key, "u")
		theirs, err := config.LoadFromReader(strings.NewReader(text))
		if err != nil || server == "" || strings.ContainsAny(key+server, `\`) {
			return
		}
		found, err := theirs.GetAuthConfig(server)
		if err != nil || found.Username == "" {
			return
		}
		if scheme := strings.Contains(key, "://"); !scheme && strings.Contains(strings.TrimRight(key, "/"), "/") && !strings.HasSuffix(strings.TrimRight(key, "/"), "/v1") && !strings.HasSuffix(strings.TrimRight(key, "/"), "/v2") {
			return // podman's key for a part of a registry, which docker takes for all of it.
		}
		ours, err := dockerconfig.Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		c, err := ours.Source(server).Credential(t.Context())
		if err != nil || c.Username != found.Username || c.Password.Reveal() != found.Password {
			t.Errorf("key %q, server %q: docker has %q; here %v, %v", key, server, found.Username, c.Username, err)
		}
	})
}

package dockerconfig_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/credentials/credentialstest"
	"github.com/regcred/regcred/credentials/dockerconfig"
)

func TestConfig(t *testing.T) {
	t.Setenv("PATH", helpers(t)+":"+os.Getenv("PATH"))
	config, err := dockerconfig.Parse([]byte(`{
		"auths": {
			"ghcr.io":                     {"auth": "dTpw"},
			"https://index.docker.io/v1/": {"auth": "aHViOnA6cQ=="},
			"registry.example.com:5000":   {"username": "u", "password": "p"},
			"zero.example.com":            {"auth": "dTpwAAA="},
			"https://old.example.com/v2/": {"auth": "b2xkOnA="},
			"bad.example.com":             {"auth": "hunter2!"},
			"nocolon.example.com":         {"auth": "dQ=="},
			"token.example.com":           {"auth": "dTpw", "identitytoken": "hunter2"},
			"half.example.com":            {"auth": "dTo="},
			"noted.example.com":           {},
			"example.com/team":            {"auth": "dTpw"}
		},
		"credHelpers": {"helped.example.com": "works", "gone.example.com": "is-not-there"},
		"credsStore": "empty"
	}`))
	require.NoError(t, err)
	tests := map[string]struct {
		username, password string
		want               error
	}{
		"ghcr.io":                     {"u", "p", nil},
		"https://ghcr.io":             {"u", "p", nil},
		"docker.io":                   {"hub", "p:q", nil},
		"https://index.docker.io/v1/": {"hub", "p:q", nil},
		"registry.example.com:5000":   {"u", "p", nil},
		"registry.example.com":        {"", "", credentials.ErrNoLogin},
		"zero.example.com":            {"u", "p", nil},
		"old.example.com":             {"old", "p", nil},
		"bad.example.com":             {"", "", dockerconfig.ErrMalformed},
		"nocolon.example.com":         {"", "", dockerconfig.ErrMalformed},
		"token.example.com":           {"", "", credentials.ErrIdentityToken},
		"half.example.com":            {"", "", credentials.ErrEmpty},
		"noted.example.com":           {"", "", credentials.ErrNoLogin},
		"example.com":                 {"", "", credentials.ErrNoLogin},
		"helped.example.com":          {"helper", "for helped.example.com", nil},
	}
	for server, test := range tests {
		t.Run(server, func(t *testing.T) {
			c, err := config.Source(server).Credential(t.Context())
			require.ErrorIs(t, err, test.want)
			require.Equal(t, test.username, c.Username)
			require.Equal(t, test.password, c.Password.Reveal())
			if err != nil {
				require.NotContains(t, err.Error(), "hunter2")
			}
		})
	}
	_, err = config.Source("gone.example.com").Credential(t.Context())
	require.ErrorContains(t, err, "docker-credential-is-not-there", "a helper that is missing is not the same as no login")
	require.NotErrorIs(t, err, credentials.ErrNoLogin)
}

// helpers returns a folder of programs.
func helpers(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, script := range map[string]string{
		"works":  `printf '{"ServerURL":"x","Username":"helper","Secret":"for %s"}' "$(cat)"`,
		"empty":  `echo "credentials not found in native keychain"; exit 1`,
		"token":  `echo '{"Username":"<token>","Secret":"hunter2"}'`,
		"fails":  `echo "hunter2 is wrong"; exit 3`,
		"babble": `echo "hunter2"`,
		"floods": `yes hunter2`,
		"hangs":  `sleep 60`,
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "docker-credential-"+name), []byte("#!/bin/sh\n"+script+"\n"), 0o700))
	}
	return dir
}

func TestHelper(t *testing.T) {
	t.Setenv("PATH", helpers(t)+":"+os.Getenv("PATH"))
	for name, want := range map[string]error{
		"empty": credentials.ErrNoLogin, "token": credentials.ErrIdentityToken, "babble": dockerconfig.ErrMalformed,
		"fails": nil, "floods": nil, "../works": nil, "": nil,
	} {
		t.Run(name, func(t *testing.T) {
			c, err := dockerconfig.Helper{Name: name, Server: "registry.example.com"}.Credential(t.Context())
			require.Error(t, err)
			if want != nil {
				require.ErrorIs(t, err, want)
			}
			require.Zero(t, c.Username)
			require.NotContains(t, err.Error(), "hunter2")
		})
	}
	works := dockerconfig.Helper{Name: "works", Server: "registry.example.com", GoodFor: time.Hour}
	c, err := works.Credential(t.Context())
	require.NoError(t, err)
	require.WithinDuration(t, time.Now().Add(time.Hour), c.ExpiresAt, time.Minute)
	credentialstest.TestSource(t, works)

	cause := errors.New("no longer needed")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, cause)
	defer cancel()
	_, err = dockerconfig.Helper{Name: "hangs", Server: "x"}.Credential(ctx)
	require.ErrorIs(t, err, cause)
}

func TestFileIsReadEachTime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.json")
	file := dockerconfig.File{Path: path, Server: "ghcr.io", GoodFor: time.Minute}
	_, err := file.Credential(t.Context())
	require.ErrorIs(t, err, os.ErrNotExist)
	for _, auth := range []string{"dTpw", "dTpx"} {
		require.NoError(t, os.WriteFile(path, []byte(`{"auths":{"ghcr.io":{"auth":"`+auth+`"}}}`), 0o600))
		c, err := file.Credential(t.Context())
		require.NoError(t, err)
		require.Equal(t, map[string]string{"dTpw": "p", "dTpx": "q"}[auth], c.Password.Reveal())
	}
	require.NoError(t, os.WriteFile(path, []byte(`hunter2`), 0o600))
	_, err = file.Credential(t.Context())
	require.ErrorIs(t, err, dockerconfig.ErrMalformed)
	require.NotContains(t, err.Error(), "hunter2")
	require.NoError(t, os.WriteFile(path, []byte(`{}`), 0o600))
	c, err := file.Credential(t.Context())
	require.ErrorIs(t, err, credentials.ErrNoLogin)
	require.Equal(t, credentials.Credential{}, c, "no date beside an error")

	left := errors.New("the caller left")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(left)
	_, err = dockerconfig.File{Path: path + ".missing"}.Credential(ctx)
	require.ErrorIs(t, err, left)
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"auths":{"ghcr.io":{"auth":"dTpw"}}}`), "ghcr.io")
	f.Add([]byte(`{"auths":{"https://index.docker.io/v1/":{"username":"u","password":"p"}}}`), "docker.io")
	f.Add([]byte(`{"auths":{"":{"auth":"Og=="}}}`), "")
	f.Fuzz(func(t *testing.T, data []byte, server string) {
		config, err := dockerconfig.Parse(append([]byte(nil), data...))
		if err != nil {
			require.ErrorIs(t, err, dockerconfig.ErrMalformed)
			return
		}
		t.Setenv("PATH", "") // It must not run a helper.
		if c, err := config.Source(server).Credential(t.Context()); err == nil {
			require.NoError(t, c.Validate(time.Now()))
			require.False(t, c.Anonymous)
		}
	})
}

func ExampleParse() {
	config, err := dockerconfig.Parse([]byte(`{"auths":{"https://index.docker.io/v1/":{"auth":"YWxpY2U6cGFzcw=="}}}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	c, err := config.Source("docker.io").Credential(context.Background())
	fmt.Println(c.Username, c.Password, err)
	_, err = config.Source("ghcr.io").Credential(context.Background())
	fmt.Println(err)
	// Output:
	// alice [redacted] <nil>
	// docker configuration, ghcr.io: no login for this registry
}

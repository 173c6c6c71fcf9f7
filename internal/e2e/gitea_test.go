package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/internal/testtool"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/validate"
)

// A gitea is a real Gitea with its own database.
type gitea struct {
	host    string // Host and port.
	program string
	dir     string
}

const giteaConfig = `
APP_NAME = test
RUN_MODE = prod
RUN_USER = %[4]s
WORK_PATH = %[1]s
I_AM_BEING_UNSAFE_RUNNING_AS_ROOT = true
[server]
HTTP_ADDR = 127.0.0.1
HTTP_PORT = %[2]s
ROOT_URL = http://127.0.0.1:%[2]s/
STATIC_ROOT_PATH = %[3]s
OFFLINE_MODE = true
DISABLE_SSH = true
[database]
DB_TYPE = sqlite3
PATH = %[1]s/gitea.db
SQLITE_TIMEOUT = 20000
SQLITE_JOURNAL_MODE = WAL
[security]
INSTALL_LOCK = true
SECRET_KEY = for-a-test
INTERNAL_TOKEN = eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJuYmYiOjE3MDAwMDAwMDB9.Rxsd0Ya0BZ2H9Dxwz2ATGQR4JYbCzEVX0uTLXpBd1TI
PASSWORD_HASH_ALGO = pbkdf2$1$8
MIN_PASSWORD_LENGTH = 5
[oauth2]
JWT_SECRET = AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
[indexer]
ISSUE_INDEXER_TYPE = db
[log]
LEVEL = Error
[cron]
ENABLED = false
[session]
PROVIDER = memory
`

// startGitea starts the program that scripts/gitea builds, with the users root, an admin, ann and bob. Their password
// is "right". More is added to its configuration.
func startGitea(t *testing.T, more ...string) *gitea {
	t.Helper()
	program := testtool.Built(t, "gitea-*/bin/gitea", "scripts/gitea")
	testtool.Need(t, "git")
	who, err := user.Current()
	require.NoError(t, err)
	port := testtool.FreePort(t)
	g := &gitea{host: "127.0.0.1:" + port, program: program, dir: t.TempDir()}
	static := filepath.Join(filepath.Dir(filepath.Dir(program)), "static")
	config := fmt.Sprintf(giteaConfig, g.dir, port, static, who.Username) + strings.Join(more, "")
	require.NoError(t, os.WriteFile(filepath.Join(g.dir, "app.ini"), []byte(config), 0o600))
	g.run(t, "migrate")
	g.addUser(t, "root", "--admin")
	g.addUser(t, "ann")
	g.addUser(t, "bob")

	c := g.command("web")
	log, err := os.Create(filepath.Join(g.dir, "output.log"))
	require.NoError(t, err)
	defer log.Close()
	c.Stdout, c.Stderr = log, log
	require.NoError(t, c.Start())
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("gitea: %s", text[max(0, len(text)-4000):])
		}
	})
	require.Eventually(t, func() bool {
		res, err := http.Get("http://" + g.host + "/api/v1/version")
		if err == nil {
			_ = res.Body.Close()
		}
		return err == nil && res.StatusCode < 500 // A login may be required.
	}, time.Minute, 50*time.Millisecond, "Gitea serves")
	return g
}

func (g *gitea) command(args ...string) *exec.Cmd {
	c := exec.Command(g.program, append([]string{"--config", filepath.Join(g.dir, "app.ini")}, args...)...)
	c.Dir = g.dir
	c.Env = append(os.Environ(), "GITEA_WORK_DIR="+g.dir, "HOME="+g.dir)
	return c
}

func (g *gitea) run(t *testing.T, args ...string) {
	t.Helper()
	output, err := g.command(args...).CombinedOutput()
	require.NoError(t, err, string(output))
}

func (g *gitea) addUser(t *testing.T, username string, more ...string) {
	t.Helper()
	g.run(t, append([]string{"admin", "user", "create", "--username", username, "--password", "right", "--email", username + "@example.com",
		"--must-change-password=false"}, more...)...)
}

// api calls the API of Gitea as a user, and returns the response.
func (g *gitea) api(t *testing.T, username, method, path string, body any) map[string]any {
	t.Helper()
	text, err := json.Marshal(body)
	require.NoError(t, err)
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+g.host+"/api/v1"+path, bytes.NewReader(text))
	require.NoError(t, err)
	req.SetBasicAuth(username, "right")
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.Less(t, res.StatusCode, 300, "%s %s: %s", method, path, answer)
	var values map[string]any
	_ = json.Unmarshal(answer, &values) // Some responses are empty.
	return values
}

// addOwner creates an organization that belongs to a user. Only its members see a private organization.
func (g *gitea) addOwner(t *testing.T, owner, username, visibility string) {
	t.Helper()
	g.api(t, username, http.MethodPost, "/orgs", map[string]any{"username": owner, "visibility": visibility})
}

// addToken creates an access token.
func (g *gitea) addToken(t *testing.T, username, name string, scopes ...string) string {
	t.Helper()
	values := g.api(t, username, http.MethodPost, "/users/"+username+"/tokens", map[string]any{"name": name, "scopes": scopes})
	return values["sha1"].(string)
}

// pushImage pushes an image to a registry without TLS, as a user whose password is "right".
func pushImage(t *testing.T, host, to, username string, image v1.Image) {
	t.Helper()
	pushWith(t, host, to, authn.Basic{Username: username, Password: "right"}, image)
}

func pushWith(t *testing.T, host, to string, login authn.Basic, image v1.Image) {
	t.Helper()
	ref, err := name.ParseReference(host+"/"+to, name.Insecure)
	require.NoError(t, err)
	require.NoError(t, remote.Write(ref, image, remote.WithAuth(&login)), to)
}

// TestGitea checks images of a real Gitea. The expected verdicts are in docs/verdicts.md.
func TestGitea(t *testing.T) {
	g := startGitea(t)
	g.addOwner(t, "team", "ann", "private")
	g.addOwner(t, "public", "ann", "public")
	g.addOwner(t, "other", "bob", "private")
	g.addOwner(t, "former", "ann", "private")
	image, _ := newImage(t)
	fill(t, g.host, image)
	pushImage(t, g.host, "former/app:1", "ann", image)
	g.api(t, "ann", http.MethodPost, "/orgs/former/rename", map[string]any{"new_name": "renamed"})
	read, elsewhere := g.addToken(t, "ann", "read", "read:package"), g.addToken(t, "ann", "elsewhere", "read:issue")

	way := registry.TransportConfig{PlainHTTP: true, Proxy: registry.Direct}
	as := func(username, password string) validate.Candidate {
		return validate.Candidate{Name: username, Transport: way, Source: credentials.Static(credentials.Credential{
			Username: username, Password: credentials.NewSecret(password),
		})}
	}
	ann, anonymous := as("ann", "right"), validate.Candidate{Transport: way}
	c := &validate.Checker{Deep: true}
	defer c.CloseIdleConnections()
	for what, tc := range map[string]struct {
		image     string
		candidate validate.Candidate
		want      registry.Code
	}{
		"with the password":               {"team/app:1", ann, ""},
		"with a token":                    {"team/app:1", as("ann", read), ""},
		"with a token and any user":       {"team/app:1", as("whoever", read), ""},
		"with a token for something else": {"team/app:1", as("ann", elsewhere), registry.ErrUnauthorized},
		"with a wrong password":           {"team/app:1", as("ann", "wrong"), registry.ErrUnauthorized},
		"without a login":                 {"team/app:1", anonymous, registry.ErrHidden},
		"public, without a login":         {"public/app:1", anonymous, ""},
		"of another owner":                {"other/app:1", ann, registry.ErrHidden},
		"no repository":                   {"team/gone:1", ann, registry.ErrRepositoryNotFound},
		"no repository, no right":         {"other/gone:1", ann, registry.ErrHidden},
		"no owner":                        {"missing/app:1", ann, registry.ErrNotFound},
		"no tag":                          {"team/app:gone", ann, registry.ErrImageNotFound},
		"no digest":                       {"team/app@" + missing, ann, registry.ErrImageNotFound},
		"owner renamed":                   {"former/app:1", ann, ""},
	} {
		t.Run(what, func(t *testing.T) {
			image, err := registry.ParseImage(g.host + "/" + tc.image)
			require.NoError(t, err)
			result, err := c.Image(t.Context(), image, tc.candidate)
			if tc.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, tc.want)
			require.NotContains(t, fmt.Sprintf("%+v", result), read)
		})
	}
	hint := func(err error) string {
		e, ok := errors.AsType[*registry.Error](err)
		require.True(t, ok, err)
		return e.Hint
	}
	image1, err := registry.ParseImage(g.host + "/team/app:1")
	require.NoError(t, err)
	_, err = c.Image(t.Context(), image1, as("ann", elsewhere))
	require.Contains(t, hint(err), "read:package")

	// Every client gets a list of the repositories that it may see.
	endpoint, err := registry.ParseEndpoint("http://" + g.host)
	require.NoError(t, err)
	for _, tc := range []struct {
		candidate validate.Candidate
		want      []string
	}{{ann, []string{"public/app", "renamed/app", "team/app"}}, {anonymous, []string{"public/app"}}} {
		var names []string
		for name, err := range c.Repositories(t.Context(), endpoint, tc.candidate) {
			require.NoError(t, err)
			names = append(names, name)
		}
		slices.Sort(names)
		require.Equal(t, tc.want, names)
	}

	for _, repository := range []string{"team/app", "renamed/app", "former/app"} {
		var tags []string
		for tag, err := range c.Tags(t.Context(), registry.Image{Host: g.host, Repository: repository}, ann) {
			require.NoError(t, err, repository)
			tags = append(tags, tag)
		}
		require.Contains(t, tags, "1", repository)
	}
}

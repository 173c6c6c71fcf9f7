package e2e

import (
	"bufio"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/internal/testtool"
	registries "github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
	"github.com/regcred/regcred/validate"
)

// passwords writes an htpasswd file for ann and bob, whose password is "right".
func passwords(t *testing.T) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte("right"), bcrypt.MinCost)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "htpasswd")
	require.NoError(t, os.WriteFile(path, []byte("ann:"+string(hash)+"\nbob:"+string(hash)+"\n"), 0o600))
	return path
}

// serve3 starts distribution 3.1 in this process. Proxy is the registry that it mirrors, as in its configuration.
func serve3(t *testing.T, auth configuration.Auth, proxy configuration.Proxy) (host string) {
	t.Helper()
	config := &configuration.Configuration{
		Storage: configuration.Storage{"inmemory": {}, "maintenance": {"uploadpurging": map[any]any{"enabled": false}}},
		Proxy:   proxy,
		Auth:    auth,
	}
	config.Catalog.MaxEntries = 1000
	config.Log.Level = "panic"
	config.Log.AccessLog.Disabled = true
	logrus.SetLevel(logrus.PanicLevel)
	server := httptest.NewServer(handlers.NewApp(t.Context(), config))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

const config2 = `version: 0.1
log: {level: info, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: %[1]s}}
http: {addr: "127.0.0.1:0"}
`

// serve2 starts Debian's docker-registry, which is distribution 2.8.
func serve2(t *testing.T, more string) (host string) {
	t.Helper()
	program := testtool.Need(t, "docker-registry")
	dir := t.TempDir()
	path := filepath.Join(dir, "config.yml")
	require.NoError(t, os.WriteFile(path, []byte(fmt.Sprintf(config2, dir)+more), 0o600))
	c := exec.Command(program, "serve", path)
	logs, err := c.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start())
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	})
	address := make(chan string, 1)
	go func() {
		listening := regexp.MustCompile(`listening on (127\.0\.0\.1:\d+)`)
		for lines := bufio.NewScanner(logs); lines.Scan(); {
			if m := listening.FindStringSubmatch(lines.Text()); m != nil {
				address <- m[1]
			}
		}
	}()
	select {
	case host := <-address:
		return host
	case <-time.After(2 * time.Minute):
		require.FailNow(t, "docker-registry does not say where it listens")
		return ""
	}
}

// TestDistributionDialect compares distribution 3.1 and 2.8 with their dialect. They give every login all rights.
func TestDistributionDialect(t *testing.T) {
	image, digest := newImage(t)
	differences := []known{
		{`^/v2 `, "it redirects to /v2/"},
		{`/Team/App/`, "there is no handler for a name that is none"},
		{`sha256:abc`, "a short digest is invalid"},
	}
	fake := func(t *testing.T) *side {
		everything := []string{"*", "*/*"}
		return fakeOf(t, &registrytest.Registry{Dialect: registrytest.DistributionBasic(), Accounts: []registrytest.Account{
			{Username: "ann", Password: credentials.NewSecret("right"), Pull: everything, Push: everything},
			{Username: "bob", Password: credentials.NewSecret("right"), Pull: everything, Push: everything},
		}}, image)
	}
	t.Run("3.1", func(t *testing.T) {
		real := &side{host: serve3(t, configuration.Auth{"htpasswd": {"realm": "basic-realm", "path": passwords(t)}}, configuration.Proxy{})}
		fill(t, real.host, image)
		compare(t, real, fake(t), questions(digest, false), differences)
	})
	t.Run("2.8", func(t *testing.T) {
		real := &side{host: serve2(t, fmt.Sprintf("auth: {htpasswd: {realm: basic-realm, path: %s}}\n", passwords(t)))}
		fill(t, real.host, image)
		compare(t, real, fake(t), questions(digest, false), append(differences, known{`tags/list`, "2.8 lists all tags at once, in any order"}))
	})
}

// TestMirror checks images through a pull-through cache, with a valid or a rejected login of its own upstream. Upstream
// has a token server, because 2.8 logs in to no other registry.
func TestMirror(t *testing.T) {
	image, digest := newImage(t)
	everything := []string{"*", "*/*"}
	upstream := fakeOf(t, &registrytest.Registry{Dialect: registrytest.DistributionToken(), Accounts: []registrytest.Account{
		{Username: "ann", Password: credentials.NewSecret("right"), Pull: everything, Push: everything},
		{Username: "bob", Password: credentials.NewSecret("right"), Pull: everything, Push: everything},
	}}, image).host
	for name, mirror := range map[string]func(t *testing.T, password string) string{
		"3.1": func(t *testing.T, password string) string {
			return serve3(t, nil, configuration.Proxy{RemoteURL: "http://" + upstream, Username: "ann", Password: password})
		},
		"2.8": func(t *testing.T, password string) string {
			return serve2(t, fmt.Sprintf("proxy: {remoteurl: http://%s, username: ann, password: %s}\n", upstream, password))
		},
	} {
		t.Run(name, func(t *testing.T) {
			verdicts(t, mirror(t, "right"), map[string]registries.Code{
				"team/app:1":          "",
				"team/app:gone":       registries.ErrImageNotFound,
				"team/gone:1":         registries.ErrRepositoryNotFound,
				"team/app@" + missing: registries.ErrImageNotFound,
			})
			// The mirror does not report that its own login is rejected; docs/custom.md describes this.
			verdicts(t, mirror(t, "wrong"), map[string]registries.Code{"team/app:1": registries.ErrRepositoryNotFound})
		})
	}
	// By digest, 3.1 answers 401 and asks for no login, if its upstream asks for a Basic login.
	basic := fakeOf(t, &registrytest.Registry{Dialect: registrytest.DistributionBasic(), Accounts: []registrytest.Account{
		{Username: "ann", Password: credentials.NewSecret("right"), Pull: everything, Push: everything},
		{Username: "bob", Password: credentials.NewSecret("right"), Pull: everything, Push: everything},
	}}, image).host
	mirror := serve3(t, nil, configuration.Proxy{RemoteURL: "http://" + basic, Username: "ann", Password: "wrong"})
	ref, err := registries.ParseImage(mirror + "/team/app@" + digest)
	require.NoError(t, err)
	c := &validate.Checker{}
	defer c.CloseIdleConnections()
	_, err = c.Image(t.Context(), ref, plain("", ""))
	require.ErrorIs(t, err, registries.ErrUnauthorized)
	require.Contains(t, registries.HintOf(err), "pull-through cache")
}

// TestGoContainerregistry checks images of the registry that many Go programs use in their tests. The Content-Type of
// its list of tags is plain text.
func TestGoContainerregistry(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")
	image, _ := newImage(t)
	pushImage(t, host, "team/app:1", "ann", image)
	verdicts(t, host, map[string]registries.Code{
		"team/app:1":          "",
		"team/app:gone":       registries.ErrImageNotFound,
		"team/app@" + missing: registries.ErrImageNotFound,
		"team/gone:1":         registries.ErrRepositoryNotFound,
	})
}

// verdicts checks images of a registry that requires no login, and compares the codes.
func verdicts(t *testing.T, host string, want map[string]registries.Code) {
	t.Helper()
	c := &validate.Checker{Deep: true}
	defer c.CloseIdleConnections()
	for name, code := range want {
		image, err := registries.ParseImage(host + "/" + name)
		require.NoError(t, err)
		_, err = c.Image(t.Context(), image, validate.Candidate{Transport: registries.TransportConfig{PlainHTTP: true, Proxy: registries.Direct}})
		if code == "" {
			require.NoError(t, err, name)
		} else {
			require.ErrorIs(t, err, code, name)
		}
	}
}

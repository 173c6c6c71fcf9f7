package validate_test

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/internal/testtool"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
	"github.com/regcred/regcred/validate"
)

// A server that nobody here wrote: docker-registry of Debian (CNCF distribution 2.8), with htpasswd.
func TestDockerRegistry(t *testing.T) {
	for _, program := range []string{"docker-registry", "htpasswd", "skopeo"} {
		testtool.Need(t, program)
	}
	host := dockerRegistry(t)
	push(t, host, "team/app:1")

	way := registry.Transport{PlainHTTP: true, Proxy: registry.Direct}
	ann := validate.Candidate{Name: "ann", Source: source("ann", "right"), Transport: way}
	wrong := validate.Candidate{Name: "ann", Source: source("ann", "wrong"), Transport: way}
	c := &validate.Checker{Deep: true}
	t.Cleanup(c.CloseIdleConnections)

	_, err := c.Login(t.Context(), endpoint(t, host), ann)
	require.NoError(t, err)
	_, err = c.Login(t.Context(), endpoint(t, host), wrong)
	require.ErrorIs(t, err, registry.ErrUnauthorized)
	for name, tc := range map[string]struct {
		candidate validate.Candidate
		want      registry.Code
	}{
		"team/app:1":  {ann, ""},
		"team/app:2":  {ann, registry.ErrImageNotFound},
		"team/gone:1": {ann, registry.ErrRepositoryNotFound},
		"team/app:01": {wrong, registry.ErrUnauthorized},
		"team/app:02": {validate.Candidate{Transport: way}, registry.ErrUnauthorized},
	} {
		got, err := c.Image(t.Context(), image(t, host+"/"+name), tc.candidate)
		require.Equal(t, tc.want, registry.CodeOf(err), "%s: %v", name, err)
		if err == nil {
			_, err = c.Image(t.Context(), image(t, host+"/team/app@"+got.Digest), ann)
			require.NoError(t, err)
		}
	}
	tags, err := collect(c.Tags(t.Context(), image(t, host+"/team/app"), ann))
	require.NoError(t, err)
	require.Equal(t, []string{"1"}, tags)
	names, err := collect(c.Repositories(t.Context(), endpoint(t, host), ann))
	require.NoError(t, err)
	require.Equal(t, []string{"team/app"}, names)
}

// dockerRegistry runs the program on a port of loopback until the test ends.
func dockerRegistry(t *testing.T) (host string) {
	dir := t.TempDir()
	passwords, err := exec.Command("htpasswd", "-Bbn", "ann", "right").Output()
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "htpasswd"), passwords, 0o600))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	host = l.Addr().String()
	require.NoError(t, l.Close())
	config := fmt.Sprintf("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %s}\nauth: {htpasswd: {realm: test, path: %s}}\n",
		filepath.Join(dir, "data"), host, filepath.Join(dir, "htpasswd"))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.yml"), []byte(config), 0o600))
	var out bytes.Buffer
	cmd := exec.Command("docker-registry", "serve", filepath.Join(dir, "config.yml"))
	cmd.Stdout, cmd.Stderr = &out, &out
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		res, err := http.Get("http://" + host + "/v2/")
		if err == nil {
			_ = res.Body.Close()
			return host
		}
		if time.Now().After(end) {
			t.Fatalf("docker-registry does not start: %v: %s", err, out.Bytes())
		}
	}
}

// push copies an image into the registry.
func push(t *testing.T, host, name string) {
	r := &registrytest.Registry{Dialect: registrytest.MCR()}
	add(t, r, registrytest.Image{Format: registrytest.DockerSchema2}, name)
	s, err := registrytest.StartPlainHTTP(r)
	require.NoError(t, err)
	defer s.Close()
	out, err := exec.Command("skopeo", "copy", "--insecure-policy", "--src-tls-verify=false", "--dest-tls-verify=false", "--dest-creds=ann:right",
		"docker://"+s.Host+"/"+name, "docker://"+host+"/"+name).CombinedOutput()
	require.NoError(t, err, "%s", out)
}

package regcred_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/internal/testcert"
	"github.com/regcred/regcred/internal/testtool"
)

// The login at the real registry. The password has characters that JSON, URLs and Basic authentication escape; the hash
// is the output of htpasswd -nbB for it.
const (
	realUser     = "robot"
	realPassword = "p@ss/w:rd+é"
	realHash     = "$2y$05$7SrpQ3/gxHDmYP3vM0cRUeJlIk9A/WSSO0bqoBtrfvjtdDft.mr/y"
)

const realConfig = `version: 0.1
log: {level: info, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: %[1]s/data}}
auth: {htpasswd: {realm: test, path: %[1]s/htpasswd}}
http:
  addr: 127.0.0.1:0
  tls: {certificate: %[1]s/tls.crt, key: %[1]s/tls.key}
`

// A realRegistry is Debian's docker-registry, an independent implementation, with TLS and a login.
type realRegistry struct {
	host, ca string
	certs    string // The folder with ca.crt, for skopeo.
}

func startRealRegistry(t *testing.T) realRegistry {
	t.Helper()
	path := testtool.Need(t, "docker-registry")
	dir, certs := t.TempDir(), t.TempDir()
	write := func(dir, name, content string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
	authority, err := testcert.New("authority")
	require.NoError(t, err)
	leaf, err := authority.Issue("127.0.0.1")
	require.NoError(t, err)
	cert, key, err := testcert.Encode(leaf)
	require.NoError(t, err)
	write(certs, "ca.crt", authority.PEM)
	write(dir, "tls.crt", string(cert))
	write(dir, "tls.key", string(key))
	write(dir, "htpasswd", realUser+":"+realHash+"\n")
	write(dir, "config.yml", fmt.Sprintf(realConfig, dir))

	cmd := exec.Command(path, "serve", filepath.Join(dir, "config.yml"))
	logs, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	address := make(chan string, 1)
	go func() {
		listening := regexp.MustCompile(`listening on (127\.0\.0\.1:\d+), tls`)
		for lines := bufio.NewScanner(logs); lines.Scan(); {
			if m := listening.FindStringSubmatch(lines.Text()); m != nil {
				address <- m[1]
			}
		}
	}()
	select {
	case host := <-address:
		return realRegistry{host, authority.PEM, certs}
	case <-time.After(2 * time.Minute):
		t.Fatal("docker-registry did not say where it listens")
		return realRegistry{}
	}
}

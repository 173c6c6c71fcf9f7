package regcred_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/internal/testtool"
)

// The login at the real registry. The password has what needs escaping in JSON, in URLs and in Basic authentication;
// the hash is what htpasswd -nbB writes for it.
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

// A realRegistry is Debian's docker-registry, which nobody here wrote, with TLS and a login.
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
	ca, cert, key := newCertificate(t)
	write(certs, "ca.crt", ca)
	write(dir, "tls.crt", cert)
	write(dir, "tls.key", key)
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
		return realRegistry{host, ca, certs}
	case <-time.After(30 * time.Second):
		t.Fatal("docker-registry did not say where it listens")
		return realRegistry{}
	}
}

// newCertificate returns a certificate for the loopback address, its key, and its authority, all in PEM.
func newCertificate(t *testing.T) (ca, cert, key string) {
	t.Helper()
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, authority, authority, caKey.Public(), caKey)
	require.NoError(t, err)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "registry"},
		NotBefore: authority.NotBefore, NotAfter: authority.NotAfter,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, authority, leafKey.Public(), caKey)
	require.NoError(t, err)
	keyDER, err := x509.MarshalECPrivateKey(leafKey)
	require.NoError(t, err)
	encode := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	return encode("CERTIFICATE", caDER), encode("CERTIFICATE", leafDER), encode("EC PRIVATE KEY", keyDER)
}

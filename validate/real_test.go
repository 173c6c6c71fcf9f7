package validate_test

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/internal/testtool"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
	"github.com/regcred/regcred/validate"
)

// An independent server: docker-registry of Debian (CNCF distribution 2.8), with passwords of its own and with a token
// server. Both have the same accounts: ann has all rights; only the token server restricts bob.
func TestDockerRegistry(t *testing.T) {
	issuer := newTokenServer(t)
	for name, tc := range map[string]struct {
		auth string
		bob  registry.Code
	}{
		"basic": {auth: fmt.Sprintf("htpasswd: {realm: test, path: %s}", passwords(t))},
		"token": {auth: issuer.config(t), bob: registry.ErrHidden},
	} {
		t.Run(name, func(t *testing.T) {
			host := dockerRegistry(t, tc.auth)
			push(t, host, "team/app:1")
			way := registry.TransportConfig{PlainHTTP: true, Proxy: registry.Direct}
			as := func(name, password string) validate.Candidate {
				return validate.Candidate{Name: name, Source: source(name, password), Transport: way}
			}
			ann, nobody := as("ann", "right"), validate.Candidate{Transport: way}
			c := &validate.Checker{Deep: true}
			t.Cleanup(c.CloseIdleConnections)

			_, err := c.Login(t.Context(), endpoint(t, host), ann)
			require.NoError(t, err)
			_, err = c.Login(t.Context(), endpoint(t, host), as("ann", "wrong"))
			require.ErrorIs(t, err, registry.ErrUnauthorized)
			for _, ask := range []struct {
				image     string
				candidate validate.Candidate
				want      registry.Code
			}{
				{"team/app:1", ann, ""},
				{"team/app:2", ann, registry.ErrImageNotFound},
				{"team/app@sha256:" + strings.Repeat("0", 64), ann, registry.ErrImageNotFound},
				{"team/gone:1", ann, registry.ErrRepositoryNotFound},
				{"team/app:1", as("bob", "right"), tc.bob},
				{"team/app:1", as("ann", "wrong"), registry.ErrUnauthorized},
				{"team/app:1", nobody, cmp.Or(tc.bob, registry.ErrUnauthorized)},
			} {
				got, err := c.Image(t.Context(), image(t, host+"/"+ask.image), ask.candidate)
				require.Equal(t, ask.want, registry.CodeOf(err), "%s: %v", ask.image, err)
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
			if name != "token" {
				return
			}

			// Of the runtimes, only Docker requests another token after one that expired early. A token that is always expired
			// when it is issued shows that the clocks of the two servers differ.
			issuer.stale.Store(1)
			_, err = (&validate.Checker{}).Image(t.Context(), image(t, host+"/team/app:1"), ann)
			require.ErrorIs(t, err, registry.ErrUnauthorized)
			_, err = (&validate.Checker{}).Image(t.Context(), image(t, host+"/team/app:1"), ann)
			require.NoError(t, err)
			issuer.stale.Store(1000)
			_, err = (&validate.Checker{}).Image(t.Context(), image(t, host+"/team/app:1"), ann)
			require.ErrorIs(t, err, registry.ErrUnauthorized)
			require.Contains(t, registry.HintOf(err), "clocks")
		})
	}
}

// A tokenServer issues tokens as the distribution project specifies:
// https://distribution.github.io/distribution/spec/auth/jwt/.
type tokenServer struct {
	url         string
	key         *rsa.PrivateKey
	certificate []byte
	stale       atomic.Int32 // The number of further tokens that are issued expired.
}

func newTokenServer(t *testing.T) *tokenServer {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "tokens"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	s := &tokenServer{key: key}
	s.certificate, err = x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

// config returns the settings with which a registry trusts the server.
func (s *tokenServer) config(t *testing.T) string {
	certificate, err := x509.ParseCertificate(s.certificate)
	require.NoError(t, err)
	bundle := filepath.Join(t.TempDir(), "tokens.pem")
	require.NoError(t, os.WriteFile(bundle, []byte(pemOf(certificate)), 0o600))
	return fmt.Sprintf("token: {realm: %s/token, service: test, issuer: tokens, rootcertbundle: %s}", s.url, bundle)
}

func (s *tokenServer) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if req.Method == http.MethodPost {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	username, password, sent := req.BasicAuth()
	if sent && password != "right" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	access := []any{}
	for _, scope := range req.URL.Query()["scope"] {
		part := strings.Split(scope, ":")
		if username == "ann" && len(part) == 3 {
			access = append(access, map[string]any{"type": part[0], "name": part[1], "actions": strings.Split(part[2], ",")})
		}
	}
	from := time.Now()
	if s.stale.Add(-1) >= 0 {
		from = from.Add(-time.Hour)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"token": s.sign(map[string]any{
		"iss": "tokens", "aud": "test", "sub": username, "jti": "1", "access": access,
		"iat": from.Unix(), "nbf": from.Unix(), "exp": from.Add(5 * time.Minute).Unix(),
	})})
}

func (s *tokenServer) sign(claims map[string]any) string {
	encode := func(v any) string {
		text, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		return base64.RawURLEncoding.EncodeToString(text)
	}
	text := encode(map[string]any{"typ": "JWT", "alg": "RS256", "x5c": [][]byte{s.certificate}}) + "." + encode(claims)
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, s.key, crypto.SHA256, sum[:])
	if err != nil {
		panic(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// passwords returns a file with the passwords of ann and bob.
func passwords(t *testing.T) string {
	file := filepath.Join(t.TempDir(), "htpasswd")
	var text []byte
	for _, username := range []string{"ann", "bob"} {
		line, err := exec.Command(testtool.Need(t, "htpasswd"), "-Bbn", username, "right").Output()
		require.NoError(t, err)
		text = append(text, line...)
	}
	require.NoError(t, os.WriteFile(file, text, 0o600))
	return file
}

// dockerRegistry runs the program on a port of loopback until the test ends.
func dockerRegistry(t *testing.T, auth string) (host string) {
	dir := t.TempDir()
	config := fmt.Sprintf(`
version: 0.1
log: {level: info, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: %s}}
http: {addr: "127.0.0.1:0"}
auth: {%s}
`, filepath.Join(dir, "data"), auth)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.yml"), []byte(config), 0o600))
	cmd := exec.Command(testtool.Need(t, "docker-registry"), "serve", filepath.Join(dir, "config.yml"))
	logs, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	var out bytes.Buffer
	address, ended := make(chan string, 1), make(chan struct{})
	go func() {
		defer close(ended)
		listening := regexp.MustCompile(`listening on (127\.0\.0\.1:\d+)`)
		for lines := bufio.NewScanner(logs); lines.Scan(); {
			out.WriteString(lines.Text() + "\n")
			if m := listening.FindStringSubmatch(lines.Text()); m != nil {
				address <- m[1]
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("docker-registry: %s", out.Bytes())
		}
	})
	select {
	case host := <-address:
		return host
	case <-ended:
		t.Fatal("docker-registry ended")
	case <-time.After(2 * time.Minute):
		t.Fatal("docker-registry did not say where it listens")
	}
	return ""
}

// push copies an image into the registry.
func push(t *testing.T, host, name string) {
	r := newRegistry(registrytest.MCR())
	add(t, r, registrytest.Image{Format: registrytest.DockerSchema2}, name)
	s, err := registrytest.StartPlainHTTP(r)
	require.NoError(t, err)
	defer s.Close()
	out, err := testtool.Run(t, nil, "skopeo", "copy", "--insecure-policy", "--src-tls-verify=false", "--dest-tls-verify=false",
		"--dest-creds=ann:right", "docker://"+s.Host+"/"+name, "docker://"+host+"/"+name)
	require.NoError(t, err, out)
}

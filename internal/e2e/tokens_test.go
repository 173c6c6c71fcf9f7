package e2e

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A tokenServer issues tokens as the distribution project specifies, in both forms:
// https://distribution.github.io/distribution/spec/auth/token/ and .../oauth/. The password of ann and bob is "right".
// Ann has all rights to team/* and public/*, bob to other/*, and everyone may pull public/*.
type tokenServer struct {
	server      *httptest.Server
	behind      atomic.Pointer[httputil.ReverseProxy] // The registry.
	realm       string
	bundle      string // The file with its certificate.
	key         *rsa.PrivateKey
	certificate []byte
}

func newTokenServer(t *testing.T) *tokenServer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "tokens"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	s := &tokenServer{key: key, bundle: filepath.Join(t.TempDir(), "tokens.pem")}
	s.certificate, err = x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(s.bundle, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.certificate}), 0o600))
	s.server = httptest.NewServer(s)
	t.Cleanup(s.server.Close)
	s.realm = s.server.URL + "/auth/token"
	return s
}

// front makes the registry reachable at the host of the token server, as behind one proxy. It returns that host:
// go-containerregistry, which pushes the images, logs in at no other token server on the loopback address.
func (s *tokenServer) front(t *testing.T, host string) string {
	t.Helper()
	s.behind.Store(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: host})
		r.Out.Host = r.In.Host
	}})
	return strings.TrimPrefix(s.server.URL, "http://")
}

// settings are the settings with which a registry trusts the server.
func (s *tokenServer) settings() map[string]any {
	return map[string]any{"realm": s.realm, "service": "registry", "issuer": "tokens", "rootcertbundle": s.bundle}
}

func (s *tokenServer) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if proxy := s.behind.Load(); proxy != nil && req.URL.Path != "/auth/token" {
		proxy.ServeHTTP(w, req)
		return
	}
	username, password, login := req.BasicAuth()
	_ = req.ParseForm()
	scopes := strings.Fields(strings.Join(req.Form["scope"], " "))
	if req.Method == http.MethodPost {
		username, password, login = req.PostForm.Get("username"), req.PostForm.Get("password"), true
	}
	w.Header().Set("Content-Type", "application/json")
	if login && (password != "right" || username != "ann" && username != "bob") {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = w.Write([]byte(`{"errors":[{"code":"UNAUTHORIZED","message":"authentication required","detail":null}]}`))
		return
	}
	access := []any{}
	for _, scope := range scopes {
		part := strings.Split(scope, ":")
		project, _, _ := strings.Cut(strings.Join(part[1:2], ""), "/")
		switch {
		case len(part) != 3 || part[0] != "repository":
		case username == "ann" && (project == "team" || project == "public"), username == "bob" && project == "other":
			access = append(access, map[string]any{"type": part[0], "name": part[1], "actions": strings.Split(part[2], ",")})
		case project == "public":
			access = append(access, map[string]any{"type": part[0], "name": part[1], "actions": []string{"pull"}})
		}
	}
	now := time.Now()
	token := s.sign(map[string]any{
		"iss": "tokens", "aud": "registry", "sub": username, "jti": "1", "access": access,
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Minute).Unix(),
	})
	_ = json.NewEncoder(w).Encode(map[string]any{
		"token": token, "access_token": token, "expires_in": 60, "issued_at": now.UTC().Format(time.RFC3339),
	})
}

func (s *tokenServer) sign(claims map[string]any) string {
	encode := func(v any) string {
		text, _ := json.Marshal(v) // A map of strings and numbers always encodes.
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

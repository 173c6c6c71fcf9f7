//go:build linux

package systemregistry_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/auth/token"
	"github.com/distribution/distribution/v3/registry/handlers"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/internal/testtool"
	"github.com/regcred/regcred/systemregistry"
)

// BenchmarkRegistry compares this registry with distribution's handlers without authentication, with the same handlers
// and distribution's own check of tokens, and with Debian's docker-registry, which is distribution 2.8 without
// authentication. All use files and no TLS:
//
//	go test -run '^$' -bench Registry -benchtime 50x .
//
// The registries take turns of several requests, so that other load on the machine affects all of them alike. The
// benchmark reports the median over the turns of each registry, in processor time of client and server together, and
// for this registry the median of the ratios of its turns to those of distribution alone.
func BenchmarkRegistry(b *testing.B) {
	sides := []struct {
		name string
		open func(*testing.B) *side
	}{{"distribution", plainSide}, {"tokens", tokenSide}, {"debian", debianSide}, {"system", systemSide}}
	for _, operation := range operations {
		b.Run("op="+operation.name, func(b *testing.B) {
			requests, spent := make([]func(int), len(sides)), make([][]float64, len(sides)) // Nanoseconds a request, by turn.
			opened := make([]*side, len(sides))
			for i, s := range sides {
				opened[i] = s.open(b)
				requests[i] = operation.request(b, opened[i])
			}
			for n := 0; b.Loop(); n += operation.turn {
				for k := range opened {
					i := (k + n/operation.turn) % len(opened) // The turn after the other process pays for its evictions.
					s := opened[i]
					before := s.processors(b)
					for j := range operation.turn {
						requests[i](n + j)
					}
					spent[i] = append(spent[i], float64(s.processors(b)-before)/float64(operation.turn))
				}
			}
			more := make([]float64, len(spent[0]))
			for i := range more {
				more[i] = 100 * (spent[len(sides)-1][i]/spent[0][i] - 1)
			}
			b.ReportMetric(0, "ns/op") // The total of all registries has no meaning.
			for i, s := range sides {
				b.ReportMetric(median(spent[i])/1e6, s.name+"-cpu-ms")
			}
			b.ReportMetric(median(more), "%more")
		})
	}
}

var operations = []struct {
	name    string
	turn    int // Number of requests: the time of another process is counted in hundredths of a second.
	request func(*testing.B, *side) func(i int)
}{
	{"HEAD manifest", 100, get("HEAD", manifestPath)},
	{"pull manifest", 100, get("GET", manifestPath)},
	{"HEAD layer", 100, get("HEAD", smallPath)},
	{"pull 1 KiB", 100, get("GET", smallPath)},
	{"pull 64 MiB", 1, get("GET", largePath)},
	{"push 1 KiB", 20, push(func(s *side) string { return s.small })},
	{"push 64 MiB", 1, push(func(s *side) string { return s.large })},
}

func manifestPath(*side) string { return "/v2/team/app/manifests/1" }
func smallPath(s *side) string  { return "/v2/team/app/blobs/" + digestOf(s.small) }
func largePath(s *side) string  { return "/v2/team/app/blobs/" + digestOf(s.large) }

func get(method string, path func(*side) string) func(*testing.B, *side) func(int) {
	return func(b *testing.B, s *side) func(int) {
		path := path(s) // Once, because it computes the digest of a layer.
		return func(int) { s.do(b, method, path, nil, http.StatusOK, "") }
	}
}

// push uploads a layer of the size that the registry does not have yet.
func push(layer func(*side) string) func(*testing.B, *side) func(int) {
	return func(b *testing.B, s *side) func(int) {
		rest := layer(s)[16:]
		return func(i int) { s.upload(b, fmt.Sprintf("%016d", i)+rest) }
	}
}

func median(of []float64) float64 {
	slices.Sort(of)
	return of[len(of)/2]
}

// side is one of the registries, with an image of two layers in it.
type side struct {
	url, token   string
	client       *http.Client
	large, small string // Its layers.
	process      int    // ID of the registry's process, if it is not this one.
}

const largeSize, smallSize = 64 << 20, 1 << 10

func newSide(b *testing.B, url, token string, process int) *side {
	b.Helper()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}}
	b.Cleanup(client.CloseIdleConnections)
	side := &side{url, token, client, content(b, largeSize), content(b, smallSize), process}
	manifest, config := manifestOf(side.large)
	for _, blob := range []string{side.large, side.small, config} {
		side.upload(b, blob)
	}
	side.do(b, "PUT", "/v2/team/app/manifests/1", strings.NewReader(manifest), http.StatusCreated, ociManifest)
	return side
}

// processors returns the processor time that the client and the registry have used so far.
func (s *side) processors(b *testing.B) time.Duration {
	var own syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &own))
	total := time.Duration(own.Utime.Nano() + own.Stime.Nano())
	if s.process == 0 {
		return total
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.process))
	require.NoError(b, err)
	var user, system time.Duration // In hundredths of a second, after eleven other fields and the name.
	_, after, _ := strings.Cut(string(stat), ") ")
	_, err = fmt.Sscanf(strings.Join(strings.Fields(after)[11:13], " "), "%d %d", &user, &system)
	require.NoError(b, err)
	return total + (user+system)*10*time.Millisecond
}

func served(b *testing.B, handler http.Handler) string {
	s := httptest.NewServer(handler)
	b.Cleanup(s.Close)
	return s.URL
}

func plainSide(b *testing.B) *side { return distributionSide(b, nil, "") }

func tokenSide(b *testing.B) *side {
	public, private, err := ed25519.GenerateKey(nil)
	require.NoError(b, err)
	keys, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: public, KeyID: "key", Algorithm: "EdDSA", Use: "sig"}}})
	require.NoError(b, err)
	file := filepath.Join(b.TempDir(), "keys.json")
	require.NoError(b, os.WriteFile(file, keys, 0o600))
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: jose.JSONWebKey{Key: private, KeyID: "key"}}, nil)
	require.NoError(b, err)
	text, err := jwt.Signed(signer).Claims(token.ClaimSet{
		Issuer: "issuer", Subject: "root", Audience: token.AudienceList{"service"}, Expiration: time.Now().Add(time.Hour).Unix(),
		Access: []*token.ResourceActions{{Type: "repository", Name: "team/app", Actions: []string{"pull", "push"}}},
	}).Serialize()
	require.NoError(b, err)
	return distributionSide(b, configuration.Auth{"token": {"realm": "realm", "issuer": "issuer", "service": "service", "jwks": file}}, text)
}

func distributionSide(b *testing.B, auth configuration.Auth, token string) *side {
	app := handlers.NewApp(context.Background(), &configuration.Configuration{Auth: auth, Storage: configuration.Storage{
		"filesystem":  {"rootdirectory": b.TempDir()},
		"maintenance": {"uploadpurging": map[any]any{"enabled": false}},
		"redirect":    {"disable": true},
	}})
	b.Cleanup(func() { _ = app.Shutdown() })
	return newSide(b, served(b, app), token, 0)
}

func debianSide(b *testing.B) *side {
	program, dir := testtool.Need(b, "docker-registry"), b.TempDir()
	addr := "127.0.0.1:" + testtool.FreePort(b)
	config := filepath.Join(dir, "config.yml")
	require.NoError(b, os.WriteFile(config, fmt.Appendf(nil, `
version: 0.1
log: {level: error, accesslog: {disabled: true}}
http: {addr: '%s'}
storage:
  filesystem: {rootdirectory: '%s/data'}
  maintenance: {uploadpurging: {enabled: false}}
`, addr, dir), 0o600))
	command := exec.Command(program, "serve", config)
	require.NoError(b, command.Start())
	b.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	require.Eventually(b, func() bool {
		conn, err := net.Dial("tcp", addr)
		return err == nil && conn.Close() == nil
	}, time.Minute, 10*time.Millisecond)
	return newSide(b, "http://"+addr, "", command.Process.Pid)
}

// systemSide is served like [systemregistry.Server.Run], with everything around the handler.
func systemSide(b *testing.B) *side {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	ready, ended := make(chan systemregistry.Ready, 1), make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	s := systemregistry.Server{
		Dir: b.TempDir(), Admin: "root", AdminPassword: password("root"),
		Listener: listener, PlainHTTP: true, OnReady: func(r systemregistry.Ready) { ready <- r },
	}
	go func() { ended <- s.Run(ctx) }()
	b.Cleanup(func() {
		cancel()
		require.NoError(b, <-ended)
	})
	var r systemregistry.Ready
	select {
	case r = <-ready:
	case err := <-ended:
		ended <- nil
		b.Fatal(err)
	}
	answer := httptest.NewRecorder()
	request := httptest.NewRequest("GET", "/token?"+url.Values{"scope": {"repository:team/app:pull,push"}}.Encode(), nil)
	request.SetBasicAuth("root", password("root").Reveal())
	r.Registry.ServeHTTP(answer, request)
	var token struct{ Token string }
	require.NoError(b, json.Unmarshal(answer.Body.Bytes(), &token))
	return newSide(b, r.URL, token.Token, 0)
}

func content(b *testing.B, size int) string {
	content := make([]byte, size)
	_, err := rand.Read(content)
	require.NoError(b, err)
	return string(content)
}

func (s *side) do(b *testing.B, method, path string, body io.Reader, want int, contentType string) *http.Response {
	req, err := http.NewRequestWithContext(b.Context(), method, s.url+path, body)
	if err != nil {
		b.Fatal(err)
	}
	if s.token != "" {
		req.Header.Set("Authorization", "Bearer "+s.token)
	}
	req.Header.Set("Accept", ociManifest)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	if err != nil || resp.StatusCode != want {
		b.Fatal(resp.Status, err)
	}
	return resp
}

func (s *side) upload(b *testing.B, content string) {
	location := s.do(b, "POST", "/v2/team/app/blobs/uploads/", nil, http.StatusAccepted, "").Header.Get("Location")
	location = strings.TrimPrefix(location, s.url)
	s.do(b, "PUT", location+"&digest="+digestOf(content), strings.NewReader(content), http.StatusCreated, "application/octet-stream")
}

package server_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/providers/system/server"
)

// BenchmarkRegistry is this registry beside distribution's handlers alone, without accounts or tokens, both over files
// and without TLS, in one run:
//
//	go test -run '^$' -bench Registry -count 6 . | benchstat -col /registry -
func BenchmarkRegistry(b *testing.B) {
	operations := []struct {
		name string
		run  func(*side, *testing.B)
	}{
		{"HEAD manifest", (*side).head}, {"pull 64 MiB", (*side).pull}, {"push 64 MiB", (*side).pushLarge}, {"push 1 KiB", (*side).pushSmall},
	}
	sides := map[string]func(*testing.B) *side{"distribution": plainSide, "system": systemSide}
	for _, operation := range operations {
		for _, name := range []string{"distribution", "system"} {
			b.Run("op="+operation.name+"/registry="+name, func(b *testing.B) { operation.run(sides[name](b), b) })
		}
	}
}

// side is one of both registries, with an image of 64 MiB in it.
type side struct {
	url, token string
	client     *http.Client
	large      string // The digest of its layer.
}

const largeSize = 64 << 20

func newSide(b *testing.B, handler http.Handler, token string) *side {
	b.Helper()
	s := httptest.NewServer(handler)
	b.Cleanup(s.Close)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}}
	b.Cleanup(client.CloseIdleConnections)
	side := &side{url: s.URL, token: token, client: client}
	layer := side.content(b, largeSize)
	side.large = digestOf(layer)
	manifest, config := manifestOf(layer)
	side.upload(b, layer)
	side.upload(b, config)
	side.do(b, "PUT", "/v2/team/app/manifests/1", strings.NewReader(manifest), http.StatusCreated, ociManifest)
	return side
}

func plainSide(b *testing.B) *side {
	config := &configuration.Configuration{Storage: configuration.Storage{
		"filesystem":  {"rootdirectory": b.TempDir()},
		"maintenance": {"uploadpurging": map[any]any{"enabled": false}},
		"redirect":    {"disable": true},
	}}
	app := handlers.NewApp(context.Background(), config)
	b.Cleanup(func() { _ = app.Shutdown() })
	return newSide(b, app, "")
}

func systemSide(b *testing.B) *side {
	r, err := server.Server{Dir: b.TempDir(), Admin: "root", AdminPassword: password("root")}.Open(b.Context())
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, r.Close()) })
	answer := httptest.NewRecorder()
	request := httptest.NewRequest("GET", "/token?"+url.Values{"scope": {"repository:team/app:pull,push"}}.Encode(), nil)
	request.SetBasicAuth("root", password("root").Reveal())
	r.ServeHTTP(answer, request)
	var token struct{ Token string }
	require.NoError(b, json.Unmarshal(answer.Body.Bytes(), &token))
	return newSide(b, r, token.Token)
}

func (s *side) content(b *testing.B, size int) string {
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

func (s *side) head(b *testing.B) {
	b.ResetTimer() // b.Loop does it for the others.
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			s.do(b, "HEAD", "/v2/team/app/manifests/1", nil, http.StatusOK, "")
		}
	})
}

func (s *side) pull(b *testing.B) {
	b.SetBytes(largeSize)
	for b.Loop() {
		s.do(b, "GET", "/v2/team/app/blobs/"+s.large, nil, http.StatusOK, "")
	}
}

func (s *side) pushLarge(b *testing.B) {
	b.SetBytes(largeSize)
	content := s.content(b, largeSize)
	for i := 0; b.Loop(); i++ {
		s.upload(b, fmt.Sprintf("%016d", i)+content[16:])
	}
}

func (s *side) pushSmall(b *testing.B) {
	content := s.content(b, 1024)
	for i := 0; b.Loop(); i++ {
		s.upload(b, fmt.Sprintf("%016d", i)+content[16:])
	}
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
)

func post(t *testing.T, h http.Handler, tenant string, body any) (int, response) {
	t.Helper()
	text, err := json.Marshal(body)
	require.NoError(t, err)
	req := httptest.NewRequest(http.MethodPost, "/check", bytes.NewReader(text))
	req.Header.Set("X-Tenant", tenant)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	var got response
	if w.Code == http.StatusOK {
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &got))
	}
	require.NotContains(t, w.Body.String(), "s3cret")
	return w.Code, got
}

func profile(endpoint, password string, transport map[string]any) map[string]any {
	return map[string]any{
		"name": "shop", "kind": "custom", "endpoint": endpoint, "transport": transport,
		"login": map[string]any{"username": "ann", "password": password},
	}
}

func TestCheck(t *testing.T) {
	server, err := registrytest.Start(&registrytest.Registry{
		Dialect:  registrytest.Harbor(),
		Accounts: []registrytest.Account{{Username: "ann", Password: credentials.NewSecret("s3cret"), Pull: []string{"shop/*"}}},
	})
	require.NoError(t, err)
	defer server.Close()
	_, err = server.Registry.Add("shop/web:1", registrytest.Image{})
	require.NoError(t, err)
	ca := map[string]any{"caBundle": server.CA}
	ask := func(h *handler, p map[string]any, images ...string) response {
		t.Helper()
		status, got := post(t, h, "ann", map[string]any{"profile": p, "images": images})
		require.Equal(t, http.StatusOK, status)
		return got
	}

	platform := newHandler([]netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")})
	require.True(t, ask(platform, profile(server.Host, "s3cret", ca), server.Host+"/shop/web:1").OK)
	got := ask(platform, profile(server.Host, "wrong", ca))
	require.Equal(t, registry.ErrUnauthorized, got.Issues[0].Code)

	// Without -allow, the same registry is in the platform's own network.
	before := len(server.Registry.Requests())
	untrusted := newHandler(nil)
	got = ask(untrusted, profile(server.Host, "s3cret", ca), server.Host+"/shop/web:1")
	require.False(t, got.OK)
	require.Equal(t, registry.ErrEgressDenied, got.Issues[0].Code)
	for _, p := range []map[string]any{
		profile("169.254.169.254", "s3cret", nil),
		profile(server.Host, "s3cret", map[string]any{"proxy": server.URL}),
		profile("http://"+server.Host, "s3cret", map[string]any{"plainHTTP": true}),
		{"name": "shop", "kind": "custom", "endpoint": "ghcr.io", "login": map[string]any{"ambient": true}},
		{"name": "shop", "kind": "custom", "endpoint": "ann:s3cret@ghcr.io", "login": map[string]any{"anonymous": true}},
	} {
		require.False(t, ask(untrusted, p).OK)
	}
	require.Len(t, server.Registry.Requests(), before, "something was sent to the platform's own network")

	status, _ := post(t, untrusted, "", map[string]any{})
	require.Equal(t, http.StatusUnauthorized, status)
	_, got = post(t, untrusted, "ann", "s3cret")
	require.Equal(t, registry.ErrInvalid, got.Issues[0].Code)
	_, got = post(t, untrusted, "ann", map[string]any{"profile": strings.Repeat("x", 2*maxBody)})
	require.False(t, got.OK)
}

func TestRun(t *testing.T) {
	require.Error(t, run(t.Context(), []string{"-allow", "x"}, io.Discard))
	require.Error(t, run(t.Context(), []string{"x"}, io.Discard))

	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	var ended atomic.Bool
	done := make(chan error)
	go func() { err := serve(ctx, l, newHandler(nil)); ended.Store(true); done <- err }()
	res, err := http.Post("http://"+l.Addr().String()+"/check", "application/json", strings.NewReader("{}"))
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusUnauthorized, res.StatusCode)
	cancel()
	require.NoError(t, <-done)
	require.True(t, ended.Load())
}

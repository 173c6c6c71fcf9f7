package systemregistry_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/systemregistry"
)

func TestConsoleIsServedSafely(t *testing.T) {
	r := start(t, systemregistry.Server{})
	resp, body := r.do(t, "GET", "/", "")
	require.Equal(t, "/console/", resp.Request.URL.Path)
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Contains(t, body, "<title>")
	policy := resp.Header.Get("Content-Security-Policy")
	require.True(t, strings.HasPrefix(policy, "default-src 'none';"), policy)
	require.NotContains(t, policy, "unsafe")
	require.Contains(t, policy, "frame-ancestors 'none'")
	// Neither content that the policy would block, nor requests to other servers.
	for _, name := range []string{"", "app.js", "style.css", "icon.svg"} {
		resp, body := r.do(t, "GET", "/console/"+name, "")
		require.Equal(t, http.StatusOK, resp.StatusCode, name)
		for _, bad := range []string{"innerHTML", " style=", " onclick=", "https://", "http://www.example", "eval("} {
			require.NotContains(t, body, bad, name)
		}
		again, _ := r.do(t, "GET", "/console/"+name, "", header("If-None-Match", resp.Header.Get("ETag")))
		require.Equal(t, http.StatusNotModified, again.StatusCode)
	}
	for _, name := range []string{"none", "..%2fconsole.go", "page/index.html"} {
		resp, _ := r.do(t, "GET", "/console/"+name, "")
		require.Equal(t, http.StatusNotFound, resp.StatusCode, name)
	}
}

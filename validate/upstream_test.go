package validate_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
	"github.com/regcred/regcred/validate"
)

// checkAt checks an image of a handler that requires no login, and returns the error and the number of requests.
func checkAt(t *testing.T, h http.HandlerFunc, name string) (requests int, err error) {
	t.Helper()
	c := &validate.Checker{Deep: true, RoundTripper: registrytest.NewRoundTripper(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		requests++
		h(w, req)
	}))}
	_, err = c.Image(t.Context(), image(t, "mirror.example.com/"+name), validate.Candidate{})
	return requests, err
}

// A mirror of distribution 2.8 responds with 500 if its upstream responds with 404, and quotes the upstream. This is no
// reason to try again, now or later.
func TestErrorOfUpstream(t *testing.T) {
	requests, err := checkAt(t, func(w http.ResponseWriter, req *http.Request) {
		if strings.Contains(req.URL.Path, "/manifests/") {
			w.Header().Set("Content-Type", "application/json; charset=utf-8")
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = w.Write([]byte(`{"errors":[{"code":"UNKNOWN","message":"unknown error","detail":{"errors":[{"code":"MANIFEST_UNKNOWN"}]}}]}`))
		}
	}, "team/app@sha256:"+strings.Repeat("0", 64))
	require.ErrorIs(t, err, registry.ErrNotFound)
	require.False(t, registry.Temporary(err))
	require.LessOrEqual(t, requests, 8)
}

// A mirror of distribution 3.1 whose own login the upstream rejects answers a request by digest with 401, and asks nobody
// for a login.
func TestRejectedLoginOfMirror(t *testing.T) {
	_, err := checkAt(t, func(w http.ResponseWriter, req *http.Request) {
		if strings.Contains(req.URL.Path, "/manifests/") {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(`{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`))
		}
	}, "team/app@sha256:"+strings.Repeat("0", 64))
	require.ErrorIs(t, err, registry.ErrUnauthorized)
	require.Contains(t, registry.HintOf(err), "pull-through cache")
}

// The registry of go-containerregistry lists tags as plain text.
func TestListOfTagsAsText(t *testing.T) {
	_, err := checkAt(t, func(w http.ResponseWriter, req *http.Request) {
		switch {
		case strings.Contains(req.URL.Path, "/manifests/"):
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write([]byte(`{"errors":[{"code":"MANIFEST_UNKNOWN","message":"Unknown manifest"}]}`))
		case strings.HasSuffix(req.URL.Path, "/tags/list"):
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			_, _ = w.Write([]byte(`{"name":"team/app","tags":["1"]}`))
		}
	}, "team/app:gone")
	require.ErrorIs(t, err, registry.ErrImageNotFound)
}

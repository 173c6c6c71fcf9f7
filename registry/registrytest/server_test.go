package registrytest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPartsHaveTheirHosts(t *testing.T) {
	r := newRegistry(t, DockerHub())
	r.RedirectBlobs = true
	s := startServer(t, r)
	c := client{s.Client().Transport, s.URL, "ann", "right", ""}
	challenge := c.send(t, "", "GET", s.URL+image, nil).Header.Get("WWW-Authenticate")
	realm := challengeForm.FindStringSubmatch(challenge)[2]
	require.False(t, strings.HasPrefix(realm, s.URL), realm)
	require.Equal(t, 404, c.send(t, "", "GET", s.URL+"/token", nil).StatusCode, "the registry issues no token")
	require.Equal(t, 404, c.send(t, "", "GET", strings.TrimSuffix(realm, "/token")+"/v2/", nil).StatusCode, "the token endpoint is no registry")

	manifest := c.ask(t, "GET", image)
	require.Equal(t, 200, manifest.StatusCode)
	require.Equal(t, 2, manifest.ProtoMajor, "as registries do over TLS")
	var content struct{ Layers []struct{ Digest string } }
	require.NoError(t, json.Unmarshal([]byte(manifest.body), &content))
	blob := c.ask(t, "GET", "/v2/team/app/blobs/"+content.Layers[0].Digest)
	require.Equal(t, 307, blob.StatusCode)
	location := blob.Header.Get("Location")
	require.NotContains(t, location, s.Host)
	require.Equal(t, 200, c.send(t, "", "GET", location, nil).StatusCode)
	require.Equal(t, 400, c.send(t, "", "GET", location, c.basic).StatusCode, "a login does not belong there")
	require.Equal(t, 403, c.send(t, "", "GET", strings.Split(location, "?")[0], nil).StatusCode, "nor does a URL that was made up")
}

func TestNamedHosts(t *testing.T) {
	r := newRegistry(t, DockerHub())
	r.TokenHost = "auth.docker.io"
	c := newClient(r, "ann", "right")
	c.base = "https://registry-1.docker.io"
	require.Equal(t, good, c.ask(t, "GET", image).String())
	var hosts []string
	for _, q := range r.Requests() {
		hosts = append(hosts, q.Host)
	}
	require.Equal(t, []string{"registry-1.docker.io", "auth.docker.io", "registry-1.docker.io"}, hosts)
}

func TestCloseEndsEverything(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 3 {
		r := newRegistry(t, GitLab())
		r.RedirectBlobs = true
		s, err := Start(r)
		require.NoError(t, err)
		r.Inject(Fault{Match: manifests, Hang: true})
		came := make(chan struct{})
		r.Inject(Fault{Match: func(Request) bool { close(came); return false }, Times: 1})
		failed := make(chan error, 1)
		go func() {
			_, err := s.Client().Get(s.URL + "/v2/")
			if err != nil {
				failed <- err
				return
			}
			_, err = s.Client().Get(s.URL + image)
			failed <- err
		}()
		<-came
		s.Close()
		require.Error(t, <-failed)
		_, err = s.Client().Get(s.URL + "/v2/")
		require.Error(t, err)
		s.Client().CloseIdleConnections()
	}
	// Goroutines of the runtime's network poller end a moment later.
	for end := time.Now().Add(time.Minute); runtime.NumGoroutine() > before && time.Now().Before(end); {
		runtime.Gosched()
	}
	require.LessOrEqual(t, runtime.NumGoroutine(), before)
}

func TestServeAgain(t *testing.T) {
	r := newRegistry(t, MCR())
	for range 2 {
		s, err := Start(r)
		require.NoError(t, err)
		res, _ := get(t, s.Client(), "GET", s.URL+image)
		require.Equal(t, 200, res.StatusCode)
		s.Close()
		s.Close()
	}
	require.Len(t, r.Requests(), 2)
}

func TestOthersDoNotTrustIt(t *testing.T) {
	s := startServer(t, newRegistry(t, MCR()))
	_, err := http.Get(s.URL + "/v2/")
	require.ErrorContains(t, err, "unknown authority")
}

// The transport in memory behaves like one over a socket.
func TestTransport(t *testing.T) {
	r := newRegistry(t, ECR())
	c := newClient(r, "ann", "right")

	content := bytes.Repeat([]byte("0123456789"), 10_000)
	push := c.send(t, "", "POST", c.base+"/v2/new/app/blobs/uploads/?digest=sha256:0", func(req *http.Request) {
		c.basic(req)
		req.Body = io.NopCloser(bytes.NewReader(content))
	})
	require.Equal(t, "{\"errors\":[{\"code\":\"DIGEST_INVALID\",\"message\":\"provided digest did not match uploaded content\"}]}", push.body)

	t.Run("leaves when its context ends", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		req, err := http.NewRequestWithContext(ctx, "GET", c.base+"/v2/", nil)
		require.NoError(t, err)
		_, err = c.http.RoundTrip(req)
		require.ErrorIs(t, err, context.Canceled)
	})
	t.Run("a body may be left unread", func(t *testing.T) {
		before := runtime.NumGoroutine()
		defer r.Inject(Fault{Padding: 1 << 40})()
		for range 10 {
			req, err := http.NewRequestWithContext(t.Context(), "GET", c.base+image, nil)
			require.NoError(t, err)
			c.basic(req)
			res, err := c.http.RoundTrip(req)
			require.NoError(t, err)
			_, err = io.CopyN(io.Discard, res.Body, 100)
			require.NoError(t, err)
			require.NoError(t, res.Body.Close())
		}
		for end := time.Now().Add(time.Minute); runtime.NumGoroutine() > before && time.Now().Before(end); {
			runtime.Gosched()
		}
		require.LessOrEqual(t, runtime.NumGoroutine(), before)
	})
}

func TestRequests(t *testing.T) {
	r := newRegistry(t, Quay())
	newClient(r, "ann", "right").ask(t, "GET", image)
	newClient(r, "ann", "canary-password").ask(t, "HEAD", image)
	var lines []string
	for _, q := range r.Requests() {
		require.False(t, q.At.IsZero())
		lines = append(lines, q.String())
	}
	require.Equal(t, []string{
		"registry: GET /v2/team/app/manifests/1: 401",
		"token: GET /v2/auth?scope=repository%3Ateam%2Fapp%3Apull&service=registry.test basic as ann: 200",
		"registry: GET /v2/team/app/manifests/1 bearer as ann: 200",
		"registry: HEAD /v2/team/app/manifests/1: 401",
		"token: GET /v2/auth?scope=repository%3Ateam%2Fapp%3Apull&service=registry.test basic: 401",
	}, lines)
	q := r.Requests()[2]
	require.Equal(t, "team/app", q.Repository)
	require.Equal(t, "1", q.Reference)
	require.NotContains(t, fmt.Sprintf("%+v", r.Requests()), "canary-password")
	r.ResetRequests()
	require.Empty(t, r.Requests())
}

func TestRequestsHoldNoSecret(t *testing.T) {
	r := newRegistry(t, DockerHub())
	r.RedirectBlobs = true
	ann := newClient(r, "ann", "right")
	realm := "https://auth.registry.test/token"
	ann.send(t, "", "POST", realm, func(req *http.Request) {
		form(req, "grant_type=password&username=ann&password=canary-1&service=registry.docker.io&scope=repository:team/app:pull")
	})
	ann.send(t, "", "GET", realm+"?service=registry.docker.io&refresh%5Ftoken=canary-2&Password=canary-3", nil)
	ann.send(t, "", "GET", ann.base+image, bearer("canary-4"))
	ann.send(t, "", "GET", "https://blobs.registry.test/team/app/"+zeroDigest+"?signature=canary-5", nil)
	requests := r.Requests()
	require.NotContains(t, fmt.Sprintf("%+v", requests), "canary")
	require.Equal(t, "grant_type=password&scope=repository%3Ateam%2Fapp%3Apull&service=registry.docker.io", requests[0].Query)
	require.Equal(t, "service=registry.docker.io&refresh%5Ftoken=...&Password=...", requests[1].Query)
	require.Equal(t, "signature=...", requests[3].Query)
}

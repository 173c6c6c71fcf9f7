package fakenet_test

import (
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
	"github.com/regcred/regcred/registry/registrytest/fakenet"
	"github.com/regcred/regcred/validate"
)

// A host without a handler does not exist, as on a real network.
func TestHostNotFound(t *testing.T) {
	n := newNetwork(t)
	c := n.Client()
	defer c.CloseIdleConnections()
	_, err := c.Get("https://gone.example.com/v2/")
	require.Equal(t, registry.ErrHostNotFound, registry.NetworkCode(err))
	require.False(t, registry.Temporary(registry.NetworkCode(err)))
	n.Handle("gone.example.com", says("here"))
	require.Contains(t, body(t, c, "https://gone.example.com/v2/"), "here")
}

// A client that knows Docker Hub and GitLab by their real names pulls from a fake that was attached with one call.
func TestHandleRegistry(t *testing.T) {
	for endpoint, d := range map[string]registrytest.Dialect{
		"docker.io": registrytest.DockerHub(), "registry.gitlab.com/acme": registrytest.GitLab(), "quay.io": registrytest.Quay(),
		"ghcr.io": registrytest.GHCR(), "harbor.example.com:5000": registrytest.Harbor(), "mcr.microsoft.com": registrytest.MCR(),
	} {
		n := newNetwork(t)
		r := &registrytest.Registry{
			Dialect: d, RedirectBlobs: true,
			Accounts: []registrytest.Account{{Username: "ann", Password: credentials.NewSecret("right"), Pull: []string{"*"}}},
		}
		_, err := r.Add("acme/app:1", registrytest.Image{})
		require.NoError(t, err)
		n.HandleRegistry(endpoint, r)
		host, _, _ := strings.Cut(endpoint, "/")
		image, err := registry.ParseImage(host + "/acme/app:1")
		require.NoError(t, err)
		checker := validate.Checker{Deep: true}
		_, err = checker.Image(t.Context(), image, validate.Candidate{
			Source:    credentials.Static(credentials.Credential{Username: "ann", Password: credentials.NewSecret("right")}),
			Transport: n.TransportConfig(),
		})
		require.NoError(t, err, endpoint)
		if endpoint == "docker.io" {
			require.Equal(t, []string{"registry-1.docker.io:443", "auth.docker.io:443", "production.cloudflare.docker.com:443"}, slices.Compact(n.Dialed()))
		}
	}
	require.Panics(t, func() { newNetwork(t).HandleRegistry("registry", new(registrytest.Registry)) })
}

func newNetwork(t *testing.T) *fakenet.Network {
	n, err := fakenet.New()
	require.NoError(t, err)
	t.Cleanup(n.Close)
	return n
}

func says(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s: %s %s %s", name, r.Host, r.URL, r.Proto)
	})
}

func body(t *testing.T, c *http.Client, url string) string {
	t.Helper()
	res, err := c.Get(url)
	require.NoError(t, err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return string(b)
}

func TestHosts(t *testing.T) {
	n := newNetwork(t)
	n.Handle("registry.example.com", says("one"))
	n.Handle("*.example.com", says("any"))
	n.Handle("*.eu.example.com", says("any in Europe"))
	n.Handle("192.0.2.1", says("address"))
	c := n.Client()
	defer c.CloseIdleConnections()

	require.Equal(t, "one: registry.example.com /v2/?a=b HTTP/2.0", body(t, c, "https://registry.example.com/v2/?a=b"))
	require.Equal(t, "one: registry.example.com:8443 / HTTP/2.0", body(t, c, "https://registry.example.com:8443/"))
	require.Equal(t, "any: other.example.com / HTTP/2.0", body(t, c, "https://other.example.com/"))
	require.Equal(t, "any in Europe: other.eu.example.com / HTTP/2.0", body(t, c, "https://other.eu.example.com/"))
	require.Equal(t, "address: 192.0.2.1 / HTTP/2.0", body(t, c, "https://192.0.2.1/"))
	require.Equal(t, "one: registry.example.com /plain HTTP/1.1", body(t, c, "http://registry.example.com/plain"))

	_, err := c.Get("https://example.org/")
	require.ErrorIs(t, err, registry.ErrHostNotFound, "a host without handler does not exist")
	require.Equal(t, []string{
		"registry.example.com:443", "registry.example.com:8443", "other.example.com:443", "other.eu.example.com:443", "192.0.2.1:443", "registry.example.com", "example.org:443",
	}, n.Dialed())
}

func TestOthersDoNotTrustIt(t *testing.T) {
	n := newNetwork(t)
	n.Handle("registry.example.com", says("one"))
	transport := n.TransportConfig()
	transport.CABundle = ""
	h, err := transport.HTTP()
	require.NoError(t, err)
	_, err = (&http.Client{Transport: h}).Get("https://registry.example.com/")
	require.ErrorContains(t, err, "certificate signed by unknown authority")
}

func TestCloseEndsEverything(t *testing.T) {
	before := runtime.NumGoroutine()
	n, err := fakenet.New()
	require.NoError(t, err)
	came, ended := make(chan struct{}), make(chan struct{})
	n.Handle("slow.example.com", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(came)
		<-r.Context().Done()
		close(ended)
	}))
	c := n.Client()
	failed := make(chan error, 1)
	go func() {
		_, err := c.Get("https://slow.example.com/")
		failed <- err
	}()
	<-came
	n.Close()
	require.Error(t, <-failed)
	<-ended
	c.CloseIdleConnections()
	for end := time.Now().Add(time.Minute); runtime.NumGoroutine() > before && time.Now().Before(end); {
		runtime.Gosched()
	}
	require.LessOrEqual(t, runtime.NumGoroutine(), before)
}

// Docker Hub has several hosts: images are requested from two, and tokens from a third.
func ExampleNetwork_dockerHub() {
	hub := &registrytest.Registry{
		Dialect:   registrytest.DockerHub(),
		Public:    []string{"library/*"},
		TokenHost: "auth.docker.io",
	}
	if _, err := hub.Add("library/alpine:3", registrytest.Image{}); err != nil {
		panic(err)
	}
	n, err := fakenet.New()
	if err != nil {
		panic(err)
	}
	defer n.Close()
	for _, host := range []string{"registry-1.docker.io", "index.docker.io", "auth.docker.io"} {
		n.Handle(host, hub)
	}

	ref, err := name.ParseReference("alpine:3")
	if err != nil {
		panic(err)
	}
	image, err := remote.Head(ref, remote.WithTransport(n.Client().Transport))
	if err != nil {
		panic(err)
	}
	fmt.Println(image.MediaType)
	for _, q := range hub.Requests() {
		fmt.Println(q.Method, q.Host+q.Path, q.Status)
	}
	// Output:
	// application/vnd.oci.image.manifest.v1+json
	// GET index.docker.io/v2/ 401
	// GET auth.docker.io/token 200
	// HEAD index.docker.io/v2/library/alpine/manifests/3 200
}

func ExampleNetwork() {
	n, err := fakenet.New()
	if err != nil {
		panic(err)
	}
	defer n.Close()
	n.Handle("registry.example.com", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "hello")
	}))
	res, err := n.Client().Get("https://registry.example.com/v2/")
	if err != nil {
		panic(err)
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	fmt.Printf("%s from %s\n", b, res.Request.URL.Host)
	// Output: hello from registry.example.com
}

package mirrors_test

import (
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
	"github.com/regcred/regcred/validate"
	"github.com/regcred/regcred/validate/mirrors"
)

// TestManyTables has as many tables of registries as fit into a file. They must not be compared with each other.
func TestManyTables(t *testing.T) {
	var file strings.Builder
	file.WriteString("--- etc/containers/registries.conf\n")
	for i := range 80_000 {
		fmt.Fprintf(&file, "[[registry]]\nlocation = \"r%d.example.com\"\n", i)
	}
	start := time.Now()
	node := read(t, file.String())
	require.Less(t, time.Since(start), 90*time.Second)
	require.Empty(t, node.Route(mirrors.CRIO, image(t, "r1.example.com/app"), false).Broken)

	node = read(t, "--- etc/containers/registries.conf\n[[registry]]\nlocation = \"a.example.com\"\n[[registry]]\nprefix = \"b.example.com\"\nlocation = \"a.example.com\"\nblocked = true")
	require.Contains(t, node.Route(mirrors.CRIO, image(t, "a.example.com/app"), false).Broken, "differ in insecure or blocked")
}

// TestHostsFileIsBounded has a hosts.toml with more hosts, and more files of one host, than anyone has.
func TestHostsFileIsBounded(t *testing.T) {
	const name = containerd2Conf + "--- etc/containerd/certs.d/origin.example.com/hosts.toml\n"
	var hosts strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&hosts, "[host.\"https://m%d.example.com\"]\n", i)
	}
	files := "ca = [" + strings.Repeat("\"/usr/ca.pem\", ", 2000) + "]\n"
	for _, text := range []string{hosts.String(), files, "[host.\"https://m.example.com\"]\n" + files} {
		node := read(t, name+text)
		route := node.Route(mirrors.Containerd2, image(t, "origin.example.com/app"), true)
		require.Contains(t, route.Broken, "more than")
		require.Empty(t, route.Hops)
		result, err := (&mirrors.Checker{}).Check(t.Context(), node, route)
		require.ErrorIs(t, err, registry.ErrInvalid)
		require.Equal(t, validate.Unknown, result.Pulls, "the limit is this program's")
		require.NotEmpty(t, node.Lint(mirrors.LintOptions{Runtimes: []mirrors.Runtime{mirrors.Containerd2}}))
	}
}

// A changingFS loses a file after it was opened some times.
type changingFS struct {
	fstest.MapFS
	name string
	left atomic.Int32
}

func (f *changingFS) Open(name string) (fs.File, error) {
	if name == f.name && f.left.Add(-1) < 0 {
		return nil, fs.ErrNotExist
	}
	return f.MapFS.Open(name)
}

// TestLintWhileFilesChange has a hosts.toml that is removed between two reads.
func TestLintWhileFilesChange(t *testing.T) {
	const name = "etc/containerd/certs.d/origin.example.com/hosts.toml"
	for opens := range int32(12) {
		f := &changingFS{MapFS: files(containerd2Conf + "--- " + name + "\n[host.\"https://a.example.com\"]\n[host.\"https://b.example.com\"]"), name: name}
		f.left.Store(opens)
		node, err := mirrors.Read(f)
		require.NoError(t, err)
		require.NotPanics(t, func() {
			node.Lint(mirrors.LintOptions{Runtimes: []mirrors.Runtime{mirrors.Containerd2}, Registries: []string{"origin.example.com"}})
		})
	}
}

// TestCheckOfIncompleteRoutes has routes that Node.Route did not return.
func TestCheckOfIncompleteRoutes(t *testing.T) {
	checker := mirrors.Checker{NodeLogins: true, RoundTripper: registrytest.NewRoundTripper(&network{})}
	node := read(t, "")
	name := image(t, "origin.example.com/team/app:1")
	hop := mirrors.Hop{Scheme: "https", Host: "origin.example.com", Path: "/v2", Repository: "team/app", Resolves: true, Serves: true}
	login, header, unresolved := hop, hop, hop
	login.Login, header.Header, unresolved.Resolves = mirrors.NodeLogin, true, false
	for _, route := range []mirrors.Route{
		{}, {Runtime: mirrors.Containerd2, Image: name}, {Runtime: mirrors.Containerd2, Image: name, Hops: []mirrors.Hop{unresolved}},
		{Runtime: mirrors.Containerd2, Image: name, Hops: []mirrors.Hop{login}}, {Runtime: mirrors.Containerd2, Image: name, Hops: []mirrors.Hop{header}},
	} {
		result, err := checker.Check(t.Context(), node, route)
		require.ErrorIs(t, err, registry.ErrInvalid)
		require.ErrorContains(t, err, "Node.Route")
		require.Equal(t, validate.Unknown, result.Pulls)
	}
}

// TestUnverifiedConnectionsAreClosed has a host whose certificate is not verified.
func TestUnverifiedConnectionsAreClosed(t *testing.T) {
	server := httptest.NewUnstartedServer(open(holding(t, registrytest.Image{})))
	closed := make(chan struct{}, 100)
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			closed <- struct{}{}
		}
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	node := read(t, "")
	route := node.Route(mirrors.Containerd2, image(t, strings.TrimPrefix(server.URL, "https://")+"/team/app:1"), false)
	result, err := (&mirrors.Checker{SkipVerify: true}).Check(t.Context(), node, route)
	require.NoError(t, err)
	require.Equal(t, validate.Yes, result.Pulls)
	select {
	case <-closed:
	case <-time.After(time.Minute):
		t.Fatal("the connection stays open")
	}
}

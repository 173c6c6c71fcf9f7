package doctest_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestCompatibility compares the versions in the table of docs/compatibility.md with those that the tests named there
// use.
func TestCompatibility(t *testing.T) {
	text := documents(t)[filepath.Join("docs", "compatibility.md")]
	for _, c := range []struct{ row, file, version string }{
		{"Go", "go.mod", `(?m)^go (1\.\d+)`},
		{"client-go", "inject/kube/go.mod", `k8s\.io/client-go (v0\.\d+)`},
		{"client-go", "internal/newest/go.mod", `k8s\.io/client-go (v0\.\d+)`},
		{"controller-runtime", "inject/kube/go.mod", `controller-runtime (v0\.\d+)`},
		{"controller-runtime", "tools/release/consumers.go", `newestControllerRuntime = "(v0\.\d+)`},
		{"Kubernetes API server", "scripts/kubernetes", `(?m)^kubernetes=(1\.\d+)`},
		{"kubelet", "scripts/kubernetes", `(?m)^kubernetes=(1\.\d+)`},
		{"containerd", "internal/runtimes/go.mod", `containerd/v2 v(2\.\d+)`},
		{"containerd", "internal/runtimes/containerd1/go.mod", `containerd/containerd v(1\.\d+)`},
		{"registries", "internal/e2e/go.mod", `distribution/v3 v(3\.\d+)`},
		{"registries", "scripts/gitea", `(?m)^gitea=(1\.\d+)`},
		{"Prometheus", "internal/monitoring/go.mod", `prometheus/prometheus v0\.(3)\d\d`},
	} {
		source, err := os.ReadFile(filepath.Join(root, c.file))
		require.NoError(t, err)
		m := regexp.MustCompile(c.version).FindSubmatch(source)
		require.NotNil(t, m, "%s has no %s", c.file, c.version)
		found := false
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, "| "+c.row+" ") || strings.HasPrefix(line, "| "+c.row+",") {
				found = true
				require.Regexp(t, `(^|[^.\d])`+regexp.QuoteMeta(string(m[1]))+`($|\D)`, line, "%s has %s", c.file, m[1])
			}
		}
		require.True(t, found, "the table has no row for %s", c.row)
	}
}

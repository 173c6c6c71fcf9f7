package archtest_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	pinnedAction = regexp.MustCompile(`uses: [a-z0-9-]+/[a-z0-9/-]+@[0-9a-f]{40} # v[0-9]+\.[0-9]+\.[0-9]+$`)
	pinnedImage  = regexp.MustCompile(`^FROM (--platform=\S+ )?(scratch|\S+@sha256:[0-9a-f]{64})( AS \S+)?$`)
)

// TestPinned finds actions and base images that are pinned by a tag, which their owner can move, and workflows that
// keep the default rights of a token.
func TestPinned(t *testing.T) {
	workflows, err := filepath.Glob(filepath.Join(root(t), ".github", "workflows", "*.yml"))
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(workflows), 4)
	actions := 0
	for _, file := range workflows {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Contains(t, string(text), "\npermissions:\n  contents: read\n", file)
		for line := range strings.Lines(string(text)) {
			line = strings.TrimSpace(line)
			if strings.Contains(line, "uses: ") {
				actions++
				require.Regexp(t, pinnedAction, line, file)
			}
			if strings.Contains(line, "run: ") {
				require.NotContains(t, line, "${{", "%s: an expression in a command is read as shell", file)
			}
		}
	}
	require.Greater(t, actions, 8)
	for _, dir := range []string{"examples/operator"} {
		text, err := os.ReadFile(filepath.Join(root(t), dir, "Dockerfile"))
		require.NoError(t, err)
		for line := range strings.Lines(string(text)) {
			if line = strings.TrimSpace(line); strings.HasPrefix(line, "FROM ") {
				require.Regexp(t, pinnedImage, line, dir)
			}
		}
	}
}

// TestNewestPatch finds workflows that do not build with the newest patch of Go. actions/setup-go exports
// GOTOOLCHAIN=local, so an older patch cannot build a module that requires a newer one, and a released program would have
// the standard library of that older patch.
func TestNewestPatch(t *testing.T) {
	gomod, err := os.ReadFile(filepath.Join(root(t), "go.mod"))
	require.NoError(t, err)
	language := regexp.MustCompile(`(?m)^go (1\.[0-9]+)`).FindSubmatch(gomod)
	require.NotNil(t, language)
	workflows, err := filepath.Glob(filepath.Join(root(t), ".github", "workflows", "*.yml"))
	require.NoError(t, err)
	setups := 0
	for _, file := range workflows {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		// A step ends where the next item of the list begins.
		for _, step := range regexp.MustCompile(`(?m)^ *- `).Split(string(text), -1) {
			if !strings.Contains(step, "uses: actions/setup-go@") {
				continue
			}
			setups++
			require.Regexp(t, `(?m)^ +go-version: "`+regexp.QuoteMeta(string(language[1]))+`\.x"( #.*)?$`, step, file)
			require.Regexp(t, `(?m)^ +check-latest: true( #.*)?$`, step, file)
			require.NotContains(t, step, "go-version-file:", file)
		}
	}
	require.GreaterOrEqual(t, setups, 4)
}

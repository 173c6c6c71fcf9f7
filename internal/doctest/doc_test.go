package doctest_test

import (
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const root = "../.."

// ignored reports whether the go command ignores a folder because of its name: it may hold anything.
func ignored(folder fs.DirEntry) bool {
	return strings.HasPrefix(folder.Name(), ".") || strings.HasPrefix(folder.Name(), "_")
}

// documents returns the Markdown files of the repository by their path from the root, with their text.
func documents(t *testing.T) map[string]string {
	t.Helper()
	found := make(map[string]string)
	require.NoError(t, filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && name != root && (ignored(entry) || entry.Name() == "node_modules") {
			return fs.SkipDir
		}
		if strings.HasSuffix(name, ".md") {
			text, err := os.ReadFile(name)
			relative, _ := filepath.Rel(root, name)
			found[relative] = string(text)
			return err
		}
		return nil
	}))
	require.Greater(t, len(found), 20)
	return found
}

var (
	link    = regexp.MustCompile(`\[[^\]]*\]\(([^)\s]+)\)`)
	image   = regexp.MustCompile(`!\[([^\]]*)\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	fence   = regexp.MustCompile("(?ms)^```([a-z]*)\n(.*?)^```")
	code    = regexp.MustCompile("`[^`]*`")
)

// anchors returns the anchors that GitHub makes from the headings.
func anchors(text string) map[string]bool {
	found := make(map[string]bool)
	for _, m := range heading.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		var b strings.Builder
		for _, r := range strings.ToLower(m[1]) {
			switch {
			case r == ' ':
				b.WriteByte('-')
			case r == '-' || r == '_' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r > 0x7f:
				b.WriteRune(r)
			}
		}
		found[b.String()] = true
	}
	return found
}

// TestLinks follows the links between files and to headings. Links to other sites are not followed.
func TestLinks(t *testing.T) {
	all := documents(t)
	for name, text := range all {
		for _, m := range link.FindAllStringSubmatch(code.ReplaceAllString(fence.ReplaceAllString(text, ""), ""), -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			file := name
			if target != "" {
				file = filepath.Join(filepath.Dir(name), target)
			}
			if _, err := os.Stat(filepath.Join(root, file)); err != nil {
				t.Errorf("%s: link to %s, which does not exist", name, m[1])
				continue
			}
			if other, ok := all[file]; anchor != "" && ok && !anchors(other)[anchor] {
				t.Errorf("%s: link to %s, which has no such heading", name, m[1])
			}
		}
	}
}

// path matches a path in backquotes.
var path = regexp.MustCompile("`([a-z][a-z0-9_]*(?:/[a-z0-9_.]+)+)`")

// TestImages requires a description in words for every image, and a page for every drawing.
func TestImages(t *testing.T) {
	shown := make(map[string]bool)
	for name, text := range documents(t) {
		for _, m := range image.FindAllStringSubmatch(text, -1) {
			require.Greater(t, len(strings.Fields(m[1])), 3, "%s: describe the image %s", name, m[2])
			shown[filepath.Join(filepath.Dir(name), m[2])] = true
		}
	}
	drawings, err := filepath.Glob(filepath.Join(root, "docs/diagrams/*.svg"))
	require.NoError(t, err)
	require.NotEmpty(t, drawings)
	for _, drawing := range drawings {
		relative, _ := filepath.Rel(root, drawing)
		require.True(t, shown[relative], "%s is on no page", relative)
	}
}

var tag = regexp.MustCompile(`/v\d+\.\d+\.\d+$`)

// TestPaths rejects outdated paths: each path in backquotes that starts with a folder of this tree exists.
func TestPaths(t *testing.T) {
	exists := func(elements ...string) bool {
		_, err := os.Stat(filepath.Join(elements...))
		return err == nil
	}
	checked := 0
	for name, text := range documents(t) {
		for _, m := range path.FindAllStringSubmatch(text, -1) {
			first, _, _ := strings.Cut(m[1], "/")
			if m[1] == "registry/app" || !exists(root, first) { // The first is the name of an image.
				continue
			}
			checked++
			m[1] = tag.ReplaceAllString(m[1], "") // The tag of a module is its folder and a version.
			if !exists(root, m[1]) && !exists(root, filepath.Dir(name), m[1]) {
				t.Errorf("%s names %s, which does not exist", name, m[1])
			}
		}
	}
	require.Greater(t, checked, 50)
}

// TestPrograms compiles every complete program in the documentation.
func TestPrograms(t *testing.T) {
	count := 0
	for name, text := range documents(t) {
		for _, m := range fence.FindAllStringSubmatch(text, -1) {
			if m[1] != "go" || !strings.HasPrefix(m[2], "package ") {
				continue
			}
			count++
			// Within the module, in a folder that ./... does not match.
			dir, err := os.MkdirTemp(".", "_program-")
			require.NoError(t, err)
			t.Cleanup(func() { _ = os.RemoveAll(dir) })
			require.NoError(t, os.WriteFile(filepath.Join(dir, "main.go"), []byte(m[2]), 0o600))
			output, err := exec.CommandContext(t.Context(), "go", "vet", "./"+dir).CombinedOutput()
			require.NoError(t, err, "%s: %s", name, output)
		}
	}
	require.Positive(t, count)
}

// TestJSON parses every JSON text in the documentation.
func TestJSON(t *testing.T) {
	for name, text := range documents(t) {
		for _, m := range fence.FindAllStringSubmatch(text, -1) {
			if m[1] == "json" {
				whole := json.Valid([]byte(m[2])) || json.Valid([]byte("{"+m[2]+"}")) // A part of an object.
				require.True(t, whole, "%s: %s", name, m[2])
			}
		}
	}
}

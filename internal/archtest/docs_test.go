package archtest_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	link = regexp.MustCompile(`\]\(([^)#\s]+)[^)]*\)`)
	// A path in backquotes.
	quoted = regexp.MustCompile("`([a-z][a-z0-9_]*(?:/[a-z0-9_.]+)+)`")
)

// TestDocsNameWhatExists keeps old paths out of the documents: each link, and each path in backquotes that starts with a
// folder of this tree, leads somewhere.
func TestDocsNameWhatExists(t *testing.T) {
	dir := root(t)
	exists := func(path string) bool {
		_, err := os.Stat(path)
		return err == nil
	}
	checked := 0
	err := filepath.WalkDir(dir, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := entry.Name(); entry.IsDir() && (strings.HasPrefix(name, ".") || name == "testdata") {
			return fs.SkipDir
		}
		if filepath.Ext(file) != ".md" {
			return nil
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if !strings.Contains(m[1], ":") {
				checked++
				if !exists(filepath.Join(filepath.Dir(file), m[1])) {
					t.Errorf("%s links %s, which does not exist", file, m[1])
				}
			}
		}
		for _, m := range quoted.FindAllStringSubmatch(string(text), -1) {
			first, _, _ := strings.Cut(m[1], "/")
			if m[1] != "registry/app" && exists(filepath.Join(dir, first)) { // That one is the name of an image.
				checked++
				if !exists(filepath.Join(dir, m[1])) && !exists(filepath.Join(filepath.Dir(file), m[1])) {
					t.Errorf("%s names %s, which does not exist", file, m[1])
				}
			}
		}
		return nil
	})
	require.NoError(t, err)
	require.Greater(t, checked, 50, "the links are not found")
}

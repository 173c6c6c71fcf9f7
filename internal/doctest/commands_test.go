package doctest_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	goTest   = regexp.MustCompile(`go test ([^\x60\n)]*)`)
	pattern  = regexp.MustCompile(`-(run|bench|fuzz)[ =]('[^']*'|[^ ]+)`)
	goRun    = regexp.MustCompile(`(?:cd ([a-z/-]+) && )?go run (?:-C ([a-z/]+) )?(\.[a-z/-]*)`)
	scripted = regexp.MustCompile(`\b(scripts/[a-z]+)\b`)
)

// testNames returns the names of all tests, benchmarks and fuzz targets of the repository.
func testNames(t *testing.T) []string {
	t.Helper()
	var names []string
	require.NoError(t, filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && name != root && ignored(entry) {
			return fs.SkipDir // scripts/release keeps the modules of others in .cache.
		}
		if entry.IsDir() || !strings.HasSuffix(name, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil {
				names = append(names, f.Name.Name)
			}
		}
		return nil
	}))
	return names
}

// TestCommands looks up what the commands of the documentation name: tests, programs, scripts.
func TestCommands(t *testing.T) {
	names := testNames(t)
	tests, programs := 0, 0
	for page, text := range documents(t) {
		for _, command := range goTest.FindAllStringSubmatch(text, -1) {
			for _, flag := range pattern.FindAllStringSubmatch(command[1], -1) {
				want := strings.ReplaceAll(strings.Trim(flag[2], "'."), `\|`, "|") // In a table, and at the end of a sentence.
				if want == "^$" {
					continue
				}
				tests++
				first, _, _ := strings.Cut(want, "/")
				match, err := regexp.Compile(first)
				require.NoError(t, err, "%s: %s", page, command[0])
				prefix := map[string]string{"run": "", "bench": "Benchmark", "fuzz": "Fuzz"}[flag[1]]
				found := false
				for _, name := range names {
					found = found || strings.HasPrefix(name, prefix) && match.MatchString(name)
				}
				require.True(t, found, "%s: no test has the name in %q", page, command[0])
			}
		}
		for _, command := range goRun.FindAllStringSubmatch(text, -1) {
			if command[3] == "." && command[1] == "" && filepath.Dir(page) == "docs" {
				continue // The folder is on another line.
			}
			programs++
			dir := filepath.Join(command[1], command[2], command[3])
			sources, err := filepath.Glob(filepath.Join(root, dir, "*.go"))
			require.NoError(t, err)
			below, err := filepath.Glob(filepath.Join(root, filepath.Dir(page), dir, "*.go")) // The README of a program.
			require.NoError(t, err)
			require.NotEmpty(t, append(sources, below...), "%s: %q names no program", page, command[0])
		}
		for _, script := range scripted.FindAllStringSubmatch(text, -1) {
			_, err := os.Stat(filepath.Join(root, script[1]))
			require.NoError(t, err, page)
		}
	}
	require.Greater(t, tests, 20)
	require.Greater(t, programs, 4)
}

// TestRuns runs the commands of the documentation that end by themselves and need nothing but Go.
func TestRuns(t *testing.T) {
	for _, c := range []struct {
		page, command string
		want          string
	}{
		{"README.md", "go run github.com/regcred/regcred/examples/quickstart", "kind: Secret"},
		{"docs/provider.md", "go run ./examples/provider", ""},
	} {
		t.Run(c.command, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join(root, c.page))
			require.NoError(t, err)
			require.Contains(t, string(text), "\n    "+c.command)
			command := exec.CommandContext(t.Context(), "sh", "-c", c.command)
			command.Dir = root
			output, err := command.CombinedOutput()
			require.NoError(t, err, "%s", output)
			require.Contains(t, string(output), c.want)
		})
	}
}

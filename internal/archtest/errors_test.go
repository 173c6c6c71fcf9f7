package archtest_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestErrorsHaveOneMeaning fails if two packages, of any modules, export an error with the same name: a reader, or a
// program that imports the wrong package, would confuse the two.
func TestErrorsHaveOneMeaning(t *testing.T) {
	found := exportedErrors(t, root(t))
	require.Greater(t, len(found), 40, "the errors are not found where they are expected")
	for name, places := range found {
		if len(places) > 1 {
			t.Errorf("%s is declared more than once: %s", name, strings.Join(places, ", "))
		}
	}
}

func TestExportedErrorsSeesCollisions(t *testing.T) {
	found := make(map[string][]string)
	for _, src := range []string{
		"package a\nvar ErrX = errors.New(\"x\")\nfunc f() { var ErrZ = 1 }",
		"package b\nconst (\n\tErrX Code = \"x\"\n\tErrY Code = \"y\"\n)\nvar errX, Error = 1, 2",
	} {
		file, err := parser.ParseFile(token.NewFileSet(), "x.go", src, 0)
		require.NoError(t, err)
		collectErrors(file, file.Name.Name, found)
	}
	require.Equal(t, map[string][]string{"ErrX": {"a", "b"}, "ErrY": {"b"}}, found)
}

// exportedErrors returns the packages that declare an exported error, by its name.
func exportedErrors(t *testing.T, dir string) map[string][]string {
	t.Helper()
	found := make(map[string][]string)
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && path != dir && (ignored(entry) || entry.Name() == "testdata") {
			return fs.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return fmt.Errorf("parse %s: %w", path, err)
		}
		place, err := filepath.Rel(dir, filepath.Dir(path))
		if err != nil {
			return err
		}
		collectErrors(file, filepath.ToSlash(place), found)
		return nil
	})
	require.NoError(t, err)
	return found
}

func collectErrors(file *ast.File, place string, found map[string][]string) {
	for _, decl := range file.Decls {
		values, ok := decl.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range values.Specs {
			value, ok := spec.(*ast.ValueSpec)
			if !ok {
				continue
			}
			for _, name := range value.Names {
				rest, ok := strings.CutPrefix(name.Name, "Err")
				if ok && rest != "" && ast.IsExported(rest) && !slices.Contains(found[name.Name], place) {
					found[name.Name] = append(found[name.Name], place)
				}
			}
		}
	}
}

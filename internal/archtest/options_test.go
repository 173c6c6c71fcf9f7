package archtest_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// defaults matches the doc of a numeric option that has a default. "Zero means none" and the like are no such default.
var defaults = regexp.MustCompile(`(?s)Zero\s+(?:means|is)\s+(?:a |an |about |once a )?(?:\d|one|ten|half|day|hour|minute|second)`)

// fakes have fields that configure their responses; there, negative values are valid responses too.
var fakes = regexp.MustCompile(`(^|/)(ecrtest|gcrtest|acrtest|federatedtest|credentialstest|providerstest)/`)

// TestNumericOptions finds numeric options with a default that are not read with package internal/option, the only
// package that implements the meaning of zero and negative values.
func TestNumericOptions(t *testing.T) {
	options := make(map[string]bool) // The names of the fields.
	var files []*ast.File
	names := make(map[*ast.File]string)
	set := token.NewFileSet()
	err := filepath.WalkDir(root(t), func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root(t), name)
		if err != nil {
			return err
		}
		relative = filepath.ToSlash(relative)
		if entry.IsDir() && (relative != "." && ignored(entry) || relative == "benchmarks" || relative == "examples") {
			return fs.SkipDir
		}
		if !strings.HasSuffix(relative, ".go") || strings.HasSuffix(relative, "_test.go") || fakes.MatchString(relative) {
			return nil
		}
		file, err := parser.ParseFile(set, name, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		files, names[file] = append(files, file), relative
		ast.Inspect(file, func(n ast.Node) bool {
			s, ok := n.(*ast.StructType)
			if !ok {
				return true
			}
			for _, f := range s.Fields.List {
				if defaults.MatchString(f.Doc.Text()) && isNumber(f.Type) {
					for _, ident := range f.Names {
						options[ident.Name] = ident.IsExported()
					}
				}
			}
			return true
		})
		return nil
	})
	require.NoError(t, err)
	require.Greater(t, len(options), 10, "options were found")
	isOption := func(e ast.Expr) bool {
		s, ok := e.(*ast.SelectorExpr)
		return ok && options[s.Sel.Name]
	}
	for _, file := range files {
		ast.Inspect(file, func(n ast.Node) bool {
			bad := false
			switch n := n.(type) {
			case *ast.BinaryExpr: // c.Timeout == 0. Package option cannot validate a range.
				literal, ok := n.Y.(*ast.BasicLit)
				bad = isOption(n.X) && ok && literal.Value == "0" && n.Op != token.GTR
			case *ast.CallExpr:
				if s, ok := n.Fun.(*ast.SelectorExpr); ok && s.Sel.Name == "Or" && len(n.Args) > 0 {
					bad = isOption(n.Args[0])
				}
			}
			if bad {
				t.Errorf("%s: a numeric option is read without package internal/option (%s)", set.Position(n.Pos()), names[file])
			}
			return true
		})
	}
}

func isNumber(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name == "int" || e.Name == "int64" || e.Name == "float64"
	case *ast.SelectorExpr:
		return e.Sel.Name == "Duration"
	}
	return false
}

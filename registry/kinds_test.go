package registry_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/registry"
)

// declaredKinds returns the constants of type Kind in kind.go.
func declaredKinds(t *testing.T) []registry.Kind {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "kind.go", nil, 0)
	require.NoError(t, err)
	var kinds []registry.Kind
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok {
			if typ, ok := spec.Type.(*ast.Ident); ok && typ.Name == "Kind" {
				text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
				require.NoError(t, err)
				kinds = append(kinds, registry.Kind(text))
			}
		}
		return true
	})
	require.Contains(t, kinds, registry.ACR)
	return kinds
}

// Validate knows every kind.
func TestValidateKnowsAllKinds(t *testing.T) {
	missing := registry.Profile{Name: "a", Endpoint: "registry.example.com"}.Validate()
	for _, kind := range declaredKinds(t) {
		require.ErrorContains(t, missing, string(kind)+", ")
		p := registry.Profile{Name: "a", Kind: kind, Login: credentials.Login{Anonymous: true, Settings: map[string]string{"a": "b"}}}
		if err := p.Validate(); kind != registry.Custom {
			require.ErrorContains(t, err, "login.settings is set", kind)
		} else {
			require.False(t, strings.Contains(err.Error(), "settings"), kind)
		}
	}
}

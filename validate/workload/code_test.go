package workload_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/validate/workload"
)

func TestErrorsHaveACode(t *testing.T) {
	for _, manifest := range []string{
		"{{ template }}", "services: {}", "apiVersion: v1\nkind: Pod\nspec: {containers: [{name: a, image: 'A B'}]}", strings.Repeat(" ", 65<<20),
	} {
		_, err := workload.Images([]byte(manifest))
		require.Error(t, err)
		require.Equal(t, registry.ErrInvalid, registry.CodeOf(err), "%v", err)
		for _, issue := range registry.IssuesOf(err) {
			require.Equal(t, registry.ErrInvalid, issue.Code)
		}
	}
}

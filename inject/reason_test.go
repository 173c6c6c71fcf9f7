package inject_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/registry"
)

func TestReason(t *testing.T) {
	for reason, err := range map[string]error{
		"NameTaken":          fmt.Errorf("create secret: %w", inject.ErrForeign),
		"WrongType":          inject.ErrType,
		"Contested":          inject.ErrContested,
		"OlderCredential":    inject.ErrOlder,
		"Conflict":           inject.ErrConflict,
		"NamespaceGone":      inject.ErrNamespace,
		"Invalid":            inject.Target{}.Validate(),
		"ImageNotFound":      &registry.Error{Op: "check image", Code: registry.ErrImageNotFound},
		"ClusterUnavailable": fmt.Errorf("create secret: %w: EOF", inject.ErrUnavailable),
		"Failed":             errors.New("out of paper"),
	} {
		require.Equal(t, reason, inject.Problem{Err: err}.Reason())
	}
}

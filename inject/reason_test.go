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
		"NameTaken":          fmt.Errorf("create secret: %w", registry.ErrNameTaken),
		"WrongType":          registry.ErrWrongType,
		"Contested":          registry.ErrContested,
		"OlderCredential":    registry.ErrOlderCredential,
		"Conflict":           registry.ErrConflict,
		"NamespaceGone":      registry.ErrNamespaceGone,
		"Invalid":            inject.Target{}.Validate(),
		"ImageNotFound":      &registry.Error{Op: "check image", Code: registry.ErrImageNotFound},
		"ClusterUnavailable": fmt.Errorf("create secret: %w: EOF", registry.ErrClusterUnavailable),
		"Failed":             errors.New("out of paper"),
	} {
		require.Equal(t, reason, inject.Problem{Err: err}.Reason())
	}
}

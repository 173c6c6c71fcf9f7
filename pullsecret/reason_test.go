package pullsecret_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/pullsecret"
	"github.com/regcred/regcred/registry"
)

func TestReason(t *testing.T) {
	for reason, err := range map[string]error{
		"NameTaken":          fmt.Errorf("create secret: %w", pullsecret.ErrForeign),
		"WrongType":          pullsecret.ErrType,
		"Contested":          pullsecret.ErrContested,
		"OlderCredential":    pullsecret.ErrOlder,
		"Conflict":           pullsecret.ErrConflict,
		"NamespaceGone":      pullsecret.ErrNamespace,
		"Invalid":            pullsecret.Target{}.Validate(),
		"ImageNotFound":      &registry.Error{Op: "check image", Code: registry.ErrImageNotFound},
		"ClusterUnavailable": fmt.Errorf("create secret: %w: EOF", pullsecret.ErrUnavailable),
		"Failed":             errors.New("out of paper"),
	} {
		require.Equal(t, reason, pullsecret.Problem{Err: err}.Reason())
	}
}

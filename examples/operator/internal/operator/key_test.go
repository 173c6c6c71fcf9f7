package operator

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/inject/kube"
)

// A key that cannot be read or is too short does not replace the one in use, and the next reading may succeed.
func TestUseKey(t *testing.T) {
	o := &operator{controller: &kube.Controller{Syncer: &inject.Syncer{}}}
	was, is := credentials.NewSecret("0123456789abcdef"), credentials.NewSecret("fedcba9876543210")
	use := func(key, read credentials.Secret, err error) credentials.Secret {
		return o.useKey(t.Context(), key, func(context.Context) (credentials.Secret, error) { return read, err })
	}
	due := func() bool { return !o.controller.Syncer.NextAt().IsZero() }
	require.True(t, use(was, was, nil).Equal(was))
	require.True(t, use(was, credentials.Secret{}, errors.New("no response")).Equal(was))
	require.True(t, use(was, credentials.NewSecret("short"), nil).Equal(was))
	require.False(t, due())
	require.True(t, use(was, is, nil).Equal(is))
	require.True(t, due(), "the published secrets are signed again")
}

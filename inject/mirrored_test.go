package inject_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/pullsecret"
	"github.com/regcred/regcred/registry"
)

// The nodes have their own login at their mirror of hub.example.com, which a pull secret would disable.
func TestMirroredRegistriesAreLeftOut(t *testing.T) {
	w := newWorld(t, "a")
	both, one := target("both", profile("ecr"), profile("hub")), target("one", profile("hub"))
	w.clean(both, one)
	require.Equal(t, []string{"both", "one"}, w.pullSecrets("a"))

	w.syncer.Mirrored = []string{"https://hub.example.com/team"}
	result := w.clean(both, one)
	require.Equal(t, map[inject.Action]int{inject.UpdateSecret: 1, inject.LinkAccount: 1, inject.DeleteSecret: 1}, actions(result))
	require.Len(t, result.Warnings, 2)
	for _, warning := range result.Warnings {
		require.ErrorIs(t, warning, registry.ErrMirrored)
		require.Equal(t, "hub", warning.Profile)
		require.Equal(t, "Mirrored", warning.Reason())
		require.Contains(t, warning.Error(), "hub.example.com")
	}
	require.Equal(t, []string{"both"}, w.pullSecrets("a"), "pods with a secret that is gone would report it")
	require.Nil(t, w.secret("a", "one"))
	s := w.secret("a", "both")
	require.Equal(t, "ecr", s.Annotations[inject.AnnotationProfiles])
	config, err := pullsecret.Parse(s.Data[pullsecret.SecretKey])
	require.NoError(t, err)
	require.Equal(t, []string{"ecr.example.com"}, config.Keys())
	require.Len(t, w.syncer.Warnings("both"), 1)
	require.Empty(t, w.clean(both, one).Changed)

	w.syncer.Mirrored = []string{"*"}
	w.clean(both, one)
	require.Empty(t, w.pullSecrets("a"))
	w.syncer.Mirrored = nil
	require.Empty(t, w.clean(both, one).Warnings)
	require.Equal(t, []string{"both", "one"}, w.pullSecrets("a"))
}

func TestMirroredIsChecked(t *testing.T) {
	w := newWorld(t, "a")
	w.syncer.Mirrored = []string{"ghcr.io", "not a host"}
	_, err := w.syncer.Sync(t.Context(), []inject.Target{target("one", profile("hub"))})
	require.ErrorIs(t, err, registry.ErrInvalid)
	require.ErrorContains(t, err, `Syncer.Mirrored has "not a host"`)
}

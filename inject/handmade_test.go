package inject_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/inject"
	"github.com/regcred/regcred/inject/injecttest"
	"github.com/regcred/regcred/pullsecret"
	"github.com/regcred/regcred/registry"
)

// The guide docs/kubernetes.md describes how to replace pull secrets that people have made, and how to remove all
// secrets of an owner.
func TestHandMadeSecrets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a")
		w.syncer.CompleteLists = true
		existing := injecttest.SecretObject{
			Name: "regcred", Type: pullsecret.SecretType, Labels: map[string]string{"team": "shop"},
			Data: map[string][]byte{pullsecret.SecretKey: []byte(`{"auths":{"old.example.com":{"auth":"dTpw"}}}`)},
		}
		require.NoError(t, w.WriteSecret(t.Context(), "a", existing))
		account := injecttest.AccountObject{Name: "default", PullSecrets: []string{"regcred"}}
		require.NoError(t, w.WriteAccount(t.Context(), "a", account))
		uid := w.secret("a", "regcred").UID

		// A secret without the owner's label stays as it is.
		require.ErrorIs(t, w.sync(target("regcred", profile("ecr"))).Err(), registry.ErrNameTaken)
		require.Equal(t, existing.Data, w.secret("a", "regcred").Data)

		// With the label, its content is replaced in place, at the next attempt.
		existing.Labels[inject.LabelOwner] = "regcred"
		require.NoError(t, w.WriteSecret(t.Context(), "a", existing))
		time.Sleep(5 * time.Minute)
		result := w.clean(target("regcred", profile("ecr")))
		require.Equal(t, map[inject.Action]int{inject.UpdateSecret: 1}, actions(result))
		s := w.secret("a", "regcred")
		require.Equal(t, uid, s.UID)
		require.Equal(t, "shop", s.Labels["team"])
		config, err := pullsecret.Parse(s.Data[pullsecret.SecretKey])
		require.NoError(t, err)
		require.Equal(t, []string{"ecr.example.com"}, config.Keys())

		// An empty list removes the secret, but not the entry that somebody else has made.
		w.clean(target("regcred", profile("ecr")), target("second", profile("hub")))
		require.Equal(t, []string{"regcred", "second"}, w.pullSecrets("a"))
		w.clean()
		require.Nil(t, w.secret("a", "regcred"))
		require.Nil(t, w.secret("a", "second"))
		require.Equal(t, []string{"regcred"}, w.pullSecrets("a"))
		left, err := w.Account(t.Context(), "a", "default")
		require.NoError(t, err)
		require.NotContains(t, left.Annotations, inject.LinkedAnnotation("regcred"))
	})
}

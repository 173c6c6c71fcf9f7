package pullsecret_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/pullsecret"
	"github.com/regcred/regcred/registry"
)

// One secret that a kubelet cannot decode keeps every image of the pod from being pulled. The API server accepts both
// contents; both were tried on a real kubelet.
func TestUndecodableSecretBlocksThePod(t *testing.T) {
	good := pullsecret.PodSecret{Name: "good", Content: []byte(`{"auths":{"ghcr.io":{"username":"a","password":"b"}}}`)}
	for _, content := range []string{`{"auths":[]}`, `{"auths":{"quay.io":{"auth":"???"}}}`} {
		bad := pullsecret.PodSecret{Name: "bad", Content: []byte(content)}
		_, err := pullsecret.ParsePod(good, bad)
		require.ErrorIs(t, err, registry.ErrInvalid)
		require.ErrorContains(t, err, "read pull secret bad")
		require.Contains(t, registry.HintOf(err), "no image of the pod")

		findings := pullsecret.LintPod(time.Now(), good, bad)
		require.Len(t, findings, 1)
		require.Equal(t, pullsecret.Undecodable, findings[0].Rule)
		require.Equal(t, "bad", findings[0].Secret)
		require.True(t, findings[0].Fatal)
		require.Contains(t, findings[0].String(), "bad")
	}
	configs, err := pullsecret.ParsePod(good, pullsecret.PodSecret{Name: "empty", Content: []byte(`{"auths":{}}`)})
	require.NoError(t, err)
	require.Len(t, configs, 2)
}

// The hash by which a kubelet recognizes a login includes the email.
func TestEmailMakesTwoLogins(t *testing.T) {
	secret := func(name, email string) pullsecret.PodSecret {
		return pullsecret.PodSecret{Name: name, Content: []byte(`{"auths":{"ghcr.io":{"username":"a","password":"b"` + email + `}}}`)}
	}
	with, without := secret("with", `,"email":"a@example.com"`), secret("without", "")
	findings := pullsecret.LintPod(time.Now(), without, with)
	require.Len(t, findings, 1)
	require.Equal(t, pullsecret.EmailDiffers, findings[0].Rule)
	require.Equal(t, "with", findings[0].Secret)
	require.False(t, findings[0].Fatal)
	require.Empty(t, pullsecret.LintPod(time.Now(), with, with))
	require.Empty(t, pullsecret.LintPod(time.Now(), without, without))
}

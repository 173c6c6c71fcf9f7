package regcred_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred"
	"github.com/regcred/regcred/field"
	"github.com/regcred/regcred/pullsecret"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/registrytest"
	"github.com/regcred/regcred/validate"
)

func foreign(t *testing.T, key, username, password string) pullsecret.Config {
	t.Helper()
	auth := base64.StdEncoding.EncodeToString([]byte(username + ":" + password))
	config, err := pullsecret.Parse(fmt.Appendf(nil, `{"auths":{%q:{"auth":%q}}}`, key, auth))
	require.NoError(t, err)
	return config
}

func TestPulls(t *testing.T) {
	r := harbor(t)
	p := newPipeline(hosts{"harbor.test": r})
	a, b := foreign(t, "harbor.test/team-a", "robot-a", "pw-a"), foreign(t, "https://harbor.test", "robot-b", "pw-b")
	images := []string{"harbor.test/team-a/app:1", "harbor.test/team-b/app:1", "harbor.test/team-a/app:2"}

	results, err := p.CheckSecrets(t.Context(), images[:2], a, b)
	require.NoError(t, err)
	require.Equal(t, "harbor.test/team-a", results[0].Candidate)
	require.Equal(t, "https://harbor.test", results[1].Candidate)

	results, err = p.CheckSecrets(t.Context(), images, a)
	require.NoError(t, results[0].Err)
	require.Error(t, results[1].Err, "no entry serves it")
	require.ErrorIs(t, results[2].Err, registry.ErrImageNotFound)
	require.ErrorIs(t, err, registry.ErrImageNotFound)

	// A key that a kubelet never matches.
	results, err = p.CheckSecrets(t.Context(), images[:1], foreign(t, "HARBOR.test", "robot-a", "pw-a"))
	require.Error(t, err)
	require.Error(t, results[0].Err)
}

// A kubelet passes an entry without a login on, and the runtime pulls without one. It tries the next entry only if that
// fails.
func TestPullsWithEntriesWithoutALogin(t *testing.T) {
	public := &registrytest.Registry{Dialect: registrytest.DistributionToken(), Public: []string{"team-a/*"}}
	_, err := public.Add("team-a/app:1", registrytest.Image{})
	require.NoError(t, err)
	p := newPipeline(hosts{"registry.test": public, "harbor.test": harbor(t)})
	for _, entry := range []string{`{}`, `{"identitytoken":"t"}`} {
		empty, err := pullsecret.Parse([]byte(`{"auths":{"registry.test/team-a":` + entry + `,"harbor.test/team-a":` + entry + `}}`))
		require.NoError(t, err)
		results, err := p.CheckSecrets(t.Context(), []string{"registry.test/team-a/app:1", "harbor.test/team-a/app:1"},
			empty, foreign(t, "harbor.test", "robot-a", "pw-a"))
		require.NoError(t, err, entry)
		require.True(t, results[0].Anonymous)
		require.Len(t, results[1].Attempts, 2)
		require.Equal(t, "harbor.test", results[1].Candidate)
	}
}

func TestPullsInvalid(t *testing.T) {
	_, err := newPipeline(nil).CheckSecrets(t.Context(), []string{"harbor.test/app:1", "not an image"})
	require.Equal(t, registry.ErrInvalid, registry.CodeOf(err))
	require.ErrorAs(t, err, new(*field.Errors))
	require.ErrorContains(t, err, "images[1]")
}

// A secret that a kubelet cannot decode is the verdict on every image of the pod, and no request is sent.
func TestCheckPod(t *testing.T) {
	var p regcred.Pipeline
	p.Checker.RoundTripper = roundTripper(func(*http.Request) (*http.Response, error) {
		t.Error("a registry was asked")
		return nil, errors.New("no")
	})
	good := pullsecret.PodSecret{Name: "good", Content: []byte(`{"auths":{"a.example.com":{"username":"a","password":"b"}}}`)}
	bad := pullsecret.PodSecret{Name: "bad", Content: []byte(`{"auths":[]}`)}
	results, err := p.CheckPod(t.Context(), []string{"a.example.com/app:1", "b.example.com/app:1"}, good, bad)
	require.ErrorIs(t, err, registry.ErrInvalid)
	require.ErrorContains(t, err, "bad")
	require.Len(t, results, 2)
	for _, r := range results {
		require.Equal(t, validate.No, r.Pulls)
		require.ErrorIs(t, r.Err, registry.ErrInvalid)
	}
}

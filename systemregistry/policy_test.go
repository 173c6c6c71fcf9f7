package systemregistry_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/systemregistry"
	"github.com/regcred/regcred/systemregistry/images"
)

func TestImmutableTag(t *testing.T) {
	r := start(t, systemregistry.Server{Policies: []images.Policy{{Repositories: "team/fixed", Immutable: true}}})
	digest := r.push(t, "ann", password("ann"), "team/fixed", "1", "layer")
	token := r.token(t, "ann", password("ann"), "repository:team/fixed:pull,push,delete")
	same, _ := manifestOf("layer")
	resp, body := r.put(t, token, "team/fixed", "1", same)
	require.Equal(t, http.StatusCreated, resp.StatusCode, body)

	r.push(t, "ann", password("ann"), "team/fixed", "2", "other layer")
	other, _ := manifestOf("other layer")
	for _, try := range []func() (*http.Response, string){
		func() (*http.Response, string) { return r.put(t, token, "team/fixed", "1", other) },
		func() (*http.Response, string) {
			return r.do(t, "DELETE", "/v2/team/fixed/manifests/1", "", bearer(token))
		},
		func() (*http.Response, string) {
			return r.do(t, "DELETE", "/v2/team/fixed/manifests/"+digest, "", bearer(token))
		},
		func() (*http.Response, string) {
			return r.do(t, "DELETE", "/v2/team/fixed/blobs/"+digestOf("layer"), "", bearer(token))
		},
		func() (*http.Response, string) {
			return r.do(t, "DELETE", "/api/v1/images?repository=team/fixed&reference=1", "", basic("ann", password("ann")))
		},
	} {
		resp, body := try()
		require.Equal(t, http.StatusForbidden, resp.StatusCode, body)
		require.Contains(t, body, "tag is immutable: team/fixed:1")
		require.Empty(t, resp.Header.Get("Www-Authenticate"), "a client would ask for another token")
	}
	got, err := r.Images().Resolve(t.Context(), "team/fixed", "1")
	require.NoError(t, err)
	require.Equal(t, digest, got)
}

// Of many who push the same new tag at once, one wins, and all others are told so.
func TestImmutableTagRace(t *testing.T) {
	r := start(t, systemregistry.Server{Policies: []images.Policy{{Repositories: "team/**", Immutable: true}}})
	token := r.token(t, "ann", password("ann"), "repository:team/app:pull,push")
	layers := strings.Split("a b c d e f g h", " ")
	for _, layer := range layers {
		manifest, config := manifestOf(layer)
		for _, blob := range []string{layer, config} {
			r.upload(t, token, "team/app", blob)
		}
		r.put(t, token, "team/app", digestOf(manifest), manifest)
	}
	var wg sync.WaitGroup
	statuses := make([]int, len(layers))
	for i, layer := range layers {
		wg.Go(func() {
			manifest, _ := manifestOf(layer)
			resp, _ := r.put(t, token, "team/app", "1", manifest)
			statuses[i] = resp.StatusCode
		})
	}
	wg.Wait()
	won := 0
	for _, status := range statuses {
		if status == http.StatusCreated {
			won++
		} else {
			require.Equal(t, http.StatusForbidden, status)
		}
	}
	require.Equal(t, 1, won)
}

func TestQuota(t *testing.T) {
	r := start(t, systemregistry.Server{Policies: []images.Policy{{Repositories: "team/**", MaxBytes: 10_000}}})
	r.push(t, "ann", password("ann"), "team/app", "1", "layer")
	token := r.token(t, "ann", password("ann"), "repository:team/app:pull,push")
	large := strings.Repeat("x", 20_000)
	resp, body := r.upload(t, token, "team/app", large)
	require.Equal(t, http.StatusForbidden, resp.StatusCode, body)
	require.Contains(t, body, "quota is used up")

	resp, _ = r.do(t, "POST", "/v2/team/app/blobs/uploads/", "", bearer(token))
	resp, body = r.do(t, "PATCH", resp.Header.Get("Location"), large, bearer(token), func(r *http.Request) { r.ContentLength = -1 })
	require.Equal(t, http.StatusForbidden, resp.StatusCode, "a length that is not announced: %s", body)
	require.Contains(t, body, "quota is used up")

	// Who has no right cannot use up what others have.
	for range 5 {
		resp, _ = r.do(t, "POST", "/v2/team/app/blobs/uploads/?digest="+digestOf("y"), strings.Repeat("y", 5000), header("Content-Type", "application/octet-stream"))
		require.Equal(t, http.StatusUnauthorized, resp.StatusCode)
	}
	r.push(t, "ann", password("ann"), "team/app", "2", strings.Repeat("z", 5000))
}

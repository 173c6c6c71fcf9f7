package systemregistry_test

import (
	"fmt"
	"math"
	"net/http"
	"strings"
	"sync"
	"testing"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/systemregistry"
	"github.com/regcred/regcred/systemregistry/images"
)

func TestImmutableTag(t *testing.T) {
	everywhere(t, systemregistry.Server{Policies: []images.Policy{{Repositories: "team/fixed", Immutable: true}}}, testImmutableTag)
}

func testImmutableTag(t *testing.T, r *running) {
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
	got, err := r.Images().Image(t.Context(), "team/fixed", "1")
	require.NoError(t, err)
	require.Equal(t, digest, got.Digest)
}

// If many clients push the same new tag at once, one succeeds, and all others get an error.
func TestImmutableTagRace(t *testing.T) {
	everywhere(t, systemregistry.Server{Policies: []images.Policy{{Repositories: "team/**", Immutable: true}}}, testImmutableTagRace)
}

func testImmutableTagRace(t *testing.T, r *running) {
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
	everywhere(t, systemregistry.Server{Policies: []images.Policy{{Repositories: "team/**", MaxBytes: 10_000}}}, testQuota)
}

func testQuota(t *testing.T, r *running) {
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

	// A client without rights cannot use up the quota of others.
	for range 5 {
		resp, _ = r.do(t, "POST", "/v2/team/app/blobs/uploads/?digest="+digestOf("y"), strings.Repeat("y", 5000), header("Content-Type", "application/octet-stream"))
		require.Equal(t, http.StatusUnauthorized, resp.StatusCode)
	}
	r.push(t, "ann", password("ann"), "team/app", "2", strings.Repeat("z", 5000))
}

// No kind of push exceeds the limit, whatever length a client announces, and no push takes up room for bytes that it
// does not send.
func TestQuotaAttacks(t *testing.T) {
	everywhere(t, systemregistry.Server{Policies: []images.Policy{{Repositories: "team/**", MaxBytes: 100_000}}}, testQuotaAttacks)
}

func testQuotaAttacks(t *testing.T, r *running) {
	const limit = 100_000
	push := r.token(t, "ann", password("ann"), "repository:team/app:pull,push")
	begin := func() string {
		resp, _ := r.do(t, "POST", "/v2/team/app/blobs/uploads/", "", bearer(push))
		require.Equal(t, http.StatusAccepted, resp.StatusCode)
		return resp.Header.Get("Location")
	}
	used := func() int64 {
		require.NoError(t, r.Images().Measure(t.Context()))
		total := int64(0)
		err := r.Storage().Walk(t.Context(), "/docker/registry/v2", func(file storagedriver.FileInfo) error {
			if strings.Contains(file.Path(), "/blobs/") || strings.HasSuffix(file.Path(), "/data") {
				total += file.Size()
			}
			return nil
		})
		require.NoError(t, err)
		return total
	}
	announce := func(length int64) func(*http.Request) { return func(r *http.Request) { r.ContentLength = length } }

	t.Run("lengths that do not come", func(t *testing.T) {
		for _, length := range []int64{limit - 1, limit, limit + 1, 1<<62 + 1, math.MaxInt64} {
			for range 3 {
				r.do(t, "PATCH", begin(), "x", bearer(push), announce(length))
			}
		}
		for range 3 {
			resp, _ := r.do(t, "PATCH", begin(), strings.Repeat("x", limit/2), bearer(push), announce(math.MaxInt64))
			require.Equal(t, http.StatusForbidden, resp.StatusCode)
		}
		r.push(t, "ann", password("ann"), "team/app", "1", strings.Repeat("y", limit/2))
	})
	t.Run("manifests", func(t *testing.T) {
		refused := 0
		for i := range 20 {
			manifest, _ := manifestOf(strings.Repeat("y", limit/2))
			manifest = strings.TrimSuffix(manifest, "}") + `,"annotations":{"a":"` + strings.Repeat("z", 20_000+i) + `"}}`
			if resp, _ := r.put(t, push, "team/app", fmt.Sprint("m", i), manifest); resp.StatusCode != http.StatusCreated {
				require.Equal(t, http.StatusForbidden, resp.StatusCode)
				refused++
			}
			require.LessOrEqual(t, used(), int64(limit))
		}
		require.Greater(t, refused, 15)
	})
	t.Run("unfinished uploads and measurements", func(t *testing.T) {
		for range 20 {
			r.do(t, "PATCH", begin(), strings.Repeat("x", 1_000), bearer(push), announce(-1))
			require.LessOrEqual(t, used(), int64(limit))
		}
	})
}

// A client that repeats failing or cancelled pushes does not use up the room of others.
func TestQuotaIsReleased(t *testing.T) {
	everywhere(t, systemregistry.Server{Policies: []images.Policy{{Repositories: "**", MaxBytes: 100_000}}}, testQuotaIsReleased)
}

func testQuotaIsReleased(t *testing.T, r *running) {
	evil := r.token(t, "mallory", password("mallory"), "repository:evil/app:pull,push,delete")
	layer := strings.Repeat("x", 60_000)
	for range 3 {
		resp, _ := r.do(t, "POST", "/v2/evil/app/blobs/uploads/", "", bearer(evil))
		resp, _ = r.do(t, "PATCH", resp.Header.Get("Location"), layer, bearer(evil))
		require.Equal(t, http.StatusAccepted, resp.StatusCode)
		resp, _ = r.do(t, "DELETE", resp.Header.Get("Location"), "", bearer(evil))
		require.Equal(t, http.StatusNoContent, resp.StatusCode)

		resp, _ = r.do(t, "POST", "/v2/evil/app/blobs/uploads/", "", bearer(evil))
		resp, body := r.do(t, "PUT", resp.Header.Get("Location")+"&digest="+digestOf("wrong"), layer, bearer(evil))
		require.Equal(t, http.StatusBadRequest, resp.StatusCode, body)

		resp, _ = r.do(t, "POST", "/v2/evil/app/blobs/uploads/", "", bearer(evil))
		resp, _ = r.do(t, "PATCH", resp.Header.Get("Location"), strings.Repeat("x", 200_000), bearer(evil))
		require.Equal(t, http.StatusForbidden, resp.StatusCode)
	}
	r.push(t, "ann", password("ann"), "team/app", "1", strings.Repeat("y", 60_000))
}

// An upload's ID becomes part of a path.
func TestUploadsThatClimb(t *testing.T) {
	everywhere(t, systemregistry.Server{}, testUploadsThatClimb)
}

func testUploadsThatClimb(t *testing.T, r *running) {
	r.push(t, "ann", password("ann"), "team/app", "1", "layer")
	token := r.token(t, "ann", password("ann"), "repository:team/app:pull,push,delete")
	for _, id := range []string{"..", "%2e%2e", ".", "..%2f..", "a.b", "=", strings.Repeat("a", 300)} {
		for _, method := range []string{"PATCH", "PUT", "DELETE"} {
			resp, _ := r.do(t, method, "/v2/team/app/blobs/uploads/"+id+"?_state=x&digest=x", "x", bearer(token))
			require.GreaterOrEqual(t, resp.StatusCode, 300, "%s %s", method, id)
		}
	}
	require.Equal(t, http.StatusOK, r.pull(t, "ann", password("ann"), "team/app", "1"))
}

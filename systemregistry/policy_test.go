package systemregistry_test

import (
	"crypto/sha512"
	"fmt"
	"math"
	"net/http"
	"path"
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

const (
	// block is what a quota counts for a file or folder, and entry for a tag, link or upload of "team/app".
	block = 4096
	entry = 9 * block
)

// limited returns a server with a quota.
func limited(repositories string, limit int64) systemregistry.Server {
	return systemregistry.Server{Policies: []images.Policy{{Repositories: repositories, MaxBytes: limit}}}
}

func TestQuota(t *testing.T) {
	everywhere(t, limited("team/**", 7*entry+10_000), testQuota) // An image of four entries, and one with the same config.
}

func testQuota(t *testing.T, r *running) {
	r.push(t, "ann", password("ann"), "team/app", "1", "layer")
	token := r.token(t, "ann", password("ann"), "repository:team/app:pull,push")
	large := strings.Repeat("x", 200_000)
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
	everywhere(t, limited("team/**", quotaUnderAttack), testQuotaAttacks)
}

const quotaUnderAttack = 2_000_000

// onDisk returns the size of the storage with a block for each file and folder. Files other than data fit in the block.
func (r *running) onDisk(t *testing.T) (total int64) {
	t.Helper()
	err := r.Storage().Walk(t.Context(), "/docker/registry/v2", func(file storagedriver.FileInfo) error {
		name := path.Base(file.Path())
		if file.IsDir() && len(name) == 2 { // One of 256 folders with data.
			return nil
		}
		total += block
		if !file.IsDir() && strings.HasPrefix(name, "data") {
			total += file.Size()
		}
		return nil
	})
	require.NoError(t, err)
	return total
}

// used returns what a replica counts.
func (r *running) used(t *testing.T, repository string) int64 {
	t.Helper()
	e, err := r.Catalog().Effective(t.Context(), repository)
	require.NoError(t, err)
	return e.Quotas[0].Used
}

func testQuotaAttacks(t *testing.T, r *running) {
	const limit = quotaUnderAttack
	push := r.token(t, "ann", password("ann"), "repository:team/app:pull,push")
	begin := func() string {
		resp, _ := r.do(t, "POST", "/v2/team/app/blobs/uploads/", "", bearer(push))
		require.Equal(t, http.StatusAccepted, resp.StatusCode)
		return resp.Header.Get("Location")
	}
	used := func() int64 {
		require.NoError(t, r.Images().Measure(t.Context()))
		return r.onDisk(t)
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
			manifest = strings.TrimSuffix(manifest, "}") + `,"annotations":{"a":"` + strings.Repeat("z", 100_000+i) + `"}}`
			if resp, _ := r.put(t, push, "team/app", fmt.Sprint("m", i), manifest); resp.StatusCode != http.StatusCreated {
				require.Equal(t, http.StatusForbidden, resp.StatusCode)
				refused++
			}
			require.LessOrEqual(t, used(), int64(limit))
		}
		require.Greater(t, refused, 15)
	})
	t.Run("unfinished uploads and measurements", func(t *testing.T) {
		refused := 0
		for range 20 {
			resp, _ := r.do(t, "POST", "/v2/team/app/blobs/uploads/", "", bearer(push))
			if resp.StatusCode == http.StatusAccepted {
				r.do(t, "PATCH", resp.Header.Get("Location"), strings.Repeat("x", 1_000), bearer(push), announce(-1))
			} else {
				require.Equal(t, http.StatusForbidden, resp.StatusCode)
				refused++
			}
			require.LessOrEqual(t, used(), int64(limit))
		}
		require.Positive(t, refused)
	})
}

// A client that repeats failing or cancelled pushes does not use up the room of others.
func TestQuotaIsReleased(t *testing.T) {
	everywhere(t, limited("**", 4*entry+100_000), testQuotaIsReleased)
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
		resp, _ = r.do(t, "PATCH", resp.Header.Get("Location"), strings.Repeat("x", 300_000), bearer(evil))
		require.Equal(t, http.StatusForbidden, resp.StatusCode)
	}
	r.push(t, "ann", password("ann"), "team/app", "1", strings.Repeat("y", 60_000))
}

// Tags, links and unfinished uploads without data fill a quota, too.
func TestQuotaOfSmallFiles(t *testing.T) {
	push := func(t *testing.T, r *running) (token, manifest string, before int64) {
		r.push(t, "ann", password("ann"), "team/app", "1", "layer")
		manifest, _ = manifestOf("layer")
		return r.token(t, "ann", password("ann"), "repository:team/app:pull,push,delete"), manifest, r.used(t, "team/app")
	}
	const limit = 1 << 20
	// fill sends requests until one is refused, and returns the number of those that were not. Each counts n bytes.
	fill := func(t *testing.T, r *running, accepted int, n int64, request func(i int) (*http.Response, string)) int {
		for i := range limit / block {
			before := r.used(t, "team/app")
			resp, body := request(i)
			if resp.StatusCode == accepted {
				require.Equal(t, before+n, r.used(t, "team/app"))
				continue
			}
			require.Equal(t, http.StatusForbidden, resp.StatusCode, body)
			require.Contains(t, body, "DENIED")
			require.Contains(t, body, "quota is used up")
			require.Contains(t, body, "delete tags and images, or ask for a larger quota")
			require.Greater(t, before+n, int64(limit), "refused although there is room")
			require.LessOrEqual(t, r.used(t, "team/app"), int64(limit))
			require.LessOrEqual(t, r.onDisk(t), r.used(t, "team/app"), "what is stored must be counted")
			counted := r.used(t, "team/app")
			require.NoError(t, r.Images().Measure(t.Context()))
			require.Equal(t, counted, r.used(t, "team/app"), "a measurement must find what was counted")
			return i
		}
		t.Fatal("nothing was refused")
		return 0
	}
	t.Run("tags", func(t *testing.T) {
		everywhere(t, limited("team/**", limit), func(t *testing.T, r *running) {
			token, manifest, before := push(t, r)
			tag := func(i int) (*http.Response, string) { return r.put(t, token, "team/app", fmt.Sprint("t", i), manifest) }
			n := fill(t, r, http.StatusCreated, entry, tag)
			require.Equal(t, int((limit-before)/entry), n)
			for range 3 {
				resp, body := tag(0)
				require.Equal(t, http.StatusCreated, resp.StatusCode, "a tag that exists needs no room: %s", body)
			}
			for i := range 2 {
				resp, body := r.do(t, "DELETE", fmt.Sprint("/v2/team/app/manifests/t", i), "", bearer(token))
				require.Equal(t, http.StatusAccepted, resp.StatusCode, body)
			}
			require.NoError(t, r.Images().Measure(t.Context()))
			require.Equal(t, 2, fill(t, r, http.StatusCreated, entry, func(i int) (*http.Response, string) { return tag(n + i) }))
		})
	})
	t.Run("tags that change", func(t *testing.T) {
		everywhere(t, limited("team/**", limit), func(t *testing.T, r *running) {
			token, _, _ := push(t, r)
			var manifests []string
			for i := range 8 {
				manifest, _ := manifestOf("layer")
				manifests = append(manifests, strings.TrimSuffix(manifest, "}")+fmt.Sprintf(`,"annotations":{"n":"%d"}}`, i))
			}
			put := func(tag int, manifest string) {
				resp, body := r.put(t, token, "team/app", fmt.Sprint("t", tag), manifest)
				require.Equal(t, http.StatusCreated, resp.StatusCode, body)
			}
			for tag, manifest := range manifests {
				put(tag, manifest)
			}
			before := r.used(t, "team/app")
			for _, manifest := range manifests {
				for tag := range manifests {
					put(tag, manifest)
				}
			}
			require.Equal(t, before, r.used(t, "team/app"))
			require.LessOrEqual(t, r.onDisk(t), before, "no history of tags must be left")
		})
	})
	t.Run("mounts", func(t *testing.T) {
		everywhere(t, limited("team/**", limit), func(t *testing.T, r *running) {
			_, _, before := push(t, r)
			mount := func(name string) (*http.Response, string) {
				token := r.token(t, "ann", password("ann"), "repository:team/app:pull", "repository:"+name+":pull,push")
				return r.do(t, "POST", "/v2/"+name+"/blobs/uploads/?mount="+digestOf("layer")+"&from=team/app", "", bearer(token))
			}
			// Each folder of a deep name counts.
			resp, body := mount("team" + strings.Repeat("/a", 100))
			require.Equal(t, http.StatusCreated, resp.StatusCode, body)
			require.GreaterOrEqual(t, r.used(t, "team/app"), before+108*block)
			require.LessOrEqual(t, r.onDisk(t), r.used(t, "team/app"))
			require.NoError(t, r.Images().Measure(t.Context())) // Replicas count shared data twice until then.
			for i := range 3 {
				resp, body = mount("team" + strings.Repeat("/a", 100))
				require.Equal(t, http.StatusCreated, resp.StatusCode, "%d: a layer that is there needs no room: %s", i, body)
			}
			refused := false
			for i := 0; i < limit/block && !refused; i++ {
				resp, body = mount(fmt.Sprint("team/m", i))
				if refused = resp.StatusCode != http.StatusCreated; refused {
					require.Equal(t, http.StatusForbidden, resp.StatusCode, body)
				}
				require.LessOrEqual(t, r.used(t, "team/app"), int64(limit))
			}
			require.True(t, refused)
			require.Greater(t, r.used(t, "team/app"), int64(limit-2*entry))
			require.LessOrEqual(t, r.onDisk(t), r.used(t, "team/app"))
		})
	})
	t.Run("uploads without data", func(t *testing.T) {
		everywhere(t, limited("team/**", limit), func(t *testing.T, r *running) {
			token, _, _ := push(t, r)
			var locations []string
			start := func(int) (*http.Response, string) {
				resp, body := r.do(t, "POST", "/v2/team/app/blobs/uploads/", "", bearer(token))
				locations = append(locations, resp.Header.Get("Location"))
				return resp, body
			}
			fill(t, r, http.StatusAccepted, entry, start)
			resp, body := r.do(t, "DELETE", locations[0], "", bearer(token))
			require.Equal(t, http.StatusNoContent, resp.StatusCode, body)
			require.Equal(t, 1, fill(t, r, http.StatusAccepted, entry, start), "what is cancelled is free at once")
		})
	})
	t.Run("requests to one upload", func(t *testing.T) {
		everywhere(t, limited("team/**", limit), func(t *testing.T, r *running) {
			token, _, _ := push(t, r)
			resp, _ := r.do(t, "POST", "/v2/team/app/blobs/uploads/", "", bearer(token))
			location := resp.Header.Get("Location")
			sent := 0
			for ; sent < limit/block; sent++ {
				resp, body := r.do(t, "PATCH", location, "x", bearer(token))
				if resp.StatusCode == http.StatusForbidden {
					break
				}
				require.Equal(t, http.StatusAccepted, resp.StatusCode, body)
				require.LessOrEqual(t, r.onDisk(t), r.used(t, "team/app"))
				location = resp.Header.Get("Location")
			}
			require.Less(t, sent, limit/block, "nothing was refused")
		})
	})
	t.Run("small layers, each with two digests", func(t *testing.T) {
		everywhere(t, limited("team/**", limit), func(t *testing.T, r *running) {
			token, _, _ := push(t, r)
			refused := false
			for i := 0; i < limit/block && !refused; i++ {
				resp, body := r.do(t, "POST", "/v2/team/app/blobs/uploads/", "", bearer(token))
				if resp.StatusCode == http.StatusAccepted {
					content := fmt.Sprint(i)
					d := fmt.Sprintf("&digest=sha512:%x", sha512.Sum512([]byte(content)))
					resp, body = r.do(t, "PUT", resp.Header.Get("Location")+d, content, bearer(token))
				}
				if refused = resp.StatusCode != http.StatusCreated; refused {
					require.Equal(t, http.StatusForbidden, resp.StatusCode, body)
				}
				require.LessOrEqual(t, r.used(t, "team/app"), int64(limit))
				require.LessOrEqual(t, r.onDisk(t), r.used(t, "team/app"))
			}
			require.True(t, refused)
		})
	})
}

// A process that starts finds in its folder what the previous one has counted.
func TestQuotaAfterRestart(t *testing.T) {
	s := limited("team/**", 1<<20)
	s.Dir = t.TempDir()
	r, stop := startStop(t, s)
	r.push(t, "ann", password("ann"), "team/app", "1", "layer")
	r.push(t, "ann", password("ann"), "team/deep/and/deeper", "1", "other layer")
	token := r.token(t, "ann", password("ann"), "repository:team/app:pull,push")
	for i := range 3 {
		resp, _ := r.do(t, "POST", "/v2/team/app/blobs/uploads/", "", bearer(token))
		for range i {
			resp, _ = r.do(t, "PATCH", resp.Header.Get("Location"), "data", bearer(token))
			require.Equal(t, http.StatusAccepted, resp.StatusCode)
		}
	}
	require.NoError(t, r.Images().Measure(t.Context())) // The config is in two repositories, and counted twice until then.
	before := r.used(t, "team/app")
	require.Greater(t, before, int64(11*entry))
	stop()
	r = start(t, s)
	require.NoError(t, r.Images().Measure(t.Context()))
	require.Equal(t, before, r.used(t, "team/app"))
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

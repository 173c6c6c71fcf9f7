package systemregistry_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/systemregistry"
	"github.com/regcred/regcred/systemregistry/images"
	"github.com/regcred/regcred/systemregistry/store"
)

// Two replicas repeatedly get concurrent pushes of two images to the same new tag.
func TestImmutableTagBetweenReplicas(t *testing.T) {
	files := filesystem.New(filesystem.DriverParameters{RootDirectory: t.TempDir(), MaxThreads: 10})
	table := new(store.Memory)
	policies := []images.Policy{{Repositories: "team/**", Immutable: true}}
	a := start(t, systemregistry.Server{Driver: files, Store: table, Policies: policies})
	b := start(t, systemregistry.Server{Driver: files, Store: table, Policies: policies})
	token := a.token(t, "ann", password("ann"), "repository:team/app:pull,push")
	manifests := make([]string, 2)
	for i, layer := range []string{"first", "second"} {
		var config string
		manifests[i], config = manifestOf(layer)
		for _, blob := range []string{layer, config} {
			a.upload(t, token, "team/app", blob)
		}
	}
	for n := range 20 {
		tag := strings.Repeat("1", n+1)
		var pushes sync.WaitGroup
		var status [2]int
		for i, r := range []*running{a, b} {
			pushes.Go(func() {
				resp, _ := r.put(t, token, "team/app", tag, manifests[i])
				status[i] = resp.StatusCode
			})
		}
		pushes.Wait()
		won := 0
		if status[0] != http.StatusCreated {
			won = 1
		}
		require.Equal(t, http.StatusCreated, status[won])
		require.Equal(t, http.StatusForbidden, status[1-won])
		for _, r := range []*running{a, b} {
			got, err := r.Images().Image(t.Context(), "team/app", tag)
			require.NoError(t, err)
			require.Equal(t, digestOf(manifests[won]), got.Digest)
		}
	}
}

// awayStore is a store that fails to write tags.
type awayStore struct{ store.Store }

func (s awayStore) Put(ctx context.Context, key string, value []byte, version uint64) (uint64, error) {
	if strings.HasPrefix(key, "image/tag/") {
		return 0, errors.New("store is away")
	}
	return s.Store.Put(ctx, key, value, version)
}

// If the store does not respond, a push fails, and its error does not mention other clients.
func TestTagWithoutStore(t *testing.T) {
	r := start(t, systemregistry.Server{Store: awayStore{new(store.Memory)}})
	token := r.token(t, "ann", password("ann"), "repository:team/app:pull,push")
	manifest, config := manifestOf("layer")
	for _, blob := range []string{"layer", config} {
		r.upload(t, token, "team/app", blob)
	}
	resp, body := r.put(t, token, "team/app", "1", manifest)
	require.GreaterOrEqual(t, resp.StatusCode, 500)
	require.NotContains(t, body, "store is away")
}

// noCountStore is a store that fails to count uploads while away is set.
type noCountStore struct {
	store.Store
	away bool
}

func (s *noCountStore) Put(ctx context.Context, key string, value []byte, version uint64) (uint64, error) {
	if s.away && strings.HasPrefix(key, "upload/") {
		return 0, errors.New("store is away")
	}
	return s.Store.Put(ctx, key, value, version)
}

// If the store fails during an upload, the client is not told that its body is wrong, and the operator learns the
// reason.
func TestUploadWithoutStore(t *testing.T) {
	s := &noCountStore{Store: new(store.Memory)}
	r := open(t, systemregistry.Server{Store: s, Policies: []images.Policy{{Repositories: "**", MaxBytes: 1 << 30}}})
	token := r.token(t, "ann", password("ann"), "repository:team/app:pull,push")
	resp, _ := r.do(t, "POST", "/v2/team/app/blobs/uploads/", "", bearer(token))
	require.Equal(t, http.StatusAccepted, resp.StatusCode)
	s.away = true
	refused, body := r.do(t, "POST", "/v2/team/app/blobs/uploads/", "", bearer(token))
	require.Equal(t, http.StatusInternalServerError, refused.StatusCode, body)
	require.NotContains(t, body, "store is away")
	require.ErrorContains(t, r.takeErrors(), "store is away")
	resp, body = r.do(t, "PATCH", resp.Header.Get("Location"), "layer", bearer(token))
	require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode, body)
	require.NotContains(t, body, "SIZE_INVALID")
	require.NotContains(t, body, "store is away")
	require.ErrorContains(t, r.takeErrors(), "store is away")
}

// deletingStore is a store that calls a function once before it deletes a link to a layer.
type deletingStore struct {
	store.Store
	before func()
}

func (s *deletingStore) Delete(ctx context.Context, key string, version uint64) error {
	if do := s.before; do != nil && strings.HasPrefix(key, "image/layer/") {
		s.before = nil
		do()
	}
	return s.Store.Delete(ctx, key, version)
}

// While one replica deletes a layer, another one pushes an immutable tag that needs it. Only one of the two succeeds.
func TestDeletionOfLayerDuringPush(t *testing.T) {
	files, table := filesIn(t.TempDir()), new(store.Memory)
	policies := []images.Policy{{Repositories: "**", Immutable: true}}
	deleting := &deletingStore{Store: table}
	a := open(t, systemregistry.Server{Driver: files, Store: deleting, Policies: policies})
	b := open(t, systemregistry.Server{Driver: files, Store: table, Policies: policies})
	token := a.token(t, "ann", password("ann"), "repository:team/app:pull,push,delete")
	manifest, config := manifestOf("layer")
	for _, blob := range []string{"layer", config} {
		a.upload(t, token, "team/app", blob)
	}
	pushed := false
	deleting.before = func() {
		pushed = true
		resp, body := b.put(t, token, "team/app", "1", manifest)
		require.Equal(t, http.StatusCreated, resp.StatusCode, body)
	}
	resp, body := a.do(t, "DELETE", "/v2/team/app/blobs/"+digestOf("layer"), "", bearer(token))
	require.True(t, pushed)
	require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode, body)
	require.Contains(t, body, "other clients")
	require.Equal(t, http.StatusOK, b.pull(t, "ann", password("ann"), "team/app", "1"))

	// A layer that no image needs can be deleted.
	a.upload(t, token, "team/app", "another layer")
	resp, body = a.do(t, "DELETE", "/v2/team/app/blobs/"+digestOf("another layer"), "", bearer(token))
	require.Equal(t, http.StatusAccepted, resp.StatusCode, body)
}

// manifestStore is a store whose writes of manifests fail with the error.
type manifestStore struct {
	store.Store
	err atomic.Pointer[error]
}

func (s *manifestStore) Put(ctx context.Context, key string, value []byte, version uint64) (uint64, error) {
	if err := s.err.Load(); err != nil && strings.HasPrefix(key, "image/manifest/") {
		return 0, *err
	}
	return s.Store.Put(ctx, key, value, version)
}

// A deletion that fails because of the store is an event, and the operator learns the reason. One that other clients
// prevent is no failure.
func TestDeletionWithoutStore(t *testing.T) {
	s := &manifestStore{Store: new(store.Memory)}
	r := start(t, systemregistry.Server{Store: s})
	digest := r.push(t, "ann", password("ann"), "team/app", "1", "layer")
	token := r.token(t, "ann", password("ann"), "repository:team/app:pull,delete")
	for _, cause := range []error{errors.New("store is away"), store.ErrKeyChanged} {
		s.err.Store(&cause)
		for path, login := range map[string]func(*http.Request){
			"/v2/team/app/manifests/" + digest:                       bearer(token),
			"/api/v1/images?repository=team/app&reference=" + digest: basic("ann", password("ann")),
		} {
			require.NoError(t, r.takeErrors())
			resp, body := r.do(t, "DELETE", path, "", login)
			require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode, body)
			require.NotContains(t, body, "store is away")
			events := r.Events()
			last := events[len(events)-1]
			require.Equal(t, systemregistry.EventDelete, last.Kind, path)
			require.Error(t, last.Err)
			if errors.Is(cause, store.ErrKeyChanged) {
				require.Contains(t, body, "other clients")
			} else {
				require.ErrorContains(t, r.takeErrors(), "store is away")
			}
		}
	}
}

// Replicas fail to open a storage that one process has used, instead of treating it as empty. After an import, they can
// use it.
func TestImport(t *testing.T) {
	files := filesystem.New(filesystem.DriverParameters{RootDirectory: t.TempDir(), MaxThreads: 10})
	table := new(store.Memory)
	alone, stop := startStop(t, systemregistry.Server{Driver: files})
	digest := alone.push(t, "ann", password("ann"), "team/app", "1", "layer")
	alone.push(t, "ann", password("ann"), "team/app", "2", "other layer")
	stop()

	_, err := systemregistry.Server{Driver: files, Store: table}.Open(t.Context())
	require.ErrorContains(t, err, "systemregistry.Import")
	for range 2 { // It may be called again.
		require.NoError(t, systemregistry.Import(t.Context(), files, table))
	}
	a := start(t, systemregistry.Server{Driver: files, Store: table})
	b := start(t, systemregistry.Server{Driver: files, Store: table})
	require.Equal(t, http.StatusOK, b.pull(t, "ann", password("ann"), "team/app", "1"))
	image, err := a.Images().Image(t.Context(), "team/app", "1")
	require.NoError(t, err)
	require.Equal(t, digest, image.Digest)
	require.WithinDuration(t, time.Now(), image.PushedAt, time.Minute)
	b.push(t, "ann", password("ann"), "team/app", "3", "third layer")
	tags, err := a.Images().Tags(t.Context(), "team/app")
	require.NoError(t, err)
	require.Equal(t, []string{"1", "2", "3"}, tags)
	resp, body := a.do(t, "GET", "/v2/team/app/tags/list?n=1&last=1", "", bearer(a.token(t, "ann", password("ann"), "repository:team/app:pull")))
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.JSONEq(t, `{"name":"team/app","tags":["2"]}`, body)
}

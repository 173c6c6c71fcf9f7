package systemregistry_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/systemregistry"
	"github.com/regcred/regcred/systemregistry/images"
	"github.com/regcred/regcred/systemregistry/store"
)

// slowTags is a storage that tells when a tag is about to be written, and writes it when it is let.
type slowTags struct {
	storagedriver.StorageDriver
	writing, let chan struct{}
}

func (d *slowTags) PutContent(ctx context.Context, path string, content []byte) error {
	if strings.HasSuffix(path, "/_manifests/tags/1/current/link") {
		d.writing <- struct{}{}
		<-d.let
	}
	return d.StorageDriver.PutContent(ctx, path, content)
}

// watchedStore tells when somebody looks for the second time whether a tag is free, for it was not.
type watchedStore struct {
	store.Store
	looks atomic.Int64
	waits chan struct{}
}

func (s *watchedStore) Get(ctx context.Context, key string) (store.Entry, error) {
	if strings.HasPrefix(key, "lease/") && s.looks.Add(1) == 2 {
		close(s.waits)
	}
	return s.Store.Get(ctx, key)
}

// Two replicas are asked for the same new tag of two images, and the second one while the first is about to write it.
func TestImmutableTagBetweenReplicas(t *testing.T) {
	files := filesystem.New(filesystem.DriverParameters{RootDirectory: t.TempDir(), MaxThreads: 10})
	table := new(store.Memory)
	policies := []images.Policy{{Repositories: "team/**", Immutable: true}}
	slow := &slowTags{files, make(chan struct{}, 1), make(chan struct{})}
	other := &slowTags{files, make(chan struct{}, 1), slow.let}
	watched := &watchedStore{Store: table, waits: make(chan struct{})}
	a := start(t, systemregistry.Server{Driver: slow, Store: table, Policies: policies})
	b := start(t, systemregistry.Server{Driver: other, Store: watched, Policies: policies})
	token := a.token(t, "ann", password("ann"), "repository:team/app:pull,push")
	manifests := make([]string, 2)
	for i, layer := range []string{"first", "second"} {
		var config string
		manifests[i], config = manifestOf(layer)
		for _, blob := range []string{layer, config} {
			a.upload(t, token, "team/app", blob)
		}
	}

	var pushes sync.WaitGroup
	var status [2]int
	push := func(i int, r *running) {
		pushes.Go(func() {
			resp, _ := r.put(t, token, "team/app", "1", manifests[i])
			status[i] = resp.StatusCode
		})
	}
	push(0, a)
	<-slow.writing
	push(1, b)
	select {
	case <-watched.waits:
	case <-other.writing:
		t.Error("both write the tag")
	}
	close(slow.let)
	pushes.Wait()
	require.Equal(t, [2]int{http.StatusCreated, http.StatusForbidden}, status)
	got, err := b.Images().Resolve(t.Context(), "team/app", "1")
	require.NoError(t, err)
	require.Equal(t, digestOf(manifests[0]), got)
}

// awayStore has no entry for who holds a tag.
type awayStore struct{ store.Store }

func (s awayStore) Put(ctx context.Context, key string, value []byte, version uint64) (uint64, error) {
	if strings.HasPrefix(key, "lease/") {
		return 0, errors.New("store is away")
	}
	return s.Store.Put(ctx, key, value, version)
}

// Who pushes is not told of others who do, where the store that replicas share does not answer.
func TestImmutableTagWithoutStore(t *testing.T) {
	r := start(t, systemregistry.Server{
		Store:    awayStore{new(store.Memory)},
		Policies: []images.Policy{{Repositories: "team/**", Immutable: true}},
	})
	token := r.token(t, "ann", password("ann"), "repository:team/app:pull,push")
	manifest, config := manifestOf("layer")
	for _, blob := range []string{"layer", config} {
		r.upload(t, token, "team/app", blob)
	}
	resp, body := r.put(t, token, "team/app", "1", manifest)
	require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
	require.Contains(t, body, "the policy cannot be checked")
}

package catalog_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/distribution/distribution/v3"
	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/systemregistry/images"
	"github.com/regcred/regcred/systemregistry/internal/catalog"
	"github.com/regcred/regcred/systemregistry/internal/shared"
	"github.com/regcred/regcred/systemregistry/store"
)

// A staller stops a replica for a while, before the call with a given number to the storage or the store.
type staller struct {
	calls, at int
	during    func()
	stopped   atomic.Bool // It has lost its lease without noticing.
}

func (s *staller) call() {
	if s.calls++; s.calls == s.at {
		s.stopped.Store(true)
		s.during()
	}
}

type stallingStore struct {
	store.Store
	*staller
}

func (s stallingStore) Get(ctx context.Context, key string) (store.Entry, error) {
	if !strings.HasPrefix(key, "lease/") {
		s.call()
	}
	return s.Store.Get(context.WithoutCancel(ctx), key)
}

func (s stallingStore) Put(ctx context.Context, key string, value []byte, version uint64) (uint64, error) {
	if !strings.HasPrefix(key, "lease/") {
		s.call()
	} else if s.stopped.Load() {
		return 0, errors.New("stalled")
	}
	return s.Store.Put(context.WithoutCancel(ctx), key, value, version)
}

func (s stallingStore) Delete(ctx context.Context, key string, version uint64) error {
	s.call()
	return s.Store.Delete(context.WithoutCancel(ctx), key, version)
}

func (s stallingStore) List(ctx context.Context, prefix string) iter.Seq2[store.Entry, error] {
	return func(yield func(store.Entry, error) bool) {
		s.call()
		for e, err := range s.Store.List(context.WithoutCancel(ctx), prefix) {
			if !yield(e, err) {
				return
			}
		}
	}
}

type stallingDriver struct {
	storagedriver.StorageDriver
	*staller
}

func (d stallingDriver) PutContent(ctx context.Context, path string, content []byte) error {
	d.call()
	return d.StorageDriver.PutContent(ctx, path, content)
}

func (d stallingDriver) Stat(ctx context.Context, path string) (storagedriver.FileInfo, error) {
	d.call()
	return d.StorageDriver.Stat(ctx, path)
}

func (d stallingDriver) Move(ctx context.Context, from, to string) error {
	d.call()
	return d.StorageDriver.Move(ctx, from, to)
}

func (d stallingDriver) Delete(ctx context.Context, path string) error {
	d.call()
	return d.StorageDriver.Delete(ctx, path)
}

func (d stallingDriver) GetContent(ctx context.Context, path string) ([]byte, error) {
	d.call()
	return d.StorageDriver.GetContent(ctx, path)
}

func (d stallingDriver) List(ctx context.Context, path string) ([]string, error) {
	d.call()
	return d.StorageDriver.List(ctx, path)
}

// replica returns one of several replicas over the same storage and store.
func replica(t *testing.T, storage storagedriver.StorageDriver, s store.Store, policies ...images.Policy) fixture {
	t.Helper()
	d, err := shared.New(t.Context(), storage, s, catalog.MayReplace(policies))
	require.NoError(t, err)
	return over(t, d, policies...)
}

func (f fixture) open(ctx context.Context, repository string) (distribution.Repository, error) {
	named, err := reference.WithName(repository)
	if err != nil {
		return nil, err
	}
	return f.namespace.Repository(ctx, named)
}

// upload pushes a layer in one request, as the server does for a client.
func (f fixture) upload(ctx context.Context, repository, content string) error {
	w, err := f.start(ctx, repository)
	if err != nil {
		return err
	}
	u, err := f.Upload(ctx, repository, w.ID(), int64(len(content)))
	if err != nil {
		return err
	}
	outcome := catalog.UploadFailed
	_, err = io.Copy(w, u.Body(ctx, io.NopCloser(strings.NewReader(content))))
	if err == nil {
		_, err = w.Commit(u.Context(ctx), v1.Descriptor{Digest: digest.FromString(content)})
	}
	if err == nil {
		outcome = catalog.UploadStored
	} else {
		_ = w.Cancel(ctx)
	}
	_ = u.End(ctx, outcome) // The server reports this error to OnError, and not to the client.
	return err
}

const sharedConfig = `{"os":"linux","architecture":"amd64"}`

func manifestFor(layer string) []byte {
	describe := func(mediaType, content string) v1.Descriptor {
		return v1.Descriptor{MediaType: mediaType, Digest: digest.FromString(content), Size: int64(len(content))}
	}
	m := v1.Manifest{MediaType: v1.MediaTypeImageManifest, Config: describe(v1.MediaTypeImageConfig, sharedConfig),
		Layers: []v1.Descriptor{describe(v1.MediaTypeImageLayer, layer)}}
	m.SchemaVersion = 2
	payload, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return payload
}

// tryPush pushes an image as the handlers do. It returns nil if the client gets a success response.
func (f fixture) tryPush(ctx context.Context, repository, tag, layer string, uploads bool) error {
	if uploads {
		if err := errors.Join(f.upload(ctx, repository, sharedConfig), f.upload(ctx, repository, layer)); err != nil {
			return err
		}
	}
	payload := manifestFor(layer)
	m, desc, err := distribution.UnmarshalManifest(v1.MediaTypeImageManifest, payload)
	if err != nil {
		return err
	}
	r, err := f.open(ctx, repository)
	if err != nil {
		return err
	}
	manifests, err := r.Manifests(ctx)
	if err != nil {
		return err
	}
	if _, err := manifests.Put(ctx, m); err != nil {
		return err
	}
	return r.Tags(ctx).Tag(ctx, tag, desc)
}

// whole fails the test unless the image of the tag can be pulled, digest by digest. It returns the digest.
func (f fixture) whole(t *testing.T, repository, tag string) digest.Digest {
	t.Helper()
	r := f.repository(t, repository)
	desc, err := r.Tags(t.Context()).Get(t.Context(), tag)
	if errors.As(err, new(distribution.ErrTagUnknown)) {
		return ""
	}
	require.NoError(t, err)
	manifests, err := r.Manifests(t.Context())
	require.NoError(t, err)
	m, err := manifests.Get(t.Context(), desc.Digest)
	require.NoError(t, err, "the tag names a manifest that cannot be pulled")
	for _, ref := range m.References() {
		content, err := r.Blobs(t.Context()).Get(t.Context(), ref.Digest)
		require.NoError(t, err, "a layer of the tag's image cannot be pulled")
		require.Equal(t, ref.Digest, digest.FromBytes(content))
	}
	return desc.Digest
}

// files returns the files of blobs in the storage.
func files(t *testing.T, d storagedriver.StorageDriver) (found []string) {
	t.Helper()
	err := d.Walk(t.Context(), "/docker/registry/v2/blobs", func(info storagedriver.FileInfo) error {
		if !info.IsDir() {
			found = append(found, info.Path())
		}
		return nil
	})
	if err != nil {
		require.ErrorAs(t, err, new(storagedriver.PathNotFoundError))
	}
	return found
}

// TestStalledReplica stops one replica before each of its calls to the storage and the store, for days, while another
// replica works; then the first one resumes. All responses that clients got are still true afterwards.
func TestStalledReplica(t *testing.T) {
	const repository, tag = "team/app", "1"
	type world struct {
		fixture      // The other replica.
		told    bool // The other replica reported to a client that its push was done.
	}
	collect := func(t *testing.T, w *world) {
		for range 3 {
			time.Sleep(2 * day)
			_, err := w.Collect(t.Context())
			if !errors.Is(err, images.ErrCollecting) {
				require.NoError(t, err)
			}
		}
	}
	push := func(layer string) func(t *testing.T, w *world) {
		return func(t *testing.T, w *world) {
			err := w.tryPush(t.Context(), repository, tag, layer, true)
			w.told = err == nil
		}
	}
	remove := func(t *testing.T, w *world) {
		d, err := w.Resolve(t.Context(), repository, tag)
		if err == nil {
			err = w.Delete(t.Context(), repository, d)
		}
		if !errors.Is(err, images.ErrNoImage) && !errors.Is(err, images.ErrChanging) && !errors.Is(err, images.ErrImmutable) {
			require.NoError(t, err)
		}
	}
	both := func(fs ...func(*testing.T, *world)) func(*testing.T, *world) {
		return func(t *testing.T, w *world) {
			for _, f := range fs {
				f(t, w)
			}
		}
	}
	stalled := map[string]func(ctx context.Context, f fixture) error{
		"push":          func(ctx context.Context, f fixture) error { return f.tryPush(ctx, repository, tag, "new", true) },
		"push manifest": func(ctx context.Context, f fixture) error { return f.tryPush(ctx, repository, tag, "unused", false) },
		"push manifest, another tag": func(ctx context.Context, f fixture) error {
			return f.tryPush(ctx, repository, "2", "first", false)
		},
		"upload": func(ctx context.Context, f fixture) error { return f.upload(ctx, repository, "unused") },
		"collect": func(ctx context.Context, f fixture) error {
			_, err := f.Collect(ctx)
			return err
		},
		"delete": func(ctx context.Context, f fixture) error {
			return f.Delete(ctx, repository, string(digest.FromBytes(manifestFor("first"))))
		},
		"delete tag": func(ctx context.Context, f fixture) error { return f.Delete(ctx, repository, tag) },
	}
	meanwhile := map[string]func(*testing.T, *world){
		"collect":                               collect,
		"push the same":                         push("new"),
		"push the unused layer":                 push("unused"),
		"collect, push the unused layer":        both(collect, push("unused")),
		"push another":                          push("other"),
		"delete":                                remove,
		"delete, collect":                       both(remove, collect),
		"delete, collect, push the first again": both(remove, collect, push("first")),
		"push another, collect":                 both(push("other"), collect),
	}
	// Running all steps takes minutes.
	step := 10
	if os.Getenv("REGCRED_STALLS") == "all" {
		step = 1
	}
	points := 0
	for _, policy := range []images.Policy{{Repositories: "**", KeepUntagged: time.Hour}, {Repositories: "**", KeepUntagged: time.Hour, Immutable: true}} {
		for name, operation := range stalled {
			for other, f := range meanwhile {
				t.Run(fmt.Sprintf("%s meanwhile %s, immutable %v", name, other, policy.Immutable), func(t *testing.T) {
					for at, more := 1+rand.IntN(step), true; more; at += step {
						synctest.Test(t, func(t *testing.T) {
							storage, table := inmemory.New(), new(store.Memory)
							w := &world{fixture: replica(t, storage, table, policy)}
							require.NoError(t, w.tryPush(t.Context(), repository, tag, "first", true))
							require.NoError(t, w.upload(t.Context(), repository, "unused"))
							first := w.whole(t, repository, tag)
							time.Sleep(10 * day)
							_, err := w.Collect(t.Context()) // Condemns what is unused.
							require.NoError(t, err)

							linked := false // The upload is complete except for the response: its layer ages like any other.
							s := &staller{during: func() {
								d, err := shared.New(t.Context(), storage, table, nil)
								require.NoError(t, err)
								link := "/docker/registry/v2/repositories/" + repository + "/_layers/sha256/" + digest.FromString("unused").Encoded() + "/link"
								info, err := d.Stat(t.Context(), link)
								linked = err == nil && info.ModTime().Equal(time.Now())
								f(t, w)
							}}
							stops := replica(t, stallingDriver{storage, s}, stallingStore{table, s}, policy)
							s.calls, s.at = 0, at
							err = operation(t.Context(), stops)
							more = s.calls >= at
							points++
							got := w.whole(t, repository, tag)
							done := err == nil
							why := fmt.Sprintf("stalled at call %d of %d: %v", at, s.calls, err)
							switch {
							case policy.Immutable:
								// Clients cannot delete tagged images.
								require.Equal(t, first, got, why)
							case name == "push" && done && !w.told && other == "collect":
								require.Equal(t, digest.FromBytes(manifestFor("new")), got, why)
							}
							if done && name == "upload" && !linked {
								require.True(t, w.has(t, repository, digest.FromString("unused")), why)
							}
							second := w.whole(t, repository, "2")
							if policy.Immutable && (name == "push" || name == "push manifest") {
								require.Error(t, err, why)
							}
							collect(t, w)
							require.Equal(t, got, w.whole(t, repository, tag), why)
							require.Equal(t, second, w.whole(t, repository, "2"), why)
							want := 3 // Manifest, config and layer.
							switch {
							case got == "" && second == "":
								want = 0
							case got != "" && second != "" && got != second:
								want = 5
							}
							require.Len(t, files(t, storage), want, why)
						})
					}
				})
			}
		}
	}
	t.Logf("%d stalls", points)
}

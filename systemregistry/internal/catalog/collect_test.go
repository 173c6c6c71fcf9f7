package catalog_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/systemregistry/images"
	"github.com/regcred/regcred/systemregistry/internal/catalog"
)

const day = 24 * time.Hour

func TestCollectKeepsWhatIsUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := open(t)
		one, two := f.push(t, "team/app", "", "layer 1", "amd64"), f.push(t, "team/app", "", "layer 2", "arm64")
		f.index(t, "team/app", "all", one, two)
		unused := f.blob(t, "team/app", "unused")
		shared := f.blob(t, "other/app", "layer 1")
		gone := f.push(t, "team/app", "gone", "layer 3", "amd64")
		require.NoError(t, f.Delete(t.Context(), "team/app", string(gone.Digest)))

		time.Sleep(day - time.Minute)
		done, err := f.Collect(t.Context())
		require.NoError(t, err)
		require.Zero(t, done.Blobs, "what is younger than a day may belong to a push that goes on")
		require.True(t, f.has(t, "team/app", unused.Digest))

		time.Sleep(2 * time.Minute)
		done, err = f.Collect(t.Context())
		require.NoError(t, err)
		require.Equal(t, 3, done.Blobs, "unused, layer 3 and the manifest of it: %+v", done)
		require.False(t, f.has(t, "team/app", unused.Digest))
		require.False(t, f.has(t, "other/app", shared.Digest), "a link that no image of the repository uses")
		for _, d := range []v1.Descriptor{one, two} {
			image, err := f.Image(t.Context(), "team/app", string(d.Digest))
			require.NoError(t, err)
			require.NotEmpty(t, image.Platforms, "the config is there")
		}
		require.True(t, f.has(t, "team/app", f.blob(t, "x", "layer 1").Digest), "layer 1 is there still")

		again, err := f.Collect(t.Context())
		require.NoError(t, err)
		require.Zero(t, again.Blobs)
	})
}

// An upload in progress during a collection is completed afterwards, and its image is complete.
func TestCollectInTheMiddleOfAPush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := open(t)
		f.blob(t, "old/app", "layer") // The same layer was uploaded long ago and never used.
		time.Sleep(10 * day)
		layer := f.blob(t, "team/app", "layer")
		_, err := f.Collect(t.Context())
		require.NoError(t, err)
		require.True(t, f.has(t, "team/app", layer.Digest))
		f.push(t, "team/app", "1", "layer", "amd64")
		time.Sleep(10 * day)
		_, err = f.Collect(t.Context())
		require.NoError(t, err)
		require.True(t, f.has(t, "team/app", layer.Digest))
	})
}

// vanishing is a storage with concurrent deletions: a folder exists when its parent is listed, and is gone when the
// walk enters it.
type vanishing struct {
	storagedriver.StorageDriver
	path string
}

func (v vanishing) List(ctx context.Context, path string) ([]string, error) {
	if path == v.path {
		return nil, storagedriver.PathNotFoundError{Path: path}
	}
	return v.StorageDriver.List(ctx, path)
}

func TestCollectWhileOthersDelete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		driver := inmemory.New()
		f := over(t, driver)
		gone := f.blob(t, "a/app", "gone")
		kept := f.push(t, "b/app", "1", "layer", "amd64")
		time.Sleep(2 * day)
		c, err := catalog.Open(t.Context(), vanishing{driver, "/docker/registry/v2/repositories/a/app/_layers/sha256/" + gone.Digest.Encoded()}, nil)
		require.NoError(t, err)
		_, err = c.Collect(t.Context())
		require.NoError(t, err)
		got, err := f.Image(t.Context(), "b/app", string(kept.Digest))
		require.NoError(t, err)
		require.Equal(t, []string{"linux/amd64"}, got.Platforms, "what came after the folder was lost")
	})
}

func TestUnfinishedUploadGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := open(t)
		upload, err := f.repository(t, "team/app").Blobs(t.Context()).Create(t.Context())
		require.NoError(t, err)
		_, err = upload.Write([]byte("half of"))
		require.NoError(t, err)
		require.NoError(t, upload.Close())
		for _, want := range []int{0, 1, 0} {
			time.Sleep(40 * time.Minute)
			done, err := f.Collect(t.Context())
			require.NoError(t, err)
			require.Equal(t, want, done.Uploads)
		}
	})
}

func TestEmptyRepositoryGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := open(t)
		d := f.push(t, "team", "1", "layer", "amd64")
		f.push(t, "team/app", "1", "layer", "amd64")
		gone := f.push(t, "team/gone", "1", "layer", "amd64")
		require.NoError(t, f.Delete(t.Context(), "team", string(d.Digest)))
		require.NoError(t, f.Delete(t.Context(), "team/gone", string(gone.Digest)))
		for range 2 { // The first run removes its content, the second one removes it.
			time.Sleep(2 * day)
			_, err := f.Collect(t.Context())
			require.NoError(t, err)
		}
		var names []string
		for name, err := range f.Repositories(t.Context(), "") {
			require.NoError(t, err)
			names = append(names, name)
		}
		require.NotContains(t, names, "team/gone")
		require.Contains(t, names, "team/app")
		require.Equal(t, "1", f.tags(t, "team/app"))
	})
}

func TestRetention(t *testing.T) {
	// Tags are pushed a day apart: d1 is the oldest.
	tests := map[string]struct {
		policies []images.Policy
		want     string
	}{
		"none":                   {nil, "d1 d2 d3 d4 d5"},
		"the newest":             {[]images.Policy{{Repositories: "team/**", KeepTags: 2}}, "d4 d5"},
		"the young":              {[]images.Policy{{Repositories: "team/**", KeepFor: 3*day + time.Hour}}, "d3 d4 d5"},
		"two at least":           {[]images.Policy{{Repositories: "team/**", KeepTags: 2, KeepFor: time.Hour}}, "d4 d5"},
		"a day at least":         {[]images.Policy{{Repositories: "team/**", KeepTags: 1, KeepFor: 2*day + time.Hour}}, "d4 d5"},
		"two policies":           {[]images.Policy{{Repositories: "team/**", KeepTags: 4}, {Repositories: "team/app", KeepTags: 3}}, "d3 d4 d5"},
		"of another":             {[]images.Policy{{Repositories: "team", KeepTags: 1}, {Repositories: "other/**", KeepTags: 1}}, "d1 d2 d3 d4 d5"},
		"also what is immutable": {[]images.Policy{{Repositories: "**", Immutable: true, KeepTags: 1}}, "d5"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := open(t, tt.policies...)
				for _, tag := range strings.Fields("d1 d2 d3 d4 d5") {
					f.push(t, "team/app", tag, "layer "+tag, "amd64")
					time.Sleep(day)
				}
				_, err := f.Collect(t.Context())
				require.NoError(t, err)
				require.Equal(t, tt.want, f.tags(t, "team/app"))
			})
		})
	}
}

func TestUntagged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := open(t, images.Policy{Repositories: "team/**", KeepUntagged: 5 * day})
		child, moved := f.push(t, "team/app", "", "layer 1", "amd64"), f.push(t, "team/app", "1", "layer 2", "amd64")
		f.index(t, "team/app", "all", child)
		f.push(t, "team/app", "1", "layer 3", "amd64")
		kept := f.push(t, "other/app", "", "layer 4", "amd64")
		time.Sleep(4 * day)
		done, err := f.Collect(t.Context())
		require.NoError(t, err)
		require.Empty(t, done.Images)
		time.Sleep(2 * day)
		done, err = f.Collect(t.Context())
		require.NoError(t, err)
		require.Equal(t, sorted("team/app@"+string(moved.Digest)), done.Images)
		_, err = f.Image(t.Context(), "team/app", string(moved.Digest))
		require.ErrorIs(t, err, images.ErrNoImage)
		for repository, d := range map[string]v1.Descriptor{"team/app": child, "other/app": kept} {
			_, err = f.Image(t.Context(), repository, string(d.Digest))
			require.NoError(t, err)
		}
	})
}

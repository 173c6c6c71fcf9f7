package catalog_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/systemregistry/images"
)

// blobBy uploads a blob under a digest of any algorithm, as a client does.
func (f fixture) blobBy(t *testing.T, repository, content string, algorithm digest.Algorithm) v1.Descriptor {
	t.Helper()
	upload, err := f.repository(t, repository).Blobs(t.Context()).Create(t.Context())
	require.NoError(t, err)
	_, err = upload.Write([]byte(content))
	require.NoError(t, err)
	d := v1.Descriptor{MediaType: v1.MediaTypeImageLayer, Digest: algorithm.FromString(content), Size: int64(len(content))}
	_, err = upload.Commit(t.Context(), d)
	require.NoError(t, err)
	return d
}

// pushBy pushes an image whose manifest names its config and its layer by digests of the algorithm.
func (f fixture) pushBy(t *testing.T, repository, tag string, algorithm digest.Algorithm) (config, layer v1.Descriptor) {
	t.Helper()
	config = f.blobBy(t, repository, `{"os":"linux","architecture":"amd64"}`, algorithm)
	config.MediaType = v1.MediaTypeImageConfig
	layer = f.blobBy(t, repository, "layer", algorithm)
	m := v1.Manifest{MediaType: v1.MediaTypeImageManifest, Config: config, Layers: []v1.Descriptor{layer}}
	m.SchemaVersion = 2
	f.manifest(t, repository, tag, v1.MediaTypeImageManifest, m)
	return config, layer
}

func TestCollectKeepsWhatIsReferencedBySHA512(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := open(t)
		config, layer := f.pushBy(t, "team/app", "1", digest.SHA512)
		for range 3 {
			time.Sleep(2 * day)
			done, err := f.Collect(t.Context())
			require.NoError(t, err)
			require.Zero(t, done.Blobs, "%+v", done)
			for _, d := range []v1.Descriptor{config, layer} {
				content, err := f.repository(t, "team/app").Blobs(t.Context()).Get(t.Context(), d.Digest)
				require.NoError(t, err)
				require.Len(t, content, int(d.Size))
			}
		}
		require.NoError(t, f.Delete(t.Context(), "team/app", "1"))
		image, err := f.Resolve(t.Context(), "team/app", string(digest.FromString("nothing")))
		require.ErrorIs(t, err, images.ErrNoImage, image)
	})
}

// Parts of an image with an immutable tag stay, whatever digest a client deletes by.
func TestImmutableWhatIsReferencedBySHA512(t *testing.T) {
	for _, algorithm := range []digest.Algorithm{digest.SHA256, digest.SHA512} {
		f := open(t, images.Policy{Repositories: "**", Immutable: true})
		f.pushBy(t, "team/app", "1", algorithm)
		for _, content := range []string{"layer", `{"os":"linux","architecture":"amd64"}`} {
			for _, by := range []digest.Algorithm{digest.SHA256, digest.SHA512} {
				f.blobBy(t, "team/app", content, by)
				require.ErrorIs(t, f.MayDelete(t.Context(), "team/app", string(by.FromString(content))), images.ErrImmutable, "%s by %s", content, by)
			}
		}
	}
}

// An image manifest may have any text as the digest of its subject. It must not break requests of others.
func TestSubjectThatIsNoDigest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := open(t, images.Policy{Repositories: "**", Immutable: true})
		f.push(t, "team/app", "1", "layer", "amd64")
		for i, subject := range []digest.Digest{"", "x", "sha256:x", "../../etc", "sha256:../../../../etc/passwd", "blake9:00"} {
			config := f.blob(t, "team/app", "{}")
			config.MediaType = v1.MediaTypeImageConfig
			m := v1.Manifest{MediaType: v1.MediaTypeImageManifest, Config: config, Layers: []v1.Descriptor{}, Subject: &v1.Descriptor{Digest: subject}}
			m.SchemaVersion = 2
			f.manifest(t, "team/app", string(rune('a'+i)), v1.MediaTypeImageManifest, m)
		}
		unused := f.blob(t, "team/app", "unused")
		require.NoError(t, f.MayDelete(t.Context(), "team/app", string(unused.Digest)))
		page, _, err := f.ImagePage(t.Context(), "team/app", "", 100)
		require.NoError(t, err)
		require.Len(t, page, 7)
		time.Sleep(2 * day)
		done, err := f.Collect(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1, done.Blobs)
	})
}

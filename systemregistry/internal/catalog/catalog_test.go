package catalog_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/distribution/distribution/v3"
	_ "github.com/distribution/distribution/v3/manifest/manifestlist"
	_ "github.com/distribution/distribution/v3/manifest/ocischema"
	_ "github.com/distribution/distribution/v3/manifest/schema2"
	"github.com/distribution/distribution/v3/registry/storage"
	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/systemregistry/images"
	"github.com/regcred/regcred/systemregistry/internal/catalog"
)

func TestMain(m *testing.M) {
	logrus.SetLevel(logrus.PanicLevel) // Distribution logs to it.
	os.Exit(m.Run())
}

// fixture is a catalog, and a namespace that pushes into the same storage as distribution's handlers do.
type fixture struct {
	*catalog.Catalog
	namespace distribution.Namespace
}

func open(t *testing.T, policies ...images.Policy) fixture {
	t.Helper()
	return over(t, inmemory.New(), policies...)
}

func over(t *testing.T, driver storagedriver.StorageDriver, policies ...images.Policy) fixture {
	t.Helper()
	c, err := catalog.Open(t.Context(), driver, policies)
	require.NoError(t, err)
	namespace, err := storage.NewRegistry(t.Context(), driver, storage.EnableDelete)
	require.NoError(t, err)
	return fixture{c, namespace}
}

func (f fixture) repository(t *testing.T, name string) distribution.Repository {
	t.Helper()
	named, err := reference.WithName(name)
	require.NoError(t, err)
	r, err := f.namespace.Repository(t.Context(), named)
	require.NoError(t, err)
	return r
}

func (f fixture) blob(t *testing.T, repository, content string) v1.Descriptor {
	t.Helper()
	d, err := f.repository(t, repository).Blobs(t.Context()).Put(t.Context(), "application/octet-stream", []byte(content))
	require.NoError(t, err)
	return v1.Descriptor{MediaType: "application/octet-stream", Digest: d.Digest, Size: int64(len(content))}
}

func (f fixture) manifest(t *testing.T, repository, tag, mediaType string, content any) v1.Descriptor {
	t.Helper()
	payload, err := json.Marshal(content)
	require.NoError(t, err)
	m, _, err := distribution.UnmarshalManifest(mediaType, payload)
	require.NoError(t, err)
	r := f.repository(t, repository)
	manifests, err := r.Manifests(t.Context())
	require.NoError(t, err)
	d, err := manifests.Put(t.Context(), m)
	require.NoError(t, err)
	desc := v1.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(payload))}
	if tag != "" {
		require.NoError(t, r.Tags(t.Context()).Tag(t.Context(), tag, desc))
	}
	return desc
}

// push pushes an image with one layer.
func (f fixture) push(t *testing.T, repository, tag, layer, architecture string) v1.Descriptor {
	t.Helper()
	config := f.blob(t, repository, fmt.Sprintf(`{"os":"linux","architecture":%q,"created":"2026-01-02T03:04:05Z"}`, architecture))
	config.MediaType = v1.MediaTypeImageConfig
	m := v1.Manifest{MediaType: v1.MediaTypeImageManifest, Config: config, Layers: []v1.Descriptor{f.blob(t, repository, layer)}}
	m.SchemaVersion = 2
	return f.manifest(t, repository, tag, v1.MediaTypeImageManifest, m)
}

func (f fixture) index(t *testing.T, repository, tag string, children ...v1.Descriptor) v1.Descriptor {
	t.Helper()
	x := v1.Index{MediaType: v1.MediaTypeImageIndex, Manifests: children}
	x.SchemaVersion = 2
	return f.manifest(t, repository, tag, v1.MediaTypeImageIndex, x)
}

func (f fixture) has(t *testing.T, repository string, d digest.Digest) bool {
	t.Helper()
	_, err := f.repository(t, repository).Blobs(t.Context()).Stat(t.Context(), d)
	if err != nil {
		require.ErrorIs(t, err, distribution.ErrBlobUnknown)
	}
	return err == nil
}

func (f fixture) mayPut(t *testing.T, repository, reference, manifest string) error {
	t.Helper()
	done, err := f.MayPut(t.Context(), repository, reference, manifest, 10)
	if err == nil {
		done(false)
	}
	return err
}

func (f fixture) tags(t *testing.T, repository string) string {
	t.Helper()
	tags, err := f.Tags(t.Context(), repository)
	require.NoError(t, err)
	return strings.Join(tags, " ")
}

func TestRepositories(t *testing.T) {
	f := open(t)
	list := func(after string) (names []string) {
		for name, err := range f.Repositories(t.Context(), after) {
			require.NoError(t, err)
			names = append(names, name)
		}
		return names
	}
	require.Empty(t, list(""), "nothing was ever pushed")
	var want []string
	for i := range 230 { // More than two pages.
		name := fmt.Sprintf("team/app%03d", i)
		want = append(want, name)
		f.push(t, name, "1", "layer", "amd64")
	}
	require.Equal(t, want, list(""))
	require.Equal(t, want[201:], list(want[200]))
	for range f.Repositories(t.Context(), "") {
		break
	}
}

func TestImage(t *testing.T) {
	f := open(t)
	one := f.push(t, "team/app", "1", "layer", "amd64")
	got, err := f.Image(t.Context(), "team/app", "1")
	require.NoError(t, err)
	config := len(`{"os":"linux","architecture":"amd64","created":"2026-01-02T03:04:05Z"}`)
	require.WithinDuration(t, time.Now(), got.PushedAt, time.Minute)
	got.PushedAt = time.Time{}
	require.Equal(t, images.Image{
		Repository: "team/app", Tag: "1", Digest: string(one.Digest), MediaType: v1.MediaTypeImageManifest,
		Size: one.Size + int64(len("layer")+config), Platforms: []string{"linux/amd64"}, CreatedAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	}, got)

	two := f.push(t, "team/app", "", "layer", "arm64")
	one.Platform, two.Platform = &v1.Platform{OS: "linux", Architecture: "amd64"}, &v1.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}
	attestation := f.push(t, "team/app", "", "proof", "unknown")
	attestation.Platform = &v1.Platform{OS: "unknown", Architecture: "unknown"}
	absent := v1.Descriptor{MediaType: v1.MediaTypeImageManifest, Digest: digest.FromString("absent"), Size: 1000, Platform: &v1.Platform{OS: "windows", Architecture: "amd64"}}
	index := f.index(t, "team/app", "all", one, two, attestation, absent)
	got, err = f.Image(t.Context(), "team/app", "all")
	require.NoError(t, err)
	require.Equal(t, []string{"linux/amd64", "linux/arm64/v8", "windows/amd64"}, got.Platforms)
	configs := 2*config + len(`{"os":"linux","architecture":"unknown","created":"2026-01-02T03:04:05Z"}`)
	require.Equal(t, index.Size+one.Size+two.Size+attestation.Size+absent.Size+int64(len("layer")+len("proof")+configs), got.Size, "a shared layer counts once")

	byDigest, err := f.Image(t.Context(), "team/app", string(one.Digest))
	require.NoError(t, err)
	require.Empty(t, byDigest.Tag)
}

func TestNotFound(t *testing.T) {
	f := open(t)
	elsewhere := f.push(t, "other/app", "1", "layer", "amd64")
	f.push(t, "team/app", "1", "layer 2", "amd64")
	for _, name := range [][2]string{
		{"team/app", "2"}, {"team/none", "1"}, {"team/app", string(elsewhere.Digest)}, {"", "1"}, {"team/app", ""}, {"../team/app", "1"},
		{"team/app", "../../../../other/app/_manifests/tags/1"}, {"team/app", "."}, {"team/app", "1/current"}, {"TEAM/app", "1"},
	} {
		_, err := f.Image(t.Context(), name[0], name[1])
		require.ErrorIs(t, err, images.ErrNoImage, "%q", name)
		require.ErrorIs(t, f.Delete(t.Context(), name[0], name[1]), images.ErrNoImage, "%q", name)
	}
}

func TestDelete(t *testing.T) {
	f := open(t)
	d := f.push(t, "team/app", "1", "layer", "amd64")
	f.push(t, "team/app", "latest", "layer", "amd64")
	f.push(t, "team/app", "2", "other layer", "amd64")
	require.NoError(t, f.Delete(t.Context(), "team/app", "1"))
	require.Equal(t, "2 latest", f.tags(t, "team/app"))
	_, err := f.Image(t.Context(), "team/app", string(d.Digest))
	require.NoError(t, err, "the image is there by its digest")
	require.NoError(t, f.Delete(t.Context(), "team/app", string(d.Digest)))
	require.Equal(t, "2", f.tags(t, "team/app"), "with an image go its tags")
}

func TestImmutable(t *testing.T) {
	f := open(t, images.Policy{Repositories: "team/**", Immutable: true})
	d := f.push(t, "team/app", "1", "layer", "amd64")
	free := f.push(t, "other/app", "1", "layer", "amd64")
	ctx := t.Context()
	require.ErrorIs(t, f.mayPut(t, "team/app", "1", string(digest.FromString("x"))), images.ErrImmutable)
	require.NoError(t, f.mayPut(t, "team/app", "1", string(d.Digest)), "the same again")
	require.NoError(t, f.mayPut(t, "team/app", "2", string(digest.FromString("x"))), "a new tag")
	require.NoError(t, f.mayPut(t, "other/app", "1", string(digest.FromString("x"))))
	require.ErrorIs(t, f.Delete(ctx, "team/app", "1"), images.ErrImmutable)
	require.ErrorIs(t, f.Delete(ctx, "team/app", string(d.Digest)), images.ErrImmutable)
	require.NoError(t, f.Delete(ctx, "other/app", string(free.Digest)))

	// The parts of a tagged image stay, too.
	arm, untagged := f.push(t, "team/many", "", "arm layer", "arm64"), f.push(t, "team/many", "", "layer of no tag", "s390x")
	f.index(t, "team/many", "1", f.push(t, "team/many", "", "amd layer", "amd64"), arm, v1.Descriptor{
		MediaType: v1.MediaTypeImageManifest, Digest: digest.FromString("a platform that was not pushed"), Size: 1,
	})
	for _, d := range []digest.Digest{arm.Digest, digest.FromString("arm layer")} {
		require.ErrorIs(t, f.MayDelete(ctx, "team/many", string(d)), images.ErrImmutable)
	}
	for _, d := range []digest.Digest{untagged.Digest, digest.FromString("layer of no tag")} {
		require.NoError(t, f.MayDelete(ctx, "team/many", string(d)))
	}
}

func TestChangingWaitsForTheSameTag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := open(t)
		done, err := f.Changing(t.Context(), "team/app", "1")
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err = f.Changing(ctx, "team/app", "1")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		_, err = f.Collect(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded, "collecting waits for who changes")
		done()
		done, err = f.Changing(t.Context(), "team/app", "1")
		require.NoError(t, err)
		done()
		_, err = f.Collect(t.Context())
		require.NoError(t, err)
	})
}

// A tag that is set while its image is deleted by digest would be lost, and could then refer to another image.
func TestDeletingKeepsOutWhoPuts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := open(t)
		d := string(digest.FromString("x"))
		waits := func(turn func(context.Context, string, string) (func(), error), reference string) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			_, err := turn(ctx, "team/app", reference)
			require.ErrorIs(t, err, context.DeadlineExceeded)
		}
		done, err := f.Deleting(t.Context(), "team/app", d)
		require.NoError(t, err)
		waits(f.Changing, "1")
		waits(f.Changing, string(digest.FromString("y")))
		waits(f.Deleting, "1")
		done()
		done, err = f.Changing(t.Context(), "team/app", "1")
		require.NoError(t, err)
		waits(f.Deleting, d)
		free := 0 // Of eight other tags. One in 64 waits for the same slot.
		for i := range 8 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			if other, err := f.Changing(ctx, "team/app", fmt.Sprintf("other-%d", i)); err == nil {
				free++
				other()
			}
			cancel()
		}
		require.Positive(t, free, "another tag")
		done()
	})
}

func TestPoliciesAreValidated(t *testing.T) {
	for _, p := range []images.Policy{{}, {Repositories: "te*m"}, {Repositories: "**", MaxBytes: -1}, {Repositories: "**", KeepFor: -1}} {
		_, err := catalog.Open(t.Context(), inmemory.New(), []images.Policy{p})
		require.Error(t, err, "%+v", p)
	}
}

func sorted(texts ...string) []string { slices.Sort(texts); return texts }

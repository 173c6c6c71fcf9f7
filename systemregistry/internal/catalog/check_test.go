package catalog_test

import (
	"strings"
	"testing"

	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/opencontainers/go-digest"
	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/systemregistry/internal/catalog"
)

func check(t *testing.T, f fixture) (problems []string) {
	t.Helper()
	for p, err := range f.Check(t.Context()) {
		require.NoError(t, err)
		problems = append(problems, p.Error())
	}
	return problems
}

func TestCheck(t *testing.T) {
	const folder = "/docker/registry/v2/repositories/team/app/"
	link := func(kind string, d digest.Digest) string { return folder + kind + "/sha256/" + d.Encoded() + "/link" }
	layer := digest.FromString("layer")
	for name, tc := range map[string]struct {
		damage func(t *testing.T, storage *inmemory.Driver, manifest digest.Digest) error
		want   []string // Parts of each problem.
	}{
		"nothing": {func(*testing.T, *inmemory.Driver, digest.Digest) error { return nil }, nil},
		"a layer's data is gone": {func(t *testing.T, s *inmemory.Driver, _ digest.Digest) error {
			return s.Delete(t.Context(), catalog.BlobPath(layer))
		}, []string{"team/app@" + string(layer) + " needs " + string(layer) + ": the data is missing"}},
		"a layer's data is damaged": {func(t *testing.T, s *inmemory.Driver, _ digest.Digest) error {
			return s.PutContent(t.Context(), catalog.BlobPath(layer), []byte("other"))
		}, []string{"needs " + string(layer) + ": the data has another digest", string(layer) + ": the data has another digest"}},
		"a layer's link is gone": {func(t *testing.T, s *inmemory.Driver, _ digest.Digest) error {
			return s.Delete(t.Context(), link("_layers", layer))
		}, []string{"needs " + string(layer) + ": the repository does not have it"}},
		"a manifest's data is gone": {func(t *testing.T, s *inmemory.Driver, manifest digest.Digest) error {
			return s.Delete(t.Context(), catalog.BlobPath(manifest))
		}, []string{"the data is missing"}},
		"a manifest's link is gone": {func(t *testing.T, s *inmemory.Driver, manifest digest.Digest) error {
			return s.Delete(t.Context(), link("_manifests/revisions", manifest))
		}, []string{"team/app:1 needs sha256:", "team/app@sha256:"}}, // The tag, and the index.
		"a tag is damaged": {func(t *testing.T, s *inmemory.Driver, _ digest.Digest) error {
			return s.PutContent(t.Context(), folder+"_manifests/tags/1/current/link", []byte("sha256:12"))
		}, []string{"team/app:1 needs sha256:12: invalid checksum digest length"}},
	} {
		t.Run(name, func(t *testing.T) {
			storage := inmemory.New()
			f := over(t, storage)
			one := f.push(t, "team/app", "1", "layer", "amd64")
			f.index(t, "team/app", "all", one)
			require.NoError(t, tc.damage(t, storage, one.Digest))
			got := check(t, f)
			require.Len(t, got, len(tc.want), strings.Join(got, "\n"))
			for i, want := range tc.want {
				require.Contains(t, got[i], want)
			}
		})
	}
}

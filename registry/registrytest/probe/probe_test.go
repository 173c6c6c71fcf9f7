package probe

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/registry/registrytest"
)

// setups are the setups of the tests with fakes.
func setups(d registrytest.Dialect) []Setup {
	return []Setup{
		{Depth: 2, Login: !d.Open(), Other: true, Public: true, Tags: 2},
		{Depth: 3, Login: !d.Open(), Tags: 1, MediaType: "application/vnd.docker.distribution.manifest.list.v2+json", RateLimit: true},
		{Depth: 1, Login: !d.Open()},
		{Depth: 2},
	}
}

// A fake differs from no fake of its own dialect, and its capture survives its JSON form.
func TestFakesDoNotDiffer(t *testing.T) {
	t.Parallel()
	for _, d := range registrytest.Dialects() {
		t.Run(d.Name, func(t *testing.T) {
			t.Parallel()
			for i, setup := range setups(d) {
				w := world{rights: right(i % int(rights)), public: publicity(i % 3), many: i == 1}
				if !setup.Login {
					w.rights, w.public = 0, repositoryPublic
				}
				r, target, err := newFake(d, setup, w)
				require.NoError(t, err)
				c, err := probeFake(t.Context(), r, target)
				require.NoError(t, err)
				if len(c.Exchanges) < 10 {
					t.Errorf("only %d exchanges", len(c.Exchanges))
				}
				text, err := c.Encode()
				require.NoError(t, err)
				decoded, err := Decode(text)
				require.NoError(t, err)
				require.Equal(t, c, decoded)
				comparison, err := decoded.Compare(t.Context(), d)
				require.NoError(t, err)
				require.Empty(t, comparison.Differences, "%+v", setup)
			}
		})
	}
}

// Each file in testdata/captures is a test of the fake of its dialect.
func TestCaptures(t *testing.T) {
	files, err := fs.Glob(os.DirFS("testdata/captures"), "*.json")
	require.NoError(t, err)
	for _, file := range files {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(filepath.Join("testdata/captures", file))
			require.NoError(t, err)
			c, err := Decode(text)
			require.NoError(t, err)
			require.NoError(t, c.Verify(t.Context()))
		})
	}
}

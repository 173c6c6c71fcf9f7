package store_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/systemregistry/store"
	"github.com/regcred/regcred/systemregistry/store/storetest"
)

func TestMemory(t *testing.T) {
	storetest.Run(t, func(*testing.T) store.Store { return new(store.Memory) })
}

func TestFile(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store {
		f, err := store.Open(filepath.Join(t.TempDir(), "sub", "store.db"))
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, f.Close()) })
		return f
	})
}

func TestFileSurvivesAndIsPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	f, err := store.Open(path)
	require.NoError(t, err)
	first, err := f.Put(t.Context(), "a", []byte("1"), 0)
	require.NoError(t, err)
	require.NoError(t, f.Delete(t.Context(), "a", 0))
	require.NoError(t, f.Close())

	f, err = store.Open(path)
	require.NoError(t, err)
	second, err := f.Put(t.Context(), "a", []byte("2"), 0)
	require.NoError(t, err)
	require.Greater(t, second, first, "versions start again after a restart")
	require.NoError(t, f.Close())

	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Zero(t, info.Mode()&0o077, "others may read the file")
}

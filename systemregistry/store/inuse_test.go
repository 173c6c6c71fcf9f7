package store

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// This test is in package store because Open waits for ten seconds.

func TestFileInUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	f, err := Open(path)
	require.NoError(t, err)
	_, err = open(path, time.Millisecond)
	require.ErrorIs(t, err, ErrInUse)
	require.ErrorContains(t, err, path)
	require.NoError(t, f.Close())
}

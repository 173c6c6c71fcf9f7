package systemregistry_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/systemregistry"
	"github.com/regcred/regcred/systemregistry/images"
	"github.com/regcred/regcred/systemregistry/store"
)

func filesIn(dir string) storagedriver.StorageDriver {
	return filesystem.New(filesystem.DriverParameters{RootDirectory: dir, MaxThreads: 100})
}

// A backup of a registry that serves pushes and deletions meanwhile is consistent, and has all that was pushed before
// it.
func TestBackup(t *testing.T) {
	for name, shared := range map[string]bool{"one process": false, "replicas": true} {
		t.Run(name, func(t *testing.T) {
			dir, to, again := t.TempDir(), filepath.Join(t.TempDir(), "backup"), t.TempDir()
			server := systemregistry.Server{Dir: dir}
			if shared {
				server = systemregistry.Server{Driver: filesIn(dir), Store: new(store.Memory)}
			}
			r := start(t, server)
			robot, secret := r.robot(t, "team", "ci", rule("team/**", "pull"))
			want := make(map[string]string)
			for i := range 10 {
				tag := fmt.Sprint(i)
				want[tag] = r.push(t, "ann", password("ann"), "team/app", tag, "layer "+tag)
			}

			ctx, stop := context.WithCancel(t.Context())
			var clients sync.WaitGroup
			clients.Go(func() {
				for i := 0; ctx.Err() == nil; i++ {
					tag := fmt.Sprintf("meanwhile-%d", i)
					digest := r.push(t, "ann", password("ann"), "team/app", tag, "layer "+tag)
					if i%3 == 0 {
						_ = r.Images().Delete(t.Context(), "team/app", digest)
					}
				}
			})
			for range 3 { // The second one finds most data in place.
				require.NoError(t, r.Backup(t.Context(), to))
			}
			stop()
			clients.Wait()
			require.NoError(t, filepath.WalkDir(to, func(path string, entry os.DirEntry, err error) error {
				require.NoError(t, err)
				info, err := entry.Info()
				require.NoError(t, err)
				require.Zero(t, info.Mode().Perm()&0o077, path)
				return nil
			}))

			restored := systemregistry.Server{Dir: again}
			if shared {
				table := new(store.Memory)
				require.NoError(t, systemregistry.Restore(t.Context(), to, filesIn(again), table))
				require.ErrorContains(t, systemregistry.Restore(t.Context(), to, filesIn(again), table), "not empty")
				restored = systemregistry.Server{Driver: filesIn(again), Store: table}
			} else {
				table, err := store.Open(filepath.Join(again, "accounts.db"))
				require.NoError(t, err)
				require.NoError(t, systemregistry.Restore(t.Context(), to, filesIn(filepath.Join(again, "images")), table))
				require.NoError(t, table.Close())
			}
			second := start(t, restored)
			for p, err := range second.Images().Check(t.Context()) {
				require.NoError(t, err)
				t.Error(p)
			}
			for tag, digest := range want {
				require.Equal(t, http.StatusOK, second.pull(t, robot, secret, "team/app", tag))
				got, err := second.Images().Image(t.Context(), "team/app", tag)
				require.NoError(t, err)
				require.Equal(t, digest, got.Digest)
			}
			second.push(t, "ann", password("ann"), "team/app", "new", "layer")
		})
	}
}

// No collection runs during a backup, and the backup does not delay pushes.
func TestBackupHoldsCollections(t *testing.T) {
	r := start(t, systemregistry.Server{})
	_, release, err := r.Catalog().HoldCollections(t.Context())
	require.NoError(t, err)
	_, err = r.Images().Collect(t.Context())
	require.ErrorIs(t, err, images.ErrCollecting)
	r.push(t, "ann", password("ann"), "team/app", "1", "layer")
	release()
	_, err = r.Images().Collect(t.Context())
	require.NoError(t, err)
}

// hookedFiles is a storage that calls the functions that are set.
type hookedFiles struct {
	storagedriver.StorageDriver
	read, listed func(path string) error
}

func (d *hookedFiles) Reader(ctx context.Context, path string, offset int64) (io.ReadCloser, error) {
	if d.read != nil {
		if err := d.read(path); err != nil {
			return nil, err
		}
	}
	return d.StorageDriver.Reader(ctx, path, offset)
}

// List lists in reverse order.
func (d *hookedFiles) List(ctx context.Context, path string) ([]string, error) {
	names, err := d.StorageDriver.List(ctx, path)
	slices.Sort(names)
	if d.listed != nil && err == nil {
		err = d.listed(path)
	}
	slices.Reverse(names)
	return names, err
}

// restored restores the backup into a new registry.
func restored(t *testing.T, from string) (*running, error) {
	t.Helper()
	dir := t.TempDir()
	table, err := store.Open(filepath.Join(dir, "accounts.db"))
	require.NoError(t, err)
	err = systemregistry.Restore(t.Context(), from, filesIn(filepath.Join(dir, "images")), table)
	require.NoError(t, table.Close())
	if err != nil {
		return nil, err
	}
	r := start(t, systemregistry.Server{Dir: dir})
	for p, err := range r.Images().Check(t.Context()) {
		require.NoError(t, err)
		t.Error(p)
	}
	return r, nil
}

// A backup that is interrupted leaves the previous backup in the folder usable.
func TestInterruptedBackup(t *testing.T) {
	files := &hookedFiles{StorageDriver: filesIn(t.TempDir())}
	to := filepath.Join(t.TempDir(), "backup")
	r := start(t, systemregistry.Server{Driver: files})
	r.push(t, "ann", password("ann"), "team/app", "1", "layer")
	interrupt := func(path string) error {
		if strings.Contains(path, "/blobs/") {
			return errors.New("interrupted")
		}
		return nil
	}

	files.read = interrupt
	require.ErrorContains(t, r.Backup(t.Context(), to), "interrupted")
	_, err := restored(t, to)
	require.ErrorContains(t, err, "the backup was interrupted")

	files.read = nil
	require.NoError(t, r.Backup(t.Context(), to))
	r.push(t, "ann", password("ann"), "team/app", "2", "second layer")
	files.read = interrupt
	require.ErrorContains(t, r.Backup(t.Context(), to), "interrupted")
	second, err := restored(t, to)
	require.NoError(t, err)
	tags, err := second.Images().Tags(t.Context(), "team/app")
	require.NoError(t, err)
	require.Equal(t, []string{"1"}, tags)
	require.Equal(t, http.StatusOK, second.pull(t, "ann", password("ann"), "team/app", "1"))

	files.read = nil
	require.NoError(t, r.Backup(t.Context(), to))
	second, err = restored(t, to)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, second.pull(t, "ann", password("ann"), "team/app", "2"))
	left, err := filepath.Glob(filepath.Join(to, "images/docker/registry/v2/*.*"))
	require.NoError(t, err)
	require.Empty(t, left)
}

// The program may end between any two steps in which a backup replaces the previous one.
func TestBackupInterruptedAtTheEnd(t *testing.T) {
	r := start(t, systemregistry.Server{})
	to := filepath.Join(t.TempDir(), "backup")
	links := filepath.Join(to, "images/docker/registry/v2/repositories")
	r.push(t, "ann", password("ann"), "team/app", "1", "layer")
	require.NoError(t, r.Backup(t.Context(), to))
	require.NoError(t, os.Rename(links, links+".old"))
	require.NoError(t, os.Mkdir(links+".new", 0o700))
	_, err := restored(t, to)
	require.ErrorContains(t, err, "the backup was interrupted")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.Error(t, r.Backup(ctx, to))
	require.NoError(t, r.Backup(t.Context(), to))
	second, err := restored(t, to)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, second.pull(t, "ann", password("ann"), "team/app", "1"))
}

// A backup has the layers of each manifest that it has, even if they are pushed while the links are copied.
func TestBackupDuringPush(t *testing.T) {
	files := &hookedFiles{StorageDriver: filesIn(t.TempDir())}
	r := start(t, systemregistry.Server{Driver: files})
	r.push(t, "ann", password("ann"), "team/app", "1", "layer")
	pushed := 0
	files.listed = func(path string) error {
		if strings.HasSuffix(path, "/_layers/sha256") {
			pushed++
			r.push(t, "ann", password("ann"), "team/app", fmt.Sprint("meanwhile-", pushed), fmt.Sprint("layer ", pushed))
		}
		return nil
	}
	to := filepath.Join(t.TempDir(), "backup")
	require.NoError(t, r.Backup(t.Context(), to))
	require.Positive(t, pushed)
	files.listed = nil
	_, err := restored(t, to)
	require.NoError(t, err)
}

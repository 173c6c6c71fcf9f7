package systemregistry_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
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

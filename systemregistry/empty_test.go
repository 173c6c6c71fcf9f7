package systemregistry_test

import (
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/systemregistry"
)

// emptyFolders returns the folders of repositories that contain nothing.
func emptyFolders(t *testing.T, dir string) (empty []string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(dir, "images/docker/registry/v2/repositories"), func(path string, file fs.DirEntry, err error) error {
		if err != nil || !file.IsDir() {
			return err
		}
		children, err := os.ReadDir(path)
		if len(children) == 0 {
			empty = append(empty, path)
		}
		return err
	})
	if !os.IsNotExist(err) {
		require.NoError(t, err)
	}
	return empty
}

// age makes everything in the folder two days old.
func age(t *testing.T, dir string) {
	t.Helper()
	old := time.Now().Add(-48 * time.Hour)
	require.NoError(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chtimes(path, old, old)
	}))
}

// A client that starts and cancels uploads, or pushes and deletes images, in repositories of ever new names, leaves no
// folders behind, which would not count in its quota.
func TestEmptyFoldersAreRemoved(t *testing.T) {
	s := systemregistry.Server{Dir: t.TempDir()}
	repositories := filepath.Join(s.Dir, "images/docker/registry/v2/repositories")
	r, stop := startStop(t, s)
	cancel := func(name string) {
		token := r.token(t, "ann", password("ann"), "repository:"+name+":pull,push,delete")
		resp, _ := r.do(t, "POST", "/v2/"+name+"/blobs/uploads/", "", bearer(token))
		resp, _ = r.do(t, "DELETE", resp.Header.Get("Location"), "", bearer(token))
		require.Equal(t, http.StatusNoContent, resp.StatusCode)
	}
	cancel("team/a/deep/name")
	require.NoDirExists(t, filepath.Join(repositories, "team"))

	r.push(t, "ann", password("ann"), "team/app", "1", "layer")
	cancel("team/app")
	cancel("team/app/below")
	require.NoDirExists(t, filepath.Join(repositories, "team/app/below"))
	for _, name := range []string{"team/app", "team/gone/deep"} {
		d := r.push(t, "ann", password("ann"), name, "2", "layer of "+name)
		token := r.token(t, "ann", password("ann"), "repository:"+name+":pull,push,delete")
		for _, path := range []string{"/manifests/" + d, "/blobs/" + digestOf("layer of "+name)} {
			resp, body := r.do(t, "DELETE", "/v2/"+name+path, "", bearer(token))
			require.Equal(t, http.StatusAccepted, resp.StatusCode, body)
		}
	}
	token := r.token(t, "ann", password("ann"), "repository:team/left/deep:pull,push")
	resp, _ := r.do(t, "POST", "/v2/team/left/deep/blobs/uploads/", "", bearer(token))
	require.Equal(t, http.StatusAccepted, resp.StatusCode)
	require.NotEmpty(t, emptyFolders(t, s.Dir))
	for i := range 3 {
		stop() // A process remembers for a day what it has confirmed to clients.
		age(t, s.Dir)
		r, stop = startStop(t, s)
		_, err := r.Images().Collect(t.Context())
		require.NoError(t, err)
		if i == 0 {
			require.NoDirExists(t, filepath.Join(repositories, "team/left"))
		}
	}
	require.Empty(t, emptyFolders(t, s.Dir))
	require.NoDirExists(t, filepath.Join(repositories, "team/gone"))
	require.Equal(t, http.StatusOK, r.pull(t, "ann", password("ann"), "team/app", "1"))
}

// vanishingDriver fails the first write to each file, as if its folder was removed.
type vanishingDriver struct {
	storagedriver.StorageDriver
	failed sync.Map
}

func (d *vanishingDriver) vanish(path string) error {
	if _, known := d.failed.LoadOrStore(path, true); known {
		return nil
	}
	return storagedriver.Error{DriverName: d.Name(), Detail: &fs.PathError{Op: "mkdir", Path: path, Err: syscall.ENOENT}}
}

func (d *vanishingDriver) PutContent(ctx context.Context, path string, content []byte) error {
	if err := d.vanish(path); err != nil {
		return err
	}
	return d.StorageDriver.PutContent(ctx, path, content)
}

func (d *vanishingDriver) Writer(ctx context.Context, path string, more bool) (storagedriver.FileWriter, error) {
	if err := d.vanish(path); err != nil {
		return nil, err
	}
	return d.StorageDriver.Writer(ctx, path, more)
}

// A folder that is empty for a moment may be removed while another client is about to write to it.
func TestFolderIsRemovedDuringPush(t *testing.T) {
	r := open(t, systemregistry.Server{Driver: &vanishingDriver{StorageDriver: filesIn(t.TempDir())}})
	r.push(t, "ann", password("ann"), "team/app", "1", "layer")
	require.Equal(t, http.StatusOK, r.pull(t, "ann", password("ann"), "team/app", "1"))
}

// Clients that cancel uploads do not disturb others in the same repository, or below it.
func TestEmptyFoldersAndPushes(t *testing.T) {
	r := open(t, systemregistry.Server{Dir: t.TempDir()})
	token := r.token(t, "ann", password("ann"), "repository:team/x:pull,push,delete", "repository:team/x/y:pull,push,delete")
	var clients sync.WaitGroup
	for i := range 4 {
		clients.Go(func() {
			name := []string{"team/x", "team/x/y"}[i%2]
			for n := range 50 {
				resp, body := r.do(t, "POST", "/v2/"+name+"/blobs/uploads/", "", bearer(token))
				if resp.StatusCode != http.StatusAccepted {
					t.Error(n, resp.Status, body)
					return
				}
				resp, body = r.do(t, "PATCH", resp.Header.Get("Location"), fmt.Sprint(n), bearer(token))
				if resp.StatusCode != http.StatusAccepted {
					t.Error(n, resp.Status, body)
					return
				}
				resp, body = r.do(t, "DELETE", resp.Header.Get("Location"), "", bearer(token))
				if resp.StatusCode != http.StatusNoContent {
					t.Error(n, resp.Status, body)
					return
				}
			}
		})
	}
	clients.Wait()
}

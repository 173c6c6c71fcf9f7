package systemregistry

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"

	"github.com/regcred/regcred/systemregistry/internal/shared"
	"github.com/regcred/regcred/systemregistry/store"
)

// A backup consists of the entries of the store, as one line of JSON each, and the files of the storage in
// distribution's layout.
const (
	backupStore  = "store.jsonl"
	backupImages = "images"

	layoutLinks = "/docker/registry/v2/repositories"
	layoutBlobs = "/docker/registry/v2/blobs"
)

type backupEntry struct {
	Key   string `json:"key"`
	Value []byte `json:"value"`
}

// Backup copies all data of the registry into a folder, while the registry and its replicas run. The backup has every
// image whose push completed before the call, and may have later ones. Collections wait until Backup returns. A later
// backup into the same folder copies only new data; if it is interrupted, the folder still has the previous backup. The
// folder contains password hashes and signing keys, so only its owner can read it.
func (r *Registry) Backup(ctx context.Context, dir string) error {
	ctx, release, err := r.catalog.HoldCollections(ctx)
	if err != nil {
		return fmt.Errorf("back up registry: %w", err)
	}
	defer release()
	b := backup{registry: r, dir: dir}
	if err := b.run(ctx); err != nil {
		return fmt.Errorf("back up registry: %w", err)
	}
	return nil
}

type backup struct {
	registry *Registry
	dir      string
}

// links returns the folder of links in a backup. The links and the entries of the store are staged beside their places,
// and replace the previous ones at the end, so that an interrupted backup leaves the previous one usable.
func (b *backup) links() string { return filepath.Join(b.dir, backupImages, layoutLinks) }

const (
	staged   = ".new"
	replaced = ".old"
)

// run copies references before the data that they refer to: tags, then manifests, then layers, then data. So the backup
// lacks nothing that is pushed during the copy. Data that is deleted during the copy may be missing, so a tag without an
// image is dropped.
func (b *backup) run(ctx context.Context) error {
	links := b.links()
	if _, err := os.Lstat(links); errors.Is(err, os.ErrNotExist) {
		// The previous backup was interrupted while it replaced the links.
		if err := os.Rename(links+replaced, links); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	if err := errors.Join(os.MkdirAll(b.dir, 0o700), os.RemoveAll(links+staged), os.MkdirAll(links+staged, 0o700)); err != nil {
		return err
	}
	if err := b.entries(ctx); err != nil {
		return err
	}
	if b.registry.config.Store == nil { // Otherwise, links are entries of the store.
		for _, part := range []string{"/_manifests/tags", "/_manifests/revisions", "/_layers"} {
			if err := b.copyLinks(ctx, links+staged, part); err != nil {
				return err
			}
		}
		if err := dropTags(links + staged); err != nil {
			return err
		}
	}
	if err := b.blobs(ctx); err != nil {
		return err
	}
	return b.replace()
}

// replace replaces the previous backup.
func (b *backup) replace() error {
	links, entries := b.links(), filepath.Join(b.dir, backupStore)
	if err := os.RemoveAll(links + replaced); err != nil {
		return err
	}
	if err := os.Rename(links, links+replaced); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := errors.Join(os.Rename(links+staged, links), os.Rename(entries+staged, entries)); err != nil {
		return err
	}
	return os.RemoveAll(links + replaced)
}

// blobs copies the data that the backup does not have.
func (b *backup) blobs(ctx context.Context) error {
	blobs, err := b.registry.catalog.BlobSizes(ctx)
	if err != nil {
		return err
	}
	for _, from := range slices.Sorted(maps.Keys(blobs)) {
		to := filepath.Join(b.dir, backupImages, from)
		if info, err := os.Stat(to); err == nil && info.Size() == blobs[from] {
			continue // Content with a digest never changes.
		}
		if err := b.file(ctx, from, to); err != nil {
			return err
		}
	}
	return nil
}

// entries stages the entries of the store.
func (b *backup) entries(ctx context.Context) error {
	file, err := os.OpenFile(filepath.Join(b.dir, backupStore)+staged, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	w := bufio.NewWriter(file)
	encoder := json.NewEncoder(w)
	for e, err := range shared.Export(ctx, b.registry.store) {
		if err == nil {
			err = encoder.Encode(backupEntry{e.Key, e.Value})
		}
		if err != nil {
			return err
		}
	}
	return errors.Join(w.Flush(), file.Sync())
}

// copyLinks copies one part of each repository.
func (b *backup) copyLinks(ctx context.Context, to, part string) error {
	pending := []string{layoutLinks}
	for len(pending) > 0 {
		folder := pending[len(pending)-1]
		pending = pending[:len(pending)-1]
		children, err := b.registry.storage.List(ctx, folder)
		if err != nil && !isMissing(err) {
			return err
		}
		for _, child := range children {
			if !leadsTo(child, part) {
				continue
			}
			info, err := b.registry.storage.Stat(ctx, child)
			if isMissing(err) {
				continue // Deleted during the copy.
			}
			switch {
			case err != nil:
			case info.IsDir():
				pending = append(pending, child)
			case path.Base(child) == "link":
				err = b.file(ctx, child, filepath.Join(to, strings.TrimPrefix(child, layoutLinks)))
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// leadsTo reports whether the path is a folder on the way to the part of a repository, or belongs to that part.
func leadsTo(name, part string) bool {
	i := strings.Index(name, "/_") // No part of a repository's name starts with an underscore.
	return i < 0 || strings.HasPrefix(part+"/", name[i:]+"/") || strings.HasPrefix(name[i:], part+"/")
}

// dropTags removes tags without an image.
func dropTags(links string) error {
	return filepath.WalkDir(links, func(name string, _ os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(name, "/current/link") {
			return err
		}
		content, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		tag := filepath.Dir(filepath.Dir(name))
		revision := filepath.Join(filepath.Dir(filepath.Dir(tag)), "revisions", strings.ReplaceAll(string(content), ":", "/"), "link")
		if _, err := os.Stat(revision); errors.Is(err, os.ErrNotExist) {
			return os.Remove(name)
		}
		return nil
	})
}

// file copies a file of the storage. It skips a file that was deleted during the copy.
func (b *backup) file(ctx context.Context, from, to string) error {
	data, err := b.registry.storage.Reader(ctx, from, 0)
	if isMissing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer data.Close()
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	file, err := os.OpenFile(to+staged, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := io.Copy(file, data); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	return os.Rename(to+staged, to)
}

func isMissing(err error) bool {
	if errors.As(err, new(storagedriver.PathNotFoundError)) {
		return true
	}
	// The driver for files returns this error for a folder that is deleted while it is listed.
	wrapped, ok := errors.AsType[storagedriver.Error](err)
	return ok && errors.Is(wrapped.Detail, fs.ErrNotExist)
}

// Restore writes a backup into an empty storage and an empty store. No registry may run on them meanwhile. If Restore
// is interrupted, empty the store and call Restore again. Restore fails if the backup itself was interrupted, and the
// folder has no previous one. A backup of replicas can be restored for replicas only. A
// backup of a registry with a Dir can be restored for replicas if [Import] is called afterwards.
func Restore(ctx context.Context, dir string, driver storagedriver.StorageDriver, s store.Store) error {
	if err := restore(ctx, dir, driver, s); err != nil {
		return fmt.Errorf("restore registry: %w", err)
	}
	return nil
}

func restore(ctx context.Context, dir string, driver storagedriver.StorageDriver, s store.Store) error {
	for e, err := range s.List(ctx, "") {
		if err == nil {
			err = fmt.Errorf("the store is not empty: it has %s", e.Key)
		}
		return err
	}
	root := filepath.Join(dir, backupImages)
	for _, name := range []string{filepath.Join(root, layoutLinks), filepath.Join(dir, backupStore)} {
		_, err := os.Stat(name)
		if _, stagedErr := os.Stat(name + staged); errors.Is(err, os.ErrNotExist) && stagedErr == nil {
			return fmt.Errorf("the backup was interrupted before it had %s: make it again", filepath.Base(name))
		}
	}
	for _, part := range []string{layoutBlobs, layoutLinks} { // Data first.
		err := filepath.WalkDir(filepath.Join(root, part), func(name string, entry os.DirEntry, err error) error {
			if err != nil || entry.IsDir() || strings.HasSuffix(name, staged) {
				return err
			}
			return upload(ctx, driver, name, filepath.ToSlash(strings.TrimPrefix(name, root)))
		})
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	file, err := os.Open(filepath.Join(dir, backupStore))
	if err != nil {
		return err
	}
	defer file.Close()
	decoder := json.NewDecoder(bufio.NewReader(file))
	for {
		var e backupEntry
		if err := decoder.Decode(&e); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		value, err := shared.Restored(e.Key, e.Value)
		if err == nil {
			_, err = s.Put(ctx, e.Key, value, 0)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", e.Key, err)
		}
	}
}

func upload(ctx context.Context, driver storagedriver.StorageDriver, from, to string) error {
	file, err := os.Open(from)
	if err != nil {
		return err
	}
	defer file.Close()
	w, err := driver.Writer(ctx, to, false)
	if err != nil {
		return err
	}
	if _, err := io.Copy(w, file); err != nil {
		return errors.Join(err, w.Cancel(ctx))
	}
	return errors.Join(w.Commit(ctx), w.Close())
}

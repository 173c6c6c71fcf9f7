package catalog

import (
	"context"
	"fmt"
	"strings"
	"time"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/opencontainers/go-digest"

	"github.com/regcred/regcred/systemregistry/internal/shared"
)

// inventory lists the whole content of the storage, except for the content of manifests.
type inventory struct {
	repositories map[string]*holdings
	blobs        map[digest.Digest]blob
	uploads      map[string]*unfinished // By folder.
	leftovers    map[string]time.Time   // Temporary files of the storage driver, by path.
	empty        map[string]time.Time   // Folders without a file or folder, by path.
}

func newInventory() *inventory {
	return &inventory{make(map[string]*holdings), make(map[digest.Digest]blob), make(map[string]*unfinished), make(map[string]time.Time), make(map[string]time.Time)}
}

// unfinished is an upload that was started and not finished.
type unfinished struct {
	repository string
	size       int64     // With its overhead.
	data       bool      // Some of the data is visible.
	changed    time.Time // Last change of any of its files.
}

type blob struct {
	size    int64
	changed time.Time
}

// holdings are the links of one repository, each with its time.
type holdings struct {
	layers, manifests map[digest.Digest]time.Time
	tags              map[string]time.Time
	uploading         bool
	changed           time.Time // Last change of anything in it, as far as the storage reports it.
}

func newHoldings() *holdings {
	return &holdings{make(map[digest.Digest]time.Time), make(map[digest.Digest]time.Time), make(map[string]time.Time), false, time.Time{}}
}

// inventory walks the blobs first, so that it sees every link that is made after a blob was listed.
func (c *Catalog) inventory(ctx context.Context) (*inventory, error) {
	if c.shared != nil {
		return c.sharedInventory(ctx)
	}
	inv := newInventory()
	if err := c.walk(ctx, blobsRoot, inv.blob); err != nil {
		return nil, fmt.Errorf("walk storage: %w", err)
	}
	if err := c.walk(ctx, root, inv.link); err != nil {
		return nil, fmt.Errorf("walk storage: %w", err)
	}
	for folder, u := range inv.uploads { // Some storages hide data that is incomplete.
		counted, _ := c.uploads.counted(folder)
		u.size = max(u.size, counted)
	}
	return inv, nil
}

// walk visits all files and folders below from, with paths relative to it. It does not enter a folder for which visit
// returns false. It leaves out entries that are deleted during the walk, and no others: the drivers' own Walk ends
// early and without an error if a folder disappears, and a collection by half a list would lose data.
func (c *Catalog) walk(ctx context.Context, from string, visit func(path string, info storagedriver.FileInfo) (enter bool)) error {
	pending := []string{from}
	for len(pending) > 0 {
		dir := pending[len(pending)-1]
		pending = pending[:len(pending)-1]
		children, err := c.driver.List(ctx, dir)
		if err != nil && !notFound(err) {
			return err
		}
		for _, child := range children {
			info, err := c.driver.Stat(ctx, child)
			if notFound(err) {
				continue
			}
			if err != nil {
				return err
			}
			if visit(strings.TrimPrefix(child, from+"/"), info) && info.IsDir() {
				pending = append(pending, child)
			}
		}
	}
	return nil
}

// link parses "team/app/_layers/sha256/HEX/link", "team/app/_manifests/revisions/sha256/HEX/link",
// "team/app/_manifests/tags/TAG/current/link" and "team/app/_uploads/ID/data".
func (inv *inventory) link(path string, info storagedriver.FileInfo) bool {
	delete(inv.empty, parent(info.Path()))
	if info.IsDir() {
		inv.empty[info.Path()] = info.ModTime()
	}
	i := strings.Index(path, "/_") // No part of a repository's name starts with an underscore.
	if i < 0 {
		return true
	}
	name, parts := path[:i], strings.Split(path[i+1:], "/")
	r := inv.repositories[name]
	if r == nil {
		r = newHoldings()
		inv.repositories[name] = r
	}
	if info.ModTime().After(r.changed) {
		r.changed = info.ModTime()
	}
	switch {
	case parts[0] == "_uploads":
		r.uploading = r.uploading || len(parts) > 1
		return inv.upload(path, info)
	case inv.leftover(info):
	case len(parts) > 3 && parts[1] == "tags" && parts[3] == "index":
		return false // The history of a tag.
	case info.IsDir() || parts[len(parts)-1] != "link":
	case len(parts) == 4 && parts[0] == "_layers":
		r.layers[digest.Digest(parts[1]+":"+parts[2])] = info.ModTime()
	case len(parts) == 5 && parts[1] == "revisions":
		r.manifests[digest.Digest(parts[2]+":"+parts[3])] = info.ModTime()
	case len(parts) == 5 && parts[1] == "tags":
		r.tags[parts[2]] = info.ModTime()
	}
	return true
}

func parent(path string) string { return path[:max(0, strings.LastIndexByte(path, '/'))] }

// upload parses "team/app/_uploads/ID/data" and "team/app/_uploads/ID/hashstates/sha256/OFFSET", and enters only the
// folders on the way there.
func (inv *inventory) upload(path string, info storagedriver.FileInfo) bool {
	name, rest, ok := strings.Cut(path, "/_")
	if !ok {
		return true
	}
	parts := strings.Split(rest, "/")
	if parts[0] != "uploads" {
		return false
	}
	if len(parts) < 2 {
		return true
	}
	folder := uploadFolder(name, parts[1])
	u := inv.uploads[folder]
	if u == nil {
		u = &unfinished{repository: name, size: shared.Overhead(name)}
		inv.uploads[folder] = u
	}
	if info.ModTime().After(u.changed) {
		u.changed = info.ModTime()
	}
	switch {
	case info.IsDir():
	case len(parts) == 3 && parts[2] == "data":
		u.size += info.Size()
		u.data = true
	case len(parts) == 5 && parts[4] != "0": // The first state is within the overhead.
		u.size += shared.Block
	}
	return len(parts) == 2 || parts[2] == "hashstates"
}

// leftover records a temporary file of the driver for files, which leaves such files behind when the disk is full.
func (inv *inventory) leftover(info storagedriver.FileInfo) bool {
	if info.IsDir() || !strings.HasSuffix(info.Path(), ".tmp") {
		return false
	}
	inv.leftovers[info.Path()] = info.ModTime()
	return true
}

// blob parses "sha256/ab/HEX/data".
func (inv *inventory) blob(path string, info storagedriver.FileInfo) bool {
	if inv.leftover(info) {
		return true
	}
	parts := strings.Split(path, "/")
	if !info.IsDir() && len(parts) == 4 && parts[3] == "data" {
		inv.blobs[digest.Digest(parts[0]+":"+parts[2])] = blob{info.Size(), info.ModTime()}
	}
	return true
}

package images

import (
	"context"
	"fmt"
	"strings"
	"time"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/opencontainers/go-digest"
)

// inventory is all that the storage knows, without what is in manifests: one walk of the links and one of the blobs.
type inventory struct {
	repositories map[string]*holdings
	blobs        map[digest.Digest]blob
}

type blob struct {
	size    int64
	changed time.Time
}

// holdings is what one repository links to, each with the time of the link.
type holdings struct {
	layers, manifests map[digest.Digest]time.Time
	tags              map[string]time.Time
	uploading         bool
}

func (c *Catalog) inventory(ctx context.Context) (*inventory, error) {
	inv := &inventory{make(map[string]*holdings), make(map[digest.Digest]blob)}
	for from, visit := range map[string]func(string, storagedriver.FileInfo) error{root: inv.link, blobsRoot: inv.blob} {
		err := c.driver.Walk(ctx, from, func(info storagedriver.FileInfo) error {
			return visit(strings.TrimPrefix(info.Path(), from+"/"), info)
		})
		if err != nil && !notFound(err) { // Nothing was ever pushed, or something went while it was walked, which is as good as not there.
			return nil, fmt.Errorf("walk storage: %w", err)
		}
	}
	return inv, nil
}

// link reads "team/app/_layers/sha256/HEX/link", "team/app/_manifests/revisions/sha256/HEX/link" and "team/app/_manifests/tags/TAG/current/link".
func (inv *inventory) link(path string, info storagedriver.FileInfo) error {
	name, rest, ok := cutBefore(path, "/_")
	if !ok {
		return nil
	}
	r := inv.repositories[name]
	if r == nil {
		r = &holdings{make(map[digest.Digest]time.Time), make(map[digest.Digest]time.Time), make(map[string]time.Time), false}
		inv.repositories[name] = r
	}
	parts := strings.Split(rest, "/")
	switch {
	case parts[0] == "_uploads" && len(parts) > 1:
		r.uploading = true
		return storagedriver.ErrSkipDir
	case len(parts) > 3 && parts[1] == "tags" && parts[3] == "index":
		return storagedriver.ErrSkipDir // Which images a tag meant before.
	case info.IsDir() || parts[len(parts)-1] != "link":
		return nil
	case len(parts) == 4 && parts[0] == "_layers":
		r.layers[digest.Digest(parts[1]+":"+parts[2])] = info.ModTime()
	case len(parts) == 5 && parts[1] == "revisions":
		r.manifests[digest.Digest(parts[2]+":"+parts[3])] = info.ModTime()
	case len(parts) == 5 && parts[1] == "tags":
		r.tags[parts[2]] = info.ModTime()
	}
	return nil
}

// blob reads "sha256/ab/HEX/data".
func (inv *inventory) blob(path string, info storagedriver.FileInfo) error {
	parts := strings.Split(path, "/")
	if !info.IsDir() && len(parts) == 4 && parts[3] == "data" {
		inv.blobs[digest.Digest(parts[0]+":"+parts[2])] = blob{info.Size(), info.ModTime()}
	}
	return nil
}

// cutBefore cuts before sep; no part of a repository's name starts with an underscore.
func cutBefore(path, sep string) (before, after string, ok bool) {
	i := strings.Index(path, sep)
	if i < 0 {
		return path, "", false
	}
	return path[:i], path[i+1:], true
}

package catalog

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/distribution/v3/registry/storage"
	"github.com/opencontainers/go-digest"

	"github.com/regcred/regcred/systemregistry/images"
)

// grace protects pushes in progress: a client uploads layers before the manifest that uses them. It is longer than any
// push. The cost is that unused data occupies the disk for a day.
const grace = 24 * time.Hour

// Collect removes images that have expired by the policies, uploads that were never finished, and data that no image
// uses. It leaves data alone for a day, because a push in progress may need it, and an upload for an hour after its
// last write.
//
// Clients can pull images and push layers during a collection; manifests and deletions wait for its end. If several
// replicas share the storage, nothing waits: a collection condemns unused data, and the next collection removes the
// data if it is still unused. Collect fails with an error that wraps [images.ErrCollecting] if another replica
// collects, or if collections are held.
func (c *Catalog) Collect(ctx context.Context) (images.Collection, error) {
	if c.shared != nil {
		return c.collectShared(ctx)
	}
	// Acquire the whole weight, so that no caller is between the check of a manifest and its link.
	if err := c.door.Acquire(ctx, math.MaxInt64); err != nil {
		return images.Collection{}, fmt.Errorf("collect: %w", context.Cause(ctx))
	}
	defer c.door.Release(math.MaxInt64)
	if !c.holds.TryAcquire(math.MaxInt64) {
		return images.Collection{}, fmt.Errorf("collect: %w", images.ErrCollecting)
	}
	defer c.holds.Release(math.MaxInt64)
	began := time.Now()
	if err := c.quotas.begin(ctx); err != nil {
		return images.Collection{}, fmt.Errorf("collect: %w", err)
	}
	var measured *inventory
	defer func() { c.quotas.end(measured, began) }()
	inv, err := c.inventory(ctx)
	if err != nil {
		return images.Collection{}, err
	}
	g := collector{catalog: c, inv: inv, now: time.Now(), used: make(map[digest.Digest]bool), vacuum: storage.NewVacuum(ctx, c.driver)}
	if err := g.run(ctx); err != nil {
		return g.done, fmt.Errorf("collect: %w", err)
	}
	measured = inv
	return g.done, nil
}

// collector is one run of Collect.
type collector struct {
	catalog *Catalog
	inv     *inventory
	now     time.Time
	vacuum  storage.Vacuum
	used    map[digest.Digest]bool // Blobs to keep.
	done    images.Collection
}

func (g *collector) run(ctx context.Context) error {
	if err := g.purgeUploads(ctx); err != nil {
		return err
	}
	// Mark everything before anything is swept, so that a manifest that cannot be read stops the run before any image
	// is removed.
	for name, r := range g.inv.repositories {
		if err := g.mark(ctx, name, r); err != nil {
			return err
		}
	}
	for name, r := range g.inv.repositories {
		if err := g.sweepLinks(ctx, name, r); err != nil {
			return err
		}
	}
	// Distribution leaves the folders of links that it deletes, and an earlier collection those of repositories.
	for folder, changed := range g.inv.empty {
		if g.now.Sub(changed) >= uploadIdle {
			g.catalog.removeEmpty(folder, root)
		}
	}
	return g.sweepBlobs()
}

func (g *collector) purgeUploads(ctx context.Context) (err error) {
	g.done.Uploads, err = g.catalog.purge(ctx, g.inv, uploadIdle)
	if err != nil {
		return err
	}
	for path, at := range g.inv.leftovers {
		if g.now.Sub(at) < uploadIdle {
			continue
		}
		if err := g.catalog.remove(ctx, path); err != nil {
			return fmt.Errorf("remove temporary file: %w", err)
		}
	}
	return nil
}

func (g *collector) mark(ctx context.Context, name string, r *holdings) error {
	repository, err := g.catalog.repository(ctx, name)
	if err != nil {
		return err
	}
	for _, tag := range expired(g.catalog.policies, name, r.tags, g.now) {
		if err := repository.Tags(ctx).Untag(ctx, tag); err != nil && !notFound(err) {
			return fmt.Errorf("remove %s:%s: %w", name, tag, err)
		}
		delete(r.tags, tag)
		g.done.Tags = append(g.done.Tags, name+":"+tag)
	}
	live, err := g.live(ctx, repository, r)
	if err != nil {
		return err
	}
	for d, refs := range live {
		g.used[d] = true
		for _, ref := range refs {
			g.used[ref] = true
		}
	}
	for d := range r.manifests {
		if _, ok := live[d]; ok {
			continue
		}
		if err := g.catalog.deleteManifest(ctx, repository, d); err != nil {
			return err
		}
		delete(r.manifests, d)
		g.done.Images = append(g.done.Images, name+"@"+string(d))
	}
	used := make(map[digest.Digest]bool)
	for _, refs := range live {
		for _, ref := range refs {
			used[ref] = true
		}
	}
	for d, at := range r.layers { // The entries that remain in layers are unused.
		if used[d] || g.now.Sub(at) < grace {
			kept, err := g.catalog.storedAs(ctx, name, d)
			if err != nil {
				return err
			}
			g.used[d], g.used[kept] = true, true
			continue
		}
		r.layers[d] = time.Time{}
	}
	return nil
}

// live returns the manifests of the repository to keep, each with its references.
func (g *collector) live(ctx context.Context, repository distribution.Repository, r *holdings) (map[digest.Digest][]digest.Digest, error) {
	live := make(map[digest.Digest][]digest.Digest)
	var keep func(d digest.Digest) error
	keep = func(d digest.Digest) error {
		if _, ok := live[d]; ok {
			return nil
		}
		if _, ok := r.manifests[d]; !ok {
			return nil // A layer, or the manifest of a platform that was not pushed.
		}
		refs, err := g.catalog.references(ctx, repository, d)
		if err != nil {
			return err
		}
		live[d] = refs
		for _, ref := range refs {
			if err := keep(ref); err != nil {
				return err
			}
		}
		return nil
	}
	life, limited := untaggedLife(g.catalog.policies, repository.Named().Name())
	for d, at := range r.manifests {
		if !limited || g.now.Sub(at) <= max(life, grace) {
			if err := keep(d); err != nil {
				return nil, err
			}
		}
	}
	for tag := range r.tags {
		desc, err := repository.Tags(ctx).Get(ctx, tag)
		if err != nil {
			return nil, fmt.Errorf("read %s:%s: %w", repository.Named().Name(), tag, err)
		}
		if err := keep(desc.Digest); err != nil {
			return nil, err
		}
	}
	return live, nil
}

func (g *collector) sweepLinks(ctx context.Context, name string, r *holdings) error {
	for d, at := range r.layers {
		if !at.IsZero() {
			continue
		}
		done, err := g.catalog.pins.remove(layerKey(d), func() error { return g.vacuum.RemoveLayer(name, d) })
		if err != nil && !notFound(err) {
			return fmt.Errorf("remove link of %s in %s: %w", d, name, err)
		}
		if done {
			delete(r.layers, d)
			continue
		}
		kept, err := g.catalog.storedAs(ctx, name, d)
		if err != nil {
			return err
		}
		g.used[d], g.used[kept] = true, true
	}
	if len(r.layers)+len(r.manifests)+len(r.tags) > 0 || r.uploading || g.now.Sub(r.changed) < grace {
		return nil
	}
	// Remove the repository's own folders only. The enclosing folder may contain other repositories, even ones that did
	// not exist when the list was made.
	done, err := g.catalog.pins.remove(repositoryKey(name), func() error {
		for _, part := range []string{"_manifests", "_uploads", "_layers"} { // The last one defines the repository.
			if err := g.catalog.remove(ctx, strings.Join([]string{root, name, part}, "/")); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("remove repository %s: %w", name, err)
	}
	if done {
		delete(g.inv.repositories, name)
	}
	return nil
}

func (g *collector) sweepBlobs() error {
	for d, b := range g.inv.blobs {
		if g.used[d] || g.now.Sub(b.changed) < grace {
			continue
		}
		done, err := g.catalog.pins.remove(layerKey(d), func() error { return g.vacuum.RemoveBlob(string(d)) })
		if err != nil && !notFound(err) {
			return fmt.Errorf("remove blob %s: %w", d, err)
		}
		if !done {
			continue
		}
		g.done.Blobs++
		g.done.Bytes += b.size
		delete(g.inv.blobs, d)
	}
	slices.Sort(g.done.Tags)
	slices.Sort(g.done.Images)
	return nil
}

package catalog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/distribution/distribution/v3"
	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/opencontainers/go-digest"

	"github.com/regcred/regcred/systemregistry/images"
	"github.com/regcred/regcred/systemregistry/internal/lease"
	"github.com/regcred/regcred/systemregistry/internal/shared"
)

// OnConflict returns a context whose requests call f if they fail with [shared.ErrDataGone], [images.ErrChanging],
// [images.ErrImmutable] or [images.ErrQuotaExceeded]. Distribution does not report these causes.
func OnConflict(ctx context.Context, f func(error)) context.Context {
	return shared.OnProblem(ctx, func(err error) {
		if errors.Is(err, shared.ErrDataGone) || errors.Is(err, images.ErrChanging) || errors.Is(err, images.ErrImmutable) || errors.Is(err, images.ErrQuotaExceeded) {
			f(err)
		}
	})
}

// MayReplace returns a function that fails for tags that are immutable by the policies.
func MayReplace(policies []images.Policy) func(repository, tag string) error {
	return func(repository, tag string) error {
		if slices.ContainsFunc(policies, func(p images.Policy) bool { return p.Immutable && matches(p, repository) }) {
			return fmt.Errorf("%w: %s:%s", images.ErrImmutable, repository, tag)
		}
		return nil
	}
}

// limits returns the limits that apply to all replicas together. Of several for the same pattern, the lowest applies.
func limits(policies []images.Policy) (all []shared.Limit) {
	for _, p := range policies {
		same := slices.IndexFunc(all, func(l shared.Limit) bool { return l.Name == p.Repositories })
		switch {
		case p.MaxBytes == 0:
		case same >= 0:
			all[same].MaxBytes = min(all[same].MaxBytes, p.MaxBytes)
		default:
			all = append(all, shared.Limit{
				Name: p.Repositories, MaxBytes: p.MaxBytes, Matches: func(name string) bool { return matches(p, name) },
			})
		}
	}
	return all
}

// Condemn returns a context in which a deletion of the manifest fails if another replica uses the manifest after this
// call. Call it before MayDelete.
func (c *Catalog) Condemn(ctx context.Context, repository, reference string) (context.Context, error) {
	if c.shared == nil || digest.Digest(reference).Validate() != nil {
		return ctx, nil
	}
	return c.shared.Condemn(ctx, shared.Manifests, repository, reference)
}

// CondemnLayer is Condemn where a layer is deleted.
func (c *Catalog) CondemnLayer(ctx context.Context, repository, layer string) (context.Context, error) {
	if c.shared == nil || digest.Digest(layer).Validate() != nil {
		return ctx, nil
	}
	return c.shared.Condemn(ctx, shared.Layers, repository, layer)
}

// sharedInventory returns the inventory from the store. Unfinished uploads come from the storage.
func (c *Catalog) sharedInventory(ctx context.Context) (*inventory, error) {
	scan, err := c.shared.Scan(ctx)
	if err != nil {
		return nil, err
	}
	inv := newInventory()
	for _, r := range scan.Blobs {
		_, d := r.Split()
		inv.blobs[digest.Digest(d)] = blob{r.Size, r.At}
	}
	add := func(records map[string]shared.Record, into func(h *holdings, reference string, at time.Time)) {
		for _, r := range records {
			name, reference := r.Split()
			h := inv.repositories[name]
			if h == nil {
				h = newHoldings()
				inv.repositories[name] = h
			}
			if r.Value != "" {
				into(h, reference, r.At)
			}
		}
	}
	add(scan.Layers, func(h *holdings, d string, at time.Time) { h.layers[digest.Digest(d)] = at })
	add(scan.Manifests, func(h *holdings, d string, at time.Time) { h.manifests[digest.Digest(d)] = at })
	add(scan.Tags, func(h *holdings, tag string, at time.Time) { h.tags[tag] = at })
	if err := c.walk(ctx, root, inv.upload); err != nil {
		return nil, fmt.Errorf("walk storage: %w", err)
	}
	return inv, nil
}

// collectShared is Collect for a storage that several replicas share. Pushes, mounts and deletions continue in all of
// them. It condemns unused data, and removes data that the previous collection condemned and that is still unused.
func (c *Catalog) collectShared(ctx context.Context) (images.Collection, error) {
	ctx, before, release, err := c.shared.Alone(ctx)
	if errors.Is(err, lease.ErrBusy) {
		err = images.ErrCollecting
	}
	if err != nil {
		return images.Collection{}, fmt.Errorf("collect: %w", err)
	}
	defer release()
	g := sharedCollector{catalog: c, now: time.Now(), used: make(map[string]bool)}
	if err := g.run(ctx, before); err != nil {
		return g.done, fmt.Errorf("collect: %w", err)
	}
	slices.Sort(g.done.Tags)
	slices.Sort(g.done.Images)
	return g.done, nil
}

type sharedCollector struct {
	catalog *Catalog
	now     time.Time
	used    map[string]bool // Keys of records to keep.
	scan    *shared.Scan
	done    images.Collection
}

func (g *sharedCollector) run(ctx context.Context, before uint64) error {
	d := g.catalog.shared
	// Read the condemned records before marking: their versions change if they are used in between.
	condemned, err := d.Scan(ctx)
	if err != nil {
		return err
	}
	if err := g.expire(ctx, condemned, before); err != nil {
		return err
	}
	if g.scan, err = d.Scan(ctx); err != nil {
		return err
	}
	if err := g.mark(ctx); err != nil {
		return err
	}
	if err := g.sweep(ctx, condemned); err != nil {
		return err
	}
	if err := g.condemn(ctx); err != nil {
		return err
	}
	return g.clean(ctx)
}

// expire removes the tags that have expired by the policies, and cancels the tags that a crashed replica was about to
// set.
func (g *sharedCollector) expire(ctx context.Context, scan *shared.Scan, before uint64) error {
	tags := make(map[string]map[string]time.Time)
	for _, r := range scan.Tags {
		if err := g.catalog.shared.Settle(ctx, r, before); err != nil {
			return err
		}
		if r.Value == "" || r.Next != "" {
			continue
		}
		name, tag := r.Split()
		if tags[name] == nil {
			tags[name] = make(map[string]time.Time)
		}
		tags[name][tag] = r.At
	}
	for name, times := range tags {
		for _, tag := range expired(g.catalog.policies, name, times, g.now) {
			removed, err := g.catalog.shared.Remove(ctx, scan.Tags[shared.Tags+name+":"+tag])
			if err != nil {
				return fmt.Errorf("remove %s:%s: %w", name, tag, err)
			}
			if removed {
				g.done.Tags = append(g.done.Tags, name+":"+tag)
			}
		}
	}
	return nil
}

func (g *sharedCollector) young(r shared.Record) bool { return g.now.Sub(r.At) < grace }

func (g *sharedCollector) mark(ctx context.Context) error {
	for key, r := range g.scan.Blobs {
		g.used[key] = g.young(r)
	}
	for key, r := range g.scan.Layers {
		if g.young(r) {
			g.used[key], g.used[shared.Blobs+r.Value] = true, true
		}
	}
	for _, r := range g.scan.Manifests {
		name, d := r.Split()
		life, limited := untaggedLife(g.catalog.policies, name)
		if !limited || g.now.Sub(r.At) <= max(life, grace) {
			if err := g.keep(ctx, name, d); err != nil {
				return err
			}
		}
	}
	for _, r := range g.scan.Tags {
		name, _ := r.Split()
		for _, d := range []string{r.Value, r.Next} {
			if err := g.keep(ctx, name, d); err != nil {
				return err
			}
		}
	}
	return nil
}

// keep marks a manifest and everything that it refers to.
func (g *sharedCollector) keep(ctx context.Context, name, d string) error {
	key := shared.Manifests + name + "@" + d
	if _, ok := g.scan.Manifests[key]; !ok || g.used[key] {
		return nil // A layer, or the manifest of a platform that was not pushed.
	}
	g.used[key], g.used[shared.Blobs+d] = true, true
	repository, err := g.catalog.repository(ctx, name)
	if err != nil {
		return err
	}
	refs, err := g.catalog.references(ctx, repository, digest.Digest(d))
	if _, ok := errors.AsType[distribution.ErrManifestUnknownRevision](err); ok {
		return nil // Deleted during the collection.
	}
	if err != nil {
		return err
	}
	for _, ref := range refs {
		layer := shared.Layers + name + "@" + string(ref)
		g.used[layer], g.used[shared.Blobs+string(ref)] = true, true
		if link, ok := g.scan.Layers[layer]; ok {
			g.used[shared.Blobs+link.Value] = true
		}
		if err := g.keep(ctx, name, string(ref)); err != nil {
			return err
		}
	}
	return nil
}

// sweep removes the records that an earlier collection condemned and that are still unused. It removes links first,
// because a blob without a link cannot be pulled.
func (g *sharedCollector) sweep(ctx context.Context, condemned *shared.Scan) error {
	for _, records := range []map[string]shared.Record{condemned.Manifests, condemned.Layers, condemned.Blobs} {
		for key, r := range records {
			if !r.Condemned || g.used[key] {
				continue
			}
			removed, err := g.catalog.shared.Remove(ctx, r)
			if err != nil {
				return fmt.Errorf("remove %s: %w", key, err)
			}
			if !removed {
				continue
			}
			delete(g.scan.Manifests, key)
			delete(g.scan.Layers, key)
			delete(g.scan.Blobs, key)
			switch name, d := r.Split(); {
			case strings.HasPrefix(key, shared.Manifests):
				g.done.Images = append(g.done.Images, name+"@"+d)
			case strings.HasPrefix(key, shared.Blobs):
				g.done.Blobs++
				g.done.Bytes += r.Size
			}
		}
	}
	return nil
}

func (g *sharedCollector) condemn(ctx context.Context) error {
	for _, records := range []map[string]shared.Record{g.scan.Manifests, g.scan.Layers, g.scan.Blobs} {
		for key, r := range records {
			if r.Condemned != !g.used[key] {
				if err := g.catalog.shared.Mark(ctx, r, !g.used[key]); err != nil {
					return fmt.Errorf("condemn %s: %w", key, err)
				}
			}
		}
	}
	return nil
}

// clean removes data without a record: empty repositories, unfinished uploads, and files of uploads that crashed.
func (g *sharedCollector) clean(ctx context.Context) error {
	full := make(map[string]bool)
	for _, records := range []map[string]shared.Record{g.scan.Manifests, g.scan.Layers, g.scan.Tags} {
		for _, r := range records {
			name, _ := r.Split()
			full[name] = true
		}
	}
	for _, r := range g.scan.Repositories {
		if name, _ := r.Split(); !full[name] && !g.young(r) {
			if err := g.catalog.shared.RemoveRepository(ctx, r); err != nil {
				return err
			}
		}
	}
	uploads, err := g.catalog.PurgeUploads(ctx, false)
	g.done.Uploads += uploads
	if err != nil {
		return err
	}
	walkErr := g.catalog.walk(ctx, blobsRoot, func(path string, info storagedriver.FileInfo) bool {
		parts := strings.Split(path, "/")
		if info.IsDir() || len(parts) != 4 || g.now.Sub(info.ModTime()) < grace || err != nil {
			return err == nil
		}
		d := digest.Digest(parts[0] + ":" + parts[2])
		var removed bool
		if d.Validate() != nil {
			return true
		}
		removed, err = g.catalog.shared.RemoveOrphan(ctx, d, parts[3])
		if removed {
			g.done.Blobs++
			g.done.Bytes += info.Size()
		}
		return true
	})
	return errors.Join(err, walkErr)
}

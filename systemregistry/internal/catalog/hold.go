package catalog

import (
	"context"
	"fmt"
)

// HoldCollections blocks collections in all replicas until release is called. Pushes and deletions continue. The
// returned context ends early if another replica may collect again, because the store did not respond.
func (c *Catalog) HoldCollections(ctx context.Context) (held context.Context, release func(), err error) {
	if c.shared != nil {
		held, _, release, err = c.shared.Alone(ctx)
	} else {
		held, release = ctx, func() { c.holds.Release(1) }
		err = c.holds.Acquire(ctx, 1)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("hold collections: %w", err)
	}
	return held, release, nil
}

// BlobSizes returns the sizes of all blobs by path; see [BlobPath].
func (c *Catalog) BlobSizes(ctx context.Context) (map[string]int64, error) {
	inv, err := c.inventory(ctx)
	if err != nil {
		return nil, err
	}
	sizes := make(map[string]int64, len(inv.blobs))
	for d, b := range inv.blobs {
		if d.Validate() == nil {
			sizes[BlobPath(d)] = b.size
		}
	}
	return sizes, nil
}

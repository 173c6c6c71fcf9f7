package catalog

import "context"

// Usage returns the total size in bytes of the repositories whose names match, including unfinished uploads. Data that
// they share counts once. It reads the storage, and none of the counters.
func (c *Catalog) Usage(ctx context.Context, matches func(repository string) bool) (int64, error) {
	inv, err := c.inventory(ctx)
	if err != nil {
		return 0, err
	}
	return inv.usage(matches), nil
}

// OpenUploads returns the number of unfinished uploads that this process remembers.
func (c *Catalog) OpenUploads() int {
	c.uploads.mu.Lock()
	defer c.uploads.mu.Unlock()
	return len(c.uploads.open)
}

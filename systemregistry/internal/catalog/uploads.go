package catalog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/distribution/distribution/v3"

	"github.com/regcred/regcred/systemregistry/images"
	"github.com/regcred/regcred/systemregistry/internal/shared"
)

const (
	// uploadIdle is the time after the last write at which an unfinished upload is removed. Clients continue an upload
	// at once, or never.
	uploadIdle = time.Hour
	// uploadIdleFull is the same time when the storage is full.
	uploadIdleFull = time.Minute
	// clocks is the largest difference between the clocks of two replicas.
	clocks = time.Minute
)

// uploads are the unfinished uploads that this process knows of.
type uploads struct {
	mu   sync.Mutex
	open map[string]*openUpload // By folder.
}

type openUpload struct {
	bytes int64 // Bytes that count in the quotas, with the overhead.
	extra int64 // Bytes of these that stop counting when the upload becomes a layer.
	busy  bool  // A request uses it.
}

func uploadFolder(repository, id string) string {
	return strings.Join([]string{root, repository, "_uploads", id}, "/")
}

// An Upload is one request to an unfinished upload. Only one goroutine may use it. Call End after use.
type Upload struct {
	catalog            *Catalog
	repository, folder string
	shared             *shared.Upload // If nil, only this process has the upload.
	began              bool           // Data was received.
	full               bool
}

// Started counts an upload that was just started. If it does not fit, Started removes it, and fails with
// [images.ErrQuotaExceeded]. Call it between [Catalog.MayStart] and its done.
func (c *Catalog) Started(ctx context.Context, repository string, upload distribution.BlobWriter) error {
	folder := uploadFolder(repository, upload.ID())
	if c.shared == nil {
		if c.Limited(repository) {
			c.uploads.start(folder, shared.Overhead(repository))
		}
		return nil
	}
	err := c.shared.Start(ctx, repository, upload.ID())
	if err == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUp)
	defer cancel()
	return errors.Join(shared.Report(ctx, err), upload.Close(), c.remove(ctx, folder))
}

// ValidUpload reports whether the text can be the ID of an upload, which becomes part of a path.
func ValidUpload(id string) bool {
	return id != "" && len(id) <= maxUploadID && strings.Trim(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") == ""
}

// maxUploadID is above the length of a UUID.
const maxUploadID = 64

// Upload starts a request to the upload with the ID, which must be valid. Size is the announced length, or -1. Upload
// fails with [images.ErrQuotaExceeded] if the announced length cannot fit, and with [shared.ErrUploadBusy] if another
// request to the upload is in progress.
func (c *Catalog) Upload(ctx context.Context, repository, id string, size int64) (*Upload, error) {
	if !ValidUpload(id) {
		return nil, fmt.Errorf("%w: upload %q", images.ErrNoImage, id)
	}
	u := &Upload{catalog: c, repository: repository, folder: uploadFolder(repository, id)}
	if !c.uploads.begin(u.folder) {
		return nil, shared.ErrUploadBusy
	}
	if c.shared != nil {
		var err error
		if u.shared, err = c.shared.Upload(ctx, repository, id, size); err != nil {
			c.uploads.end(u.folder, true)
			return nil, err
		}
	}
	if size == 0 {
		return u, nil // It ends an upload, whose bytes are counted already.
	}
	// The announced bytes are checked and not counted, because the client may not send them.
	if err := c.fits(ctx, repository, max(size, 0)); err != nil {
		return nil, errors.Join(err, u.End(ctx, UploadFailed))
	}
	return u, nil
}

// Context returns the context for the request. In this context, a layer that is made from the upload counts instead of
// the upload.
func (u *Upload) Context(ctx context.Context) context.Context {
	if u.shared == nil {
		return ctx
	}
	return u.shared.Context(ctx)
}

// RenewUpload renews the upload of the context, if there is one, so that no replica removes it as abandoned while it is
// being completed.
func (c *Catalog) RenewUpload(ctx context.Context) error { return shared.RenewUpload(ctx) }

// Body returns the body of the request. Reading it fails with [images.ErrQuotaExceeded] once it exceeds the free space
// of the quotas, and with [shared.ErrUploadGone] if a replica removed the upload as abandoned.
func (u *Upload) Body(ctx context.Context, body io.ReadCloser) io.ReadCloser {
	return &countedBody{body, ctx, u}
}

type countedBody struct {
	io.ReadCloser
	ctx context.Context //nolint:containedctx // The context of the one request.
	of  *Upload
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		if err := b.of.add(b.ctx, int64(n)); err != nil {
			return 0, err
		}
	}
	return n, err
}

// CountAlias counts one more link for the layer that the upload becomes: distribution links a layer with a digest other
// than a SHA-256 under both. It fails with [images.ErrQuotaExceeded].
func (u *Upload) CountAlias(ctx context.Context) error {
	if u.shared != nil {
		return nil // Counted when the link is written.
	}
	return u.count(ctx, shared.Overhead(u.repository))
}

// add counts n bytes that were received, and at first the file with the state of the digest that distribution writes at
// the end of each request.
func (u *Upload) add(ctx context.Context, n int64) error {
	if u.shared != nil {
		err := u.shared.Add(ctx, n)
		u.full = u.full || errors.Is(err, images.ErrQuotaExceeded) || errors.Is(err, shared.ErrUploadGone)
		return err
	}
	if !u.began {
		u.began = true
		n += shared.Block
		u.catalog.uploads.extra(u.folder, shared.Block)
	}
	return u.count(ctx, n)
}

// count counts in the upload first, so that a measurement between the two steps counts the bytes twice rather than never.
func (u *Upload) count(ctx context.Context, n int64) error {
	u.catalog.uploads.add(u.folder, n)
	err := u.catalog.add(ctx, u.repository, n)
	if err != nil {
		u.catalog.uploads.add(u.folder, -n)
		u.full = u.full || errors.Is(err, images.ErrQuotaExceeded)
	}
	return err
}

// An Outcome is the state of an upload at the end of a request.
type Outcome int

const (
	// UploadGoesOn means that a client may continue the upload, unless the upload is gone.
	UploadGoesOn Outcome = iota
	// UploadStored means that the upload became a layer, which counts from then on.
	UploadStored
	// UploadFailed means that the upload failed at the server and cannot be continued, so its data is removed.
	UploadFailed
)

// End ends the request with the outcome.
func (u *Upload) End(ctx context.Context, outcome Outcome) error {
	c := u.catalog
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUp)
	defer cancel()
	if u.full {
		outcome = UploadFailed
	}
	gone := outcome != UploadGoesOn
	if !gone {
		_, err := c.driver.Stat(ctx, u.folder)
		gone = notFound(err)
	}
	defer c.uploads.end(u.folder, gone || c.shared != nil) // Another replica may receive the rest.
	if u.shared != nil {
		return u.endShared(ctx, outcome, gone)
	}
	bytes, extra := c.uploads.counted(u.folder)
	switch {
	case outcome == UploadStored:
		c.quotas.stored(u.repository, bytes-extra)
		c.quotas.release(u.repository, "", extra)
		return nil
	case !gone:
		return nil
	}
	if outcome == UploadFailed {
		if err := c.remove(ctx, u.folder); err != nil {
			return fmt.Errorf("remove failed upload: %w", err) // It stays counted until it is purged and measured.
		}
	}
	c.removeEmpty(path.Dir(u.folder), root)
	c.quotas.release(u.repository, "", bytes)
	return nil
}

// endShared ends the request for all replicas.
func (u *Upload) endShared(ctx context.Context, outcome Outcome, gone bool) error {
	if !gone {
		err := u.shared.Pause(ctx)
		if !errors.Is(err, shared.ErrUploadGone) {
			return err
		}
		outcome = UploadFailed
	}
	_, taken, err := u.shared.Take(ctx)
	if err != nil {
		return err
	}
	if outcome == UploadFailed {
		if err := u.catalog.remove(ctx, u.folder); err != nil {
			return fmt.Errorf("remove failed upload: %w", err) // It stays counted until it is purged and measured.
		}
	}
	if taken {
		_, err = u.shared.Drop(ctx, 0)
	}
	return errors.Join(err, u.shared.Excess())
}

// start adds an upload that counts n bytes.
func (u *uploads) start(folder string, n int64) {
	if u.begin(folder) {
		u.add(folder, n)
		u.end(folder, false)
	}
}

// begin starts a request to the upload. It returns false if another one is in progress: that one may still write to
// the file after this one has turned it into a layer.
func (u *uploads) begin(folder string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.open == nil {
		u.open = make(map[string]*openUpload)
	}
	open := u.open[folder]
	if open == nil {
		open = new(openUpload)
		u.open[folder] = open
	}
	if open.busy {
		return false
	}
	open.busy = true
	return true
}

func (u *uploads) add(folder string, n int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.open[folder].bytes += n
}

func (u *uploads) extra(folder string, n int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.open[folder].extra += n
}

// end ends the request to the upload. If the upload is gone, it also removes its entry.
func (u *uploads) end(folder string, gone bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.open[folder].busy = false
	if gone {
		delete(u.open, folder)
	}
}

// take removes the entry of an upload. It returns false if a request uses the upload.
func (u *uploads) take(folder string) (bytes int64, ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	open := u.open[folder]
	if open == nil {
		return 0, true
	}
	if open.busy {
		return 0, false
	}
	delete(u.open, folder)
	return open.bytes, true
}

// busy reports whether this process has a request to the upload in progress.
func (u *uploads) busy(folder string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	open := u.open[folder]
	return open != nil && open.busy
}

func (u *uploads) counted(folder string) (bytes, extra int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if open := u.open[folder]; open != nil {
		return open.bytes, open.extra
	}
	return 0, 0
}

// cleanUp is the time limit for removing the data of a failed upload.
const cleanUp = 10 * time.Second

// remove deletes a file or folder that may be gone already, which drivers report in different ways.
func (c *Catalog) remove(ctx context.Context, path string) error {
	_, err := c.driver.Stat(ctx, path)
	if err == nil {
		err = c.driver.Delete(ctx, path)
	}
	if notFound(err) {
		return nil
	}
	return err
}

// Has reports whether the repository has the layer with the digest.
func (c *Catalog) Has(ctx context.Context, repository, layer string) bool {
	_, ok := c.layer(ctx, repository, layer)
	return ok
}

// PurgeUploads removes unfinished uploads without a write for an hour, or for a minute if the storage is full, and
// returns their number. The server calls it periodically.
func (c *Catalog) PurgeUploads(ctx context.Context, full bool) (int, error) {
	inv := newInventory()
	err := c.walk(ctx, root, inv.upload)
	if err != nil {
		return 0, fmt.Errorf("walk storage: %w", err)
	}
	idle := uploadIdle
	if full {
		idle = uploadIdleFull
	}
	return c.purge(ctx, inv, idle)
}

func (c *Catalog) purge(ctx context.Context, inv *inventory, idle time.Duration) (removed int, err error) {
	if c.shared != nil {
		if removed, err = c.purgeCounted(ctx, inv, idle); err != nil {
			return removed, fmt.Errorf("remove unfinished upload: %w", err)
		}
	}
	for folder, found := range inv.uploads {
		limit := idle
		if !found.data {
			limit = grace // Some storages hide data until it is complete, so another process may be writing it.
		}
		if time.Since(found.changed) < limit {
			continue
		}
		done, err := c.purgeOne(ctx, folder, found.repository)
		if err != nil {
			return removed, fmt.Errorf("remove unfinished upload: %w", err)
		}
		if done {
			removed++
			delete(inv.uploads, folder)
		}
	}
	return removed, nil
}

// purgeCounted removes unfinished uploads that the store counts. It deletes all counted uploads from the inventory,
// because the store has a more reliable time of their last write than the storage.
func (c *Catalog) purgeCounted(ctx context.Context, inv *inventory, idle time.Duration) (removed int, err error) {
	counted, err := c.shared.Unfinished(ctx)
	if err != nil {
		return 0, err
	}
	for _, u := range counted {
		folder := uploadFolder(u.Repository, u.ID)
		delete(inv.uploads, folder)
		if time.Since(u.At) < idle+clocks || c.uploads.busy(folder) {
			continue
		}
		done, err := c.shared.RemoveUpload(ctx, u, func() error { return c.remove(ctx, folder) })
		if err != nil {
			return removed, err
		}
		if done {
			removed++
		}
	}
	if removed > 0 {
		err = c.shared.Measure(ctx)
	}
	return removed, err
}

func (c *Catalog) purgeOne(ctx context.Context, folder, repository string) (bool, error) {
	bytes, ok := c.uploads.take(folder)
	if !ok {
		return false, nil
	}
	if err := c.remove(ctx, folder); err != nil {
		return false, err
	}
	c.removeEmpty(path.Dir(folder), root)
	c.quotas.release(repository, "", bytes)
	return true, nil
}

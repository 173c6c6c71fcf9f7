package systemregistry

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/distribution/distribution/v3"
	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/regcred/regcred/systemregistry/internal/catalog"
	"github.com/regcred/regcred/systemregistry/internal/gate"
)

// blobs gives access to the layers of a repository during one request. It sends a layer with less work than
// distribution, which looks the layer up three times and reads it through a 4 MiB buffer, even if the layer is small.
type blobs struct {
	distribution.BlobStore
	repository string
	catalog    *catalog.Catalog
	driver     storagedriver.StorageDriver
	redirect   bool
	found      v1.Descriptor // Set by Stat, which distribution calls first to look the layer up.
}

func (b *blobs) Stat(ctx context.Context, d digest.Digest) (found v1.Descriptor, err error) {
	done := func(bool, string) {}
	// A client that pushes sends HEAD for a layer, and skips the upload if the layer exists. So a HEAD by an account
	// pins a layer that exists. Requests of anonymous clients pin nothing.
	if method, _ := ctx.Value("http.request.method").(string); method == http.MethodHead && gate.NoteOf(ctx).Account != "" {
		if done, err = b.catalog.Writing(ctx, b.repository, string(d)); err != nil {
			return v1.Descriptor{}, err
		}
	}
	found, err = b.BlobStore.Stat(ctx, d)
	if err == nil {
		b.found = found
	}
	done(err == nil, string(found.Digest))
	return found, err
}

// Create starts an upload, or mounts a layer.
func (b *blobs) Create(ctx context.Context, options ...distribution.BlobCreateOption) (distribution.BlobWriter, error) {
	var o distribution.CreateOptions
	for _, option := range options {
		if err := option.Apply(&o); err != nil {
			return nil, err
		}
	}
	layer := digest.Digest("")
	if o.Mount.ShouldMount {
		layer = o.Mount.From.Digest()
		// Distribution would link to a layer that does not exist. Without a mount, the client uploads the layer.
		if layer.Algorithm() != digest.Canonical {
			layer, options = "", nil
		}
	}
	done, err := b.catalog.Writing(ctx, b.repository, string(layer))
	if err != nil {
		return nil, err
	}
	w, err := b.BlobStore.Create(ctx, options...)
	if err == nil {
		err = b.catalog.Started(ctx, b.repository, w)
	}
	if _, mounted := errors.AsType[distribution.ErrBlobMounted](err); mounted {
		done(true, string(layer))
	} else {
		done(err == nil, "")
	}
	if err != nil {
		return nil, err
	}
	return &blobWriter{BlobWriter: w, to: b}, nil
}

// Resume continues an upload.
func (b *blobs) Resume(ctx context.Context, id string) (distribution.BlobWriter, error) {
	w, err := b.BlobStore.Resume(ctx, id)
	if err != nil {
		return nil, err
	}
	return &blobWriter{BlobWriter: w, to: b}, nil
}

type blobWriter struct {
	distribution.BlobWriter
	to *blobs
}

// Commit turns the upload into a layer, and pins the layer, because a collection in progress does not know it.
func (w *blobWriter) Commit(ctx context.Context, as v1.Descriptor) (v1.Descriptor, error) {
	done, err := w.to.catalog.Writing(ctx, w.to.repository, string(as.Digest))
	if err != nil {
		return v1.Descriptor{}, err
	}
	w.to.noteStored(ctx, as.Digest)
	var stored v1.Descriptor
	if err = w.to.catalog.RenewUpload(ctx); err == nil { // Reading the data to check the digest may take minutes.
		stored, err = w.BlobWriter.Commit(ctx, as)
	}
	done(err == nil, string(stored.Digest))
	return stored, err
}

// noteStored records whether the repository has the layer already, so that the bytes of the upload do not count.
func (b *blobs) noteStored(ctx context.Context, layer digest.Digest) {
	if all, ok := ctx.Value(writersKey{}).(*writers); ok && b.catalog.Limited(b.repository) {
		all.had = b.catalog.Has(ctx, b.repository, string(layer))
	}
}

// Cancel removes the upload. Distribution also calls it after a failed Commit, finds the file already closed, and
// leaves the upload in place. It also writes the state of the upload once more after it has removed the upload. So the
// guard removes the upload at the end.
func (w *blobWriter) Cancel(ctx context.Context) error {
	if all, ok := ctx.Value(writersKey{}).(*writers); ok {
		all.cancelled = true
	}
	return w.BlobWriter.Cancel(ctx)
}

// ServeBlob sends the same response as distribution.
func (b *blobs) ServeBlob(ctx context.Context, w http.ResponseWriter, r *http.Request, d digest.Digest) error {
	if b.found.Digest != d {
		if _, err := b.Stat(ctx, d); err != nil {
			return err
		}
	}
	path := catalog.BlobPath(b.found.Digest)
	if b.redirect {
		url, err := b.driver.RedirectURL(r, path)
		if err != nil {
			return err
		}
		if url != "" {
			http.Redirect(w, r, url, http.StatusTemporaryRedirect)
			return nil
		}
	}
	h := w.Header()
	h.Set("Cache-Control", "max-age=31536000") // Content with a digest never changes.
	h.Set("Content-Type", b.found.MediaType)
	h.Set("Docker-Content-Digest", string(b.found.Digest))
	h.Set("ETag", `"`+string(b.found.Digest)+`"`)
	c := &content{ctx: ctx, driver: b.driver, path: path, size: b.found.Size}
	defer c.close()
	http.ServeContent(w, r, "", time.Time{}, c)
	return nil
}

// content reads a file of the storage from any offset, for [http.ServeContent]. It opens the file at the first Read, so
// that a HEAD does not open it.
type content struct {
	ctx        context.Context //nolint:containedctx // The context of the one request.
	driver     storagedriver.StorageDriver
	path       string
	size, next int64
	file       io.ReadCloser // Open at offset next. If nil, the file is not open.
}

func (c *content) Read(p []byte) (int, error) {
	if c.file == nil {
		file, err := c.driver.Reader(c.ctx, c.path, c.next)
		if err != nil {
			return 0, err
		}
		c.file = file
	}
	n, err := c.file.Read(p)
	c.next += int64(n)
	return n, err
}

func (c *content) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += c.next
	case io.SeekEnd:
		offset += c.size
	}
	if offset < 0 {
		return 0, errors.New("seek to before the start")
	}
	if offset != c.next {
		c.close()
		c.next = offset
	}
	return offset, nil
}

func (c *content) close() {
	if c.file != nil {
		_ = c.file.Close() // The file was only read.
		c.file = nil
	}
}

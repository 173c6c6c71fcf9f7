// Package memory replaces the disks of a containerd, so that its code pulls without a daemon: images are not unpacked to
// file systems, but each layer is read, decompressed and compared with its digest.
package memory

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A ContentStore is a content store in memory, with the errors of the one on disk. It is safe for concurrent use.
type ContentStore struct {
	mu    sync.Mutex
	blobs map[digest.Digest]*blob
}

type blob struct {
	data   []byte
	labels map[string]string
}

// NewContentStore returns an empty store.
func NewContentStore() *ContentStore { return &ContentStore{blobs: make(map[digest.Digest]*blob)} }

func (s *ContentStore) Info(_ context.Context, d digest.Digest) (content.Info, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.blobs[d]
	if !ok {
		return content.Info{}, fmt.Errorf("content %v: %w", d, errdefs.ErrNotFound)
	}
	return content.Info{Digest: d, Size: int64(len(b.data)), Labels: maps.Clone(b.labels)}, nil
}

func (s *ContentStore) Update(ctx context.Context, info content.Info, _ ...string) (content.Info, error) {
	s.mu.Lock()
	b, ok := s.blobs[info.Digest]
	if ok {
		if b.labels == nil {
			b.labels = make(map[string]string)
		}
		maps.Copy(b.labels, info.Labels)
	}
	s.mu.Unlock()
	return s.Info(ctx, info.Digest)
}

func (s *ContentStore) Walk(context.Context, content.WalkFunc, ...string) error { return nil }

func (s *ContentStore) Delete(_ context.Context, d digest.Digest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.blobs, d)
	return nil
}

func (s *ContentStore) ReaderAt(_ context.Context, desc ocispec.Descriptor) (content.ReaderAt, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.blobs[desc.Digest]
	if !ok {
		return nil, fmt.Errorf("content %v: %w", desc.Digest, errdefs.ErrNotFound)
	}
	return readerAt{bytes.NewReader(b.data)}, nil
}

type readerAt struct{ *bytes.Reader }

func (readerAt) Close() error { return nil }

func (s *ContentStore) Status(context.Context, string) (content.Status, error) {
	return content.Status{}, errdefs.ErrNotFound
}

func (s *ContentStore) ListStatuses(context.Context, ...string) ([]content.Status, error) {
	return nil, nil
}

func (s *ContentStore) Abort(context.Context, string) error { return nil }

func (s *ContentStore) Writer(_ context.Context, opts ...content.WriterOpt) (content.Writer, error) {
	var o content.WriterOpts
	for _, opt := range opts {
		if err := opt(&o); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.blobs[o.Desc.Digest]; ok {
		return nil, fmt.Errorf("content %v: %w", o.Desc.Digest, errdefs.ErrAlreadyExists)
	}
	return &writer{store: s, ref: o.Ref, total: o.Desc.Size, started: time.Now()}, nil
}

type writer struct {
	bytes.Buffer
	store   *ContentStore
	ref     string
	total   int64
	started time.Time
}

func (w *writer) Close() error          { return nil }
func (w *writer) Digest() digest.Digest { return digest.FromBytes(w.Bytes()) }

func (w *writer) Status() (content.Status, error) {
	return content.Status{Ref: w.ref, Offset: int64(w.Len()), Total: w.total, StartedAt: w.started, UpdatedAt: w.started}, nil
}

func (w *writer) Truncate(size int64) error {
	w.Buffer.Truncate(int(size))
	return nil
}

func (w *writer) Commit(_ context.Context, size int64, expected digest.Digest, opts ...content.Opt) error {
	if size > 0 && size != int64(w.Len()) {
		return fmt.Errorf("unexpected commit size %d, expected %d: %w", w.Len(), size, errdefs.ErrFailedPrecondition)
	}
	d := w.Digest()
	if expected != "" && expected != d {
		return fmt.Errorf("unexpected commit digest %s, expected %s: %w", d, expected, errdefs.ErrFailedPrecondition)
	}
	var info content.Info
	for _, opt := range opts {
		if err := opt(&info); err != nil {
			return err
		}
	}
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	if _, ok := w.store.blobs[d]; ok {
		return fmt.Errorf("content %v: %w", d, errdefs.ErrAlreadyExists)
	}
	w.store.blobs[d] = &blob{data: bytes.Clone(w.Bytes()), labels: info.Labels}
	return nil
}

// An ImageStore is a list of images in memory. It is safe for concurrent use.
type ImageStore struct {
	mu     sync.Mutex
	images map[string]images.Image
}

// NewImageStore returns an empty list.
func NewImageStore() *ImageStore { return &ImageStore{images: make(map[string]images.Image)} }

func (s *ImageStore) Get(_ context.Context, name string) (images.Image, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	image, ok := s.images[name]
	if !ok {
		return images.Image{}, fmt.Errorf("image %q: %w", name, errdefs.ErrNotFound)
	}
	return image, nil
}

func (s *ImageStore) List(context.Context, ...string) ([]images.Image, error) { return nil, nil }

func (s *ImageStore) Create(_ context.Context, image images.Image) (images.Image, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.images[image.Name] = image
	return image, nil
}

func (s *ImageStore) Update(ctx context.Context, image images.Image, _ ...string) (images.Image, error) {
	return s.Create(ctx, image)
}

func (s *ImageStore) Delete(context.Context, string, ...images.DeleteOpt) error { return nil }

// A Snapshotter accepts every layer and keeps none.
type Snapshotter struct{}

func (Snapshotter) Stat(context.Context, string) (snapshots.Info, error) {
	return snapshots.Info{}, errdefs.ErrNotFound
}

func (Snapshotter) Update(_ context.Context, info snapshots.Info, _ ...string) (snapshots.Info, error) {
	return info, nil
}

func (Snapshotter) Usage(context.Context, string) (snapshots.Usage, error) {
	return snapshots.Usage{}, nil
}
func (Snapshotter) Mounts(context.Context, string) ([]mount.Mount, error) { return nil, nil }

func (Snapshotter) Prepare(context.Context, string, string, ...snapshots.Opt) ([]mount.Mount, error) {
	return []mount.Mount{{Type: "memory"}}, nil
}

func (Snapshotter) View(context.Context, string, string, ...snapshots.Opt) ([]mount.Mount, error) {
	return nil, nil
}
func (Snapshotter) Commit(context.Context, string, string, ...snapshots.Opt) error { return nil }
func (Snapshotter) Remove(context.Context, string) error                           { return nil }
func (Snapshotter) Walk(context.Context, snapshots.WalkFunc, ...string) error      { return nil }
func (Snapshotter) Close() error                                                   { return nil }

// An Applier reads a layer from the store as containerd's does, and writes no files.
type Applier struct{ Store content.Provider }

func (a Applier) Apply(ctx context.Context, desc ocispec.Descriptor, _ []mount.Mount, opts ...diff.ApplyOpt) (ocispec.Descriptor, error) {
	var c diff.ApplyConfig
	for _, opt := range opts {
		if err := opt(ctx, desc, &c); err != nil {
			return ocispec.Descriptor{}, err
		}
	}
	reader, err := a.Store.ReaderAt(ctx, desc)
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("failed to get reader from content store: %w", err)
	}
	processor := diff.NewProcessorChain(desc.MediaType, io.NopCloser(content.NewReader(reader)))
	for {
		if processor, err = diff.GetProcessor(ctx, processor, c.ProcessorPayloads); err != nil {
			return ocispec.Descriptor{}, fmt.Errorf("failed to get stream processor for %s: %w", desc.MediaType, err)
		}
		if processor.MediaType() == ocispec.MediaTypeImageLayer {
			break
		}
	}
	defer processor.Close()
	digester := digest.Canonical.Digester()
	n, err := io.Copy(digester.Hash(), processor)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Size: n, Digest: digester.Digest()}, nil
}

package systemregistry

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
)

// diskDriver is a storage driver that records when the storage is full. Distribution turns the error into text before
// the registry can see it.
type diskDriver struct {
	storagedriver.StorageDriver
	// dir is the folder of the storage. If empty, the storage is not a folder of this machine.
	dir string
	// signal has capacity 1. It signals that the storage is full, so that the receiver frees space.
	signal chan struct{}
	last   atomic.Int64 // Time of the last full write, in nanoseconds since 1970.
	count  func()       // Called for each write that fails because the storage is full.
}

func newDiskDriver(inner storagedriver.StorageDriver, dir string, count func()) *diskDriver {
	return &diskDriver{StorageDriver: inner, dir: dir, signal: make(chan struct{}, 1), count: count}
}

// RemoveEmpty removes a folder below top, and the folders around it, as far as they are empty. Other storages than a
// folder of this machine have no empty folders.
func (d *diskDriver) RemoveEmpty(folder, top string) {
	for ; d.dir != "" && strings.HasPrefix(folder, top+"/"); folder = path.Dir(folder) {
		if err := os.Remove(filepath.Join(d.dir, folder)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return // It is not empty, or stays until the next collection.
		}
	}
}

// again repeats a write if RemoveEmpty has removed a folder that the write has just created.
func (d *diskDriver) again(write func() error) error {
	err := write()
	for n := 0; n < 10 && errors.Is(cause(err), fs.ErrNotExist); n++ {
		err = write()
	}
	return d.note(err)
}

// cause returns the error in a storagedriver.Error, which has no Unwrap method.
func cause(err error) error {
	if wrapped, ok := errors.AsType[storagedriver.Error](err); ok {
		return wrapped.Detail
	}
	return err
}

func (d *diskDriver) note(err error) error {
	cause := cause(err)
	if errors.Is(cause, syscall.ENOSPC) || errors.Is(cause, syscall.EDQUOT) {
		d.count()
		d.last.Store(time.Now().UnixNano())
		select {
		case d.signal <- struct{}{}:
		default:
		}
	}
	return err
}

// fullSince reports whether a write has found the storage full at or after t.
func (d *diskDriver) fullSince(t time.Time) bool { return d.last.Load() >= t.UnixNano() }

func (d *diskDriver) PutContent(ctx context.Context, path string, content []byte) error {
	return d.again(func() error { return d.StorageDriver.PutContent(ctx, path, content) })
}

func (d *diskDriver) Move(ctx context.Context, from, to string) error {
	return d.note(d.StorageDriver.Move(ctx, from, to))
}

func (d *diskDriver) Writer(ctx context.Context, path string, more bool) (storagedriver.FileWriter, error) {
	var w storagedriver.FileWriter
	err := d.again(func() (err error) {
		w, err = d.StorageDriver.Writer(ctx, path, more)
		return err
	})
	if err != nil {
		return nil, err
	}
	own := &diskWriter{FileWriter: w, driver: d}
	if all, ok := ctx.Value(writersKey{}).(*writers); ok {
		all.open = append(all.open, own)
	}
	return own, nil
}

type diskWriter struct {
	storagedriver.FileWriter
	driver *diskDriver
	closed bool
}

func (w *diskWriter) Write(p []byte) (int, error) {
	n, err := w.FileWriter.Write(p)
	return n, w.driver.note(err)
}

func (w *diskWriter) Commit(ctx context.Context) error {
	return w.driver.note(w.FileWriter.Commit(ctx))
}

func (w *diskWriter) Close() error {
	w.closed = true
	return w.driver.note(w.FileWriter.Close())
}

func (w *diskWriter) Cancel(ctx context.Context) error {
	w.closed = true
	return w.FileWriter.Cancel(ctx)
}

// writers records the files that one request writes. Distribution leaves a file open if it cannot save the state of an
// upload, for example on a full disk. An open file occupies its disk space even after it is removed.
type writers struct {
	open      []*diskWriter
	cancelled bool // Distribution has cancelled the upload.
	had       bool // The repository had the layer before the upload was completed.
}

type writersKey struct{}

// withWriters returns a context that records the files that are written with it.
func withWriters(ctx context.Context) (context.Context, *writers) {
	all := new(writers)
	return context.WithValue(ctx, writersKey{}, all), all
}

func (all *writers) close() {
	for _, w := range all.open {
		if !w.closed {
			_ = w.Close() // The caller of Write has received the error.
		}
	}
}

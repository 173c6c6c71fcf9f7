package shared

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/opencontainers/go-digest"

	"github.com/regcred/regcred/systemregistry/internal/lease"
	"github.com/regcred/regcred/systemregistry/store"
)

// A Scan has all records, read one kind after the other. It reads blobs first, so that it sees links that are made
// meanwhile.
type Scan struct {
	Blobs, Layers, Manifests, Tags, Repositories map[string]Record // By key.
}

// Scan reads all records.
func (d *Driver) Scan(ctx context.Context) (*Scan, error) {
	s := new(Scan)
	for _, one := range []struct {
		prefix string
		into   *map[string]Record
	}{{Blobs, &s.Blobs}, {Layers, &s.Layers}, {Manifests, &s.Manifests}, {Tags, &s.Tags}, {Repositories, &s.Repositories}} {
		*one.into = make(map[string]Record)
		for e, err := range d.store.List(ctx, one.prefix) {
			if err != nil {
				return nil, fmt.Errorf("read the store: %w", err)
			}
			r, err := decode(e)
			if err != nil {
				return nil, err
			}
			(*one.into)[e.Key] = r
		}
	}
	return s, nil
}

// collecting is the longest time that a collection waits for another one. It is long enough to take over from a replica
// that crashed.
const collecting = lease.Life + lease.Life/5

// Alone blocks other collections in all replicas until release is called. It returns the version at which the previous
// collection started, or zero if there was none. Two collections at once would only do the work twice.
func (d *Driver) Alone(ctx context.Context) (alone context.Context, before uint64, release func(), err error) {
	alone, release, err = lease.Hold(ctx, d.store, "collect", collecting)
	if err != nil {
		return nil, 0, nil, err
	}
	_, err = d.update(alone, roundKey, func(r *Record) error {
		before, r.At = r.Version, time.Now().UTC()
		return nil
	})
	if err != nil {
		release()
		return nil, 0, nil, err
	}
	return alone, before, release, nil
}

// changed reports whether a change of a record succeeded, given its error. It returns false without an error if the
// record had changed or was removed meanwhile.
func changed(err error) (bool, error) {
	if errors.Is(err, store.ErrKeyChanged) || errors.Is(err, store.ErrNoKey) {
		return false, nil
	}
	return err == nil, err
}

// Mark sets or removes the mark that the record is unused, unless the record has changed since it was read.
func (d *Driver) Mark(ctx context.Context, r Record, unused bool) error {
	r.Condemned = unused
	_, err := d.put(ctx, r)
	_, err = changed(err)
	return err
}

// Remove removes the record unless it has changed since it was read, and reports whether it did. For a blob, it also
// removes the file, because no other upload ever has its name.
func (d *Driver) Remove(ctx context.Context, r Record) (bool, error) {
	removed, err := changed(d.remove(ctx, r))
	if !removed || !strings.HasPrefix(r.Key, Blobs) {
		return removed, err
	}
	_, d1 := r.Split()
	if err := d.StorageDriver.Delete(ctx, blobFolder(digest.Digest(d1))+"/"+r.Value); err != nil && !notFound(err) {
		return true, err
	}
	return true, nil
}

// Settle cancels a put of the tag that started before the version. A crashed replica has left such a put behind.
func (d *Driver) Settle(ctx context.Context, r Record, before uint64) error {
	if r.Next == "" || r.Version >= before {
		return nil
	}
	r.Next = ""
	_, err := changed(d.settle(ctx, r))
	return err
}

// RemoveRepository removes the record of a repository without tags, manifests and layers.
func (d *Driver) RemoveRepository(ctx context.Context, r Record) error {
	removed, err := changed(d.remove(ctx, r))
	if !removed || err != nil {
		return err
	}
	name, _ := r.Split()
	for _, prefix := range []string{tagKey(name, ""), manifestKey(name, ""), layerKey(name, "")} {
		for _, err := range d.store.List(ctx, prefix) {
			if err != nil {
				return err
			}
			return d.addRepository(ctx, name) // A push to it has started.
		}
	}
	return nil
}

// RemoveOrphan removes a file from a blob's folder unless a record names it, and reports whether it did. An upload that
// is about to name the file fails.
func (d *Driver) RemoveOrphan(ctx context.Context, d1 digest.Digest, name string) (bool, error) {
	named := func() (bool, error) {
		r, err := d.get(ctx, blobKey(string(d1)))
		if errors.Is(err, store.ErrNoKey) {
			return false, nil
		}
		return err == nil && r.Value == name, err
	}
	if is, err := named(); is || err != nil {
		return false, err
	}
	r, err := d.put(ctx, Record{Key: orphans + name, At: time.Now().UTC()})
	if errors.Is(err, store.ErrKeyChanged) { // A collection that crashed left it behind.
		r, err = d.get(ctx, orphans+name)
	}
	if err != nil {
		return false, err
	}
	is, err := named()
	if !is && err == nil {
		err = d.StorageDriver.Delete(ctx, blobFolder(d1)+"/"+name)
	}
	if err != nil && !notFound(err) {
		return false, err
	}
	_, err = changed(d.remove(ctx, r))
	return !is, err
}

// Import creates records for all data that distribution has stored in a storage without a store. No other program may
// use the storage meanwhile. If Import is interrupted, call it again to continue.
func Import(ctx context.Context, storage storagedriver.StorageDriver, s store.Store) error {
	d := &Driver{StorageDriver: storage, store: s}
	add := func(r Record) error {
		_, err := d.put(ctx, r)
		if errors.Is(err, store.ErrKeyChanged) {
			return nil
		}
		return err
	}
	visit := func(file storagedriver.FileInfo) error {
		p := placeOf(file.Path())
		switch p.kind {
		case Blobs:
			return add(Record{Key: p.key, Value: "data", Size: file.Size(), At: file.ModTime().UTC()})
		case Tags, Manifests, Layers:
			content, err := storage.GetContent(ctx, file.Path())
			if err != nil {
				return err
			}
			if err := add(Record{Key: p.key, Value: string(content), At: file.ModTime().UTC()}); err != nil {
				return err
			}
			return d.addRepository(ctx, p.repository)
		}
		return nil
	}
	pending := []string{blobs, repositories}
	for len(pending) > 0 {
		dir := pending[len(pending)-1]
		pending = pending[:len(pending)-1]
		children, err := storage.List(ctx, dir)
		if err != nil && !notFound(err) {
			return fmt.Errorf("import images: %w", err)
		}
		for _, child := range children {
			file, err := storage.Stat(ctx, child)
			if err == nil && file.IsDir() {
				pending = append(pending, child)
			} else if err == nil {
				err = visit(file)
			}
			if err != nil {
				return fmt.Errorf("import images: %s: %w", child, err)
			}
		}
	}
	return d.ready(ctx)
}

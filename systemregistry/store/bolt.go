package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"time"

	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"
)

// File is a [Store] in a single file, which one process at a time can open. Make it with [Open]. Put and Delete return
// after the change is on the disk.
type File struct{ db *bbolt.DB }

// openTimeout is the longest time that Open waits for another process to release the file, for example during a
// restart.
const openTimeout = 10 * time.Second

// ErrInUse reports that another process holds the file of a [File].
var ErrInUse = errors.New("another process uses the file")

// entriesBucket is the only bucket of the file. Its sequence provides the versions, and never goes back when entries
// are deleted.
const entriesBucket = "entries"

// Open opens the file at path. If there is none, it creates one that only the owner can read. It fails with
// [ErrInUse] if another process holds the file for ten seconds. Close the File after use.
func Open(path string) (*File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	return open(path, openTimeout)
}

func open(path string, timeout time.Duration) (*File, error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: timeout})
	if errors.Is(err, bbolterrors.ErrTimeout) {
		err = ErrInUse
	}
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", path, err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists([]byte(entriesBucket))
		return err
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open store %s: %w", path, err), db.Close())
	}
	return &File{db}, nil
}

// Close waits for calls in flight and closes the file.
func (f *File) Close() error { return f.db.Close() }

// Get implements [Store].
func (f *File) Get(ctx context.Context, key string) (Entry, error) {
	if ctx.Err() != nil {
		return Entry{}, context.Cause(ctx)
	}
	var e Entry
	err := f.db.View(func(tx *bbolt.Tx) error {
		stored := tx.Bucket([]byte(entriesBucket)).Get([]byte(key))
		if stored == nil {
			return ErrNoKey
		}
		e = decode([]byte(key), stored)
		return nil
	})
	return e, err
}

// Put implements [Store].
func (f *File) Put(ctx context.Context, key string, value []byte, version uint64) (uint64, error) {
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	var next uint64
	err := f.db.Update(func(tx *bbolt.Tx) error {
		bucket := tx.Bucket([]byte(entriesBucket))
		var have uint64
		if stored := bucket.Get([]byte(key)); stored != nil {
			have = decode(nil, stored).Version
		}
		if have != version {
			return ErrKeyChanged
		}
		var err error
		if next, err = bucket.NextSequence(); err != nil {
			return err
		}
		return bucket.Put([]byte(key), append(binary.BigEndian.AppendUint64(nil, next), value...))
	})
	return next, err
}

// Delete implements [Store].
func (f *File) Delete(ctx context.Context, key string, version uint64) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return f.db.Update(func(tx *bbolt.Tx) error {
		bucket := tx.Bucket([]byte(entriesBucket))
		stored := bucket.Get([]byte(key))
		if stored == nil {
			return ErrNoKey
		}
		if version != 0 && decode(nil, stored).Version != version {
			return ErrKeyChanged
		}
		return bucket.Delete([]byte(key))
	})
}

// listBatch limits the time of one read transaction, because a transaction that stays open keeps the file from reusing
// freed pages.
const listBatch = 256

// List implements [Store].
func (f *File) List(ctx context.Context, prefix string) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		next := []byte(prefix)
		for {
			batch, err := f.batch(ctx, prefix, next)
			if err != nil {
				yield(Entry{}, err)
				return
			}
			for _, e := range batch {
				if !yield(e, nil) {
					return
				}
			}
			if len(batch) < listBatch {
				return
			}
			next = append([]byte(batch[len(batch)-1].Key), 0) // The next possible key.
		}
	}
}

func (f *File) batch(ctx context.Context, prefix string, from []byte) ([]Entry, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	var batch []Entry
	err := f.db.View(func(tx *bbolt.Tx) error {
		cursor := tx.Bucket([]byte(entriesBucket)).Cursor()
		for k, v := cursor.Seek(from); k != nil && bytes.HasPrefix(k, []byte(prefix)) && len(batch) < listBatch; k, v = cursor.Next() {
			batch = append(batch, decode(k, v))
		}
		return nil
	})
	return batch, err
}

// decode copies the data, because bbolt's slices are valid only during the transaction.
func decode(key, stored []byte) Entry {
	if len(stored) < 8 {
		return Entry{Key: string(key)} // Not written by this package. Version zero never matches.
	}
	return Entry{string(key), slices.Clone(stored[8:]), binary.BigEndian.Uint64(stored)}
}

// Package store stores the registry's data other than image data: accounts, the keys that sign its tokens, and, if
// several replicas share a storage, tags and the content of repositories.
//
// A [Store] is a table of keys, values and versions with four methods. [Open] returns an embedded Store in a single
// file that survives a crash. [Memory] is a Store for tests and for registries that live as long as their process. If
// several replicas serve one registry, they share a Store over a database that the platform has. [storetest.Run] tests
// such an implementation against the contract.
//
// The package does not interpret the values, and does not hold the data of images.
//
// [storetest.Run]: https://pkg.go.dev/github.com/regcred/regcred/systemregistry/store/storetest#Run
package store

import (
	"context"
	"errors"
	"iter"
)

// The errors of a [Store]; test for them with [errors.Is].
var (
	// ErrNoKey reports that the key does not exist.
	ErrNoKey = errors.New("not found")
	// ErrKeyChanged reports that another caller changed the value after it was read.
	ErrKeyChanged = errors.New("changed by another writer")
)

// An Entry is a key with its value and version.
type Entry struct {
	Key   string
	Value []byte
	// Version is never zero. It is larger than every version that the Store returned before, even if the key was
	// deleted in between.
	Version uint64
}

// A Store is a table of small values. It is safe for concurrent use. The result of a method that returned without an
// error survives a crash of the process. A call that fails because its context ended returns an error that wraps
// [context.Cause].
type Store interface {
	// Get returns the entry of key, or fails with [ErrNoKey]. The caller may modify the value.
	Get(ctx context.Context, key string) (Entry, error)

	// Put sets key to value if the key still has the given version. Version zero means that the key must not exist. Put
	// returns the new version, or fails with [ErrKeyChanged]. It does not retain value.
	Put(ctx context.Context, key string, value []byte, version uint64) (uint64, error)

	// Delete removes key if it still has the given version. Version zero matches every version. Delete fails with
	// [ErrKeyChanged] or [ErrNoKey].
	Delete(ctx context.Context, key string, version uint64) error

	// List yields the entries whose keys start with prefix, ordered by the bytes of the keys. An error ends the
	// iteration. An entry that changes meanwhile may be yielded as before or after the change. The caller may call
	// other methods between two entries.
	List(ctx context.Context, prefix string) iter.Seq2[Entry, error]
}

// Package store keeps what the registry must remember beside the data of images: accounts, the keys that sign its tokens,
// and, where several replicas share a storage, tags and what repositories have.
//
// A [Store] is a table of keys, values and versions with four methods. [Open] returns the embedded one, a single file
// that survives a crash; [Memory] is one for tests and for registries that live as long as their process. Where several
// replicas serve one registry, they share a Store over a database that the platform has: [storetest.Run] holds it to
// the contract.
//
// It does not know what the values mean, and it does not hold the data of images.
//
// [storetest.Run]: https://pkg.go.dev/github.com/regcred/regcred/systemregistry/store/storetest#Run
package store

import (
	"context"
	"errors"
	"iter"
)

// What the methods of a [Store] report; test for them with [errors.Is].
var (
	// ErrNoKey is a key that is not there.
	ErrNoKey = errors.New("not found")
	// ErrKeyChanged is a value that somebody else changed since it was read.
	ErrKeyChanged = errors.New("changed by somebody else")
)

// An Entry is a key with its value and version.
type Entry struct {
	Key   string
	Value []byte
	// Version is never zero, and larger than every version that the Store gave out before, also for a key that was
	// deleted meanwhile.
	Version uint64
}

// A Store is a table of small values. It is safe for concurrent use, and what a method returned without an error
// survives a crash of the process. A call that ends because its context ended returns an error that wraps
// [context.Cause].
type Store interface {
	// Get returns the entry of key, or [ErrNoKey]. The value is the caller's own.
	Get(ctx context.Context, key string) (Entry, error)

	// Put sets key to value if its version is still the one given, zero for a key that must not exist; it returns the
	// new version, or [ErrKeyChanged]. It does not keep value.
	Put(ctx context.Context, key string, value []byte, version uint64) (uint64, error)

	// Delete removes key if its version is still the one given, zero for any; or returns [ErrKeyChanged], or [ErrNoKey].
	Delete(ctx context.Context, key string, version uint64) error

	// List yields the entries whose keys start with prefix, in the order of their bytes. An error is the last thing
	// that it yields. Entries that change meanwhile may be yielded as before or after the change. The caller may call
	// other methods between two entries.
	List(ctx context.Context, prefix string) iter.Seq2[Entry, error]
}

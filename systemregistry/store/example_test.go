package store_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/regcred/regcred/systemregistry/store"
)

// Two writers read the same entry, and the second one notices that the first has changed it.
func ExampleStore() {
	ctx := context.Background()
	var s store.Store = &store.Memory{}
	version, err := s.Put(ctx, "accounts/ann", []byte("v1"), 0) // Zero: the key must not exist.
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = s.Put(ctx, "accounts/ann", []byte("v2"), version)
	fmt.Println(err)
	_, err = s.Put(ctx, "accounts/ann", []byte("v2, of another writer"), version)
	fmt.Println(errors.Is(err, store.ErrKeyChanged))
	for entry, err := range s.List(ctx, "accounts/") {
		fmt.Printf("%s %s %v\n", entry.Key, entry.Value, err)
	}
	// Output:
	// <nil>
	// true
	// accounts/ann v2 <nil>
}

// A file keeps the entries of one process.
func ExampleOpen() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "store")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	for range 2 { // The second time, the entry is there.
		file, err := store.Open(filepath.Join(dir, "accounts.db"))
		if err != nil {
			fmt.Println(err)
			return
		}
		_, err = file.Put(ctx, "accounts/ann", []byte("v1"), 0)
		fmt.Println(errors.Is(err, store.ErrKeyChanged), file.Close())
	}
	// Output:
	// false <nil>
	// true <nil>
}

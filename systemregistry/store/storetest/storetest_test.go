package storetest

import (
	"bytes"
	"context"
	"iter"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/regcred/regcred/systemregistry/store"
)

// broken is a correct store, except for the methods that are set.
type broken struct {
	store.Store
	get  func(context.Context, string) (store.Entry, error)
	put  func(context.Context, string, []byte, uint64) (uint64, error)
	del  func(context.Context, string, uint64) error
	list func(context.Context, string) iter.Seq2[store.Entry, error]
}

func (b *broken) Get(ctx context.Context, key string) (store.Entry, error) {
	if b.get != nil {
		return b.get(ctx, key)
	}
	return b.Store.Get(ctx, key)
}

func (b *broken) Put(ctx context.Context, key string, value []byte, version uint64) (uint64, error) {
	if b.put != nil {
		return b.put(ctx, key, value, version)
	}
	return b.Store.Put(ctx, key, value, version)
}

func (b *broken) Delete(ctx context.Context, key string, version uint64) error {
	if b.del != nil {
		return b.del(ctx, key, version)
	}
	return b.Store.Delete(ctx, key, version)
}

func (b *broken) List(ctx context.Context, prefix string) iter.Seq2[store.Entry, error] {
	if b.list != nil {
		return b.list(ctx, prefix)
	}
	return b.Store.List(ctx, prefix)
}

// Each rule fails for a store that breaks it, and passes for one that does not.
func TestRulesFindWhatIsBroken(t *testing.T) {
	anyVersion := func(b *broken) {
		b.put = func(ctx context.Context, key string, value []byte, _ uint64) (uint64, error) {
			have, _ := b.Store.Get(ctx, key)
			return b.Store.Put(ctx, key, value, have.Version)
		}
	}
	breaks := map[string]func(*broken){
		"a missing key is not found": func(b *broken) {
			b.get = func(ctx context.Context, key string) (store.Entry, error) {
				e, err := b.Store.Get(ctx, key)
				if ctx.Err() == nil {
					err = nil
				}
				return e, err
			}
		},
		"a value is read as it was put": func(b *broken) {
			b.put = func(ctx context.Context, key string, value []byte, version uint64) (uint64, error) {
				return b.Store.Put(ctx, key, bytes.TrimSuffix(value, []byte{0xff}), version)
			}
		},
		"a put with an old version is a conflict": anyVersion,
		"a delete with an old version is a conflict": func(b *broken) {
			b.del = func(ctx context.Context, key string, _ uint64) error { return b.Store.Delete(ctx, key, 0) }
		},
		"of many puts at once one wins": anyVersion,
		"versions grow, also after a delete": func(b *broken) {
			b.put = func(ctx context.Context, key string, value []byte, version uint64) (uint64, error) {
				_, err := b.Store.Put(ctx, key, value, version)
				return 1, err
			}
		},
		"a list has all of the prefix, in order": func(b *broken) {
			b.list = func(ctx context.Context, _ string) iter.Seq2[store.Entry, error] { return b.Store.List(ctx, "") }
		},
		"a list goes on while entries change": func(b *broken) {
			var mu sync.Mutex // Held while the caller has an entry, like a transaction.
			b.list = func(ctx context.Context, prefix string) iter.Seq2[store.Entry, error] {
				return func(yield func(store.Entry, error) bool) {
					for e, err := range b.Store.List(ctx, prefix) {
						mu.Lock()
						ok := yield(e, err)
						mu.Unlock()
						if !ok {
							return
						}
					}
				}
			}
			b.del = func(ctx context.Context, key string, version uint64) error {
				if !mu.TryLock() {
					return context.DeadlineExceeded
				}
				defer mu.Unlock()
				return b.Store.Delete(ctx, key, version)
			}
		},
		"values do not share memory with the caller": func(b *broken) {
			kept := make(map[string][]byte)
			b.put = func(ctx context.Context, key string, value []byte, version uint64) (uint64, error) {
				kept[key] = value
				return b.Store.Put(ctx, key, value, version)
			}
			b.get = func(ctx context.Context, key string) (store.Entry, error) {
				e, err := b.Store.Get(ctx, key)
				e.Value = kept[key]
				return e, err
			}
		},
		"an ended context is an error": func(b *broken) {
			b.get = func(ctx context.Context, key string) (store.Entry, error) {
				return b.Store.Get(context.WithoutCancel(ctx), key)
			}
		},
	}
	for name, rule := range rules() {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, rule(t.Context(), new(store.Memory)))
			b := &broken{Store: new(store.Memory)}
			require.Contains(t, breaks, name, "no broken store for the rule")
			breaks[name](b)
			require.Error(t, rule(t.Context(), b))
		})
	}
}

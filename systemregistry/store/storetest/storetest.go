// Package storetest tests an implementation of [store.Store] against its contract. Call [Run] in the tests of the
// implementation.
//
// It does not test whether data survives a crash.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/regcred/regcred/systemregistry/store"
)

// Run tests the stores that open returns. Each must be empty and independent of the others.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	for name, rule := range rules() {
		t.Run(name, func(t *testing.T) {
			if err := rule(t.Context(), open(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

func rules() map[string]func(context.Context, store.Store) error {
	return map[string]func(context.Context, store.Store) error{
		"a missing key is not found":                 missing,
		"a value is read as it was put":              roundTrip,
		"a put with an old version is a conflict":    conflict,
		"a delete with an old version is a conflict": conflictingDelete,
		"of many puts at once one wins":              race,
		"versions grow, also after a delete":         versions,
		"a list has all of the prefix, in order":     list,
		"a list goes on while entries change":        listWhileChanging,
		"values do not share memory with the caller": memory,
		"an ended context is an error":               ended,
	}
}

func want(ok bool, format string, args ...any) error {
	if ok {
		return nil
	}
	return fmt.Errorf(format, args...)
}

func missing(ctx context.Context, s store.Store) error {
	_, getErr := s.Get(ctx, "a")
	_, putErr := s.Put(ctx, "a", []byte("1"), 7)
	return errors.Join(
		want(errors.Is(getErr, store.ErrNoKey), "Get: %v, want ErrNoKey", getErr),
		want(errors.Is(putErr, store.ErrKeyChanged), "Put with a version: %v, want ErrKeyChanged", putErr),
		want(errors.Is(s.Delete(ctx, "a", 0), store.ErrNoKey), "Delete: want ErrNoKey"),
		want(errors.Is(s.Delete(ctx, "a", 7), store.ErrNoKey), "Delete with a version: want ErrNoKey"),
	)
}

func roundTrip(ctx context.Context, s store.Store) error {
	for key, value := range map[string]string{"a": "", "a/b": "text", "\x00": "\x00\xff"} {
		v, err := s.Put(ctx, key, []byte(value), 0)
		if err != nil {
			return err
		}
		e, err := s.Get(ctx, key)
		if err != nil {
			return err
		}
		if e.Key != key || string(e.Value) != value || e.Version != v || v == 0 {
			return fmt.Errorf("got %q = %q at version %d, want %q = %q at %d", e.Key, e.Value, e.Version, key, value, v)
		}
	}
	return nil
}

func conflict(ctx context.Context, s store.Store) error {
	first, err := s.Put(ctx, "a", []byte("1"), 0)
	if err != nil {
		return err
	}
	if _, err := s.Put(ctx, "a", []byte("2"), first); err != nil {
		return err
	}
	_, again := s.Put(ctx, "a", []byte("3"), 0)
	_, old := s.Put(ctx, "a", []byte("4"), first)
	e, err := s.Get(ctx, "a")
	return errors.Join(err,
		want(errors.Is(again, store.ErrKeyChanged), "Put as new: %v, want ErrKeyChanged", again),
		want(errors.Is(old, store.ErrKeyChanged), "Put with the old version: %v, want ErrKeyChanged", old),
		want(string(e.Value) == "2", "value is %q after the conflicts, want 2", e.Value),
	)
}

func conflictingDelete(ctx context.Context, s store.Store) error {
	first, err := s.Put(ctx, "a", []byte("1"), 0)
	if err != nil {
		return err
	}
	second, err := s.Put(ctx, "a", []byte("2"), first)
	if err != nil {
		return err
	}
	old := s.Delete(ctx, "a", first)
	e, err := s.Get(ctx, "a")
	return errors.Join(err,
		want(errors.Is(old, store.ErrKeyChanged), "Delete with the old version: %v, want ErrKeyChanged", old),
		want(string(e.Value) == "2", "value is %q after the conflict, want 2", e.Value),
		s.Delete(ctx, "a", second),
		want(errors.Is(s.Delete(ctx, "a", second), store.ErrNoKey), "Delete again: want ErrNoKey"),
	)
}

func race(ctx context.Context, s store.Store) error {
	var wg sync.WaitGroup
	errs := make([]error, 16)
	for i := range errs {
		wg.Go(func() { _, errs[i] = s.Put(ctx, "a", []byte{byte(i)}, 0) })
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else if !errors.Is(err, store.ErrKeyChanged) {
			return err
		}
	}
	return want(won == 1, "%d of %d puts succeeded, want 1", won, len(errs))
}

func versions(ctx context.Context, s store.Store) error {
	var last uint64
	for range 3 {
		for _, key := range []string{"a", "b"} {
			v, err := s.Put(ctx, key, nil, 0)
			if err != nil {
				return err
			}
			if v <= last {
				return fmt.Errorf("version %d came after %d", v, last)
			}
			last = v
		}
		if err := errors.Join(s.Delete(ctx, "a", 0), s.Delete(ctx, "b", 0)); err != nil {
			return err
		}
	}
	return nil
}

func list(ctx context.Context, s store.Store) error {
	const n = 600 // More than any sensible batch.
	for i := range n {
		if _, err := s.Put(ctx, fmt.Sprintf("a/%03d", n-1-i), []byte{1}, 0); err != nil {
			return err
		}
	}
	for _, key := range []string{"a", "b/1", "A/1"} {
		if _, err := s.Put(ctx, key, nil, 0); err != nil {
			return err
		}
	}
	i := 0
	for e, err := range s.List(ctx, "a/") {
		if err != nil {
			return err
		}
		if key := fmt.Sprintf("a/%03d", i); e.Key != key || e.Version == 0 || len(e.Value) != 1 {
			return fmt.Errorf("entry %d is %+v, want key %s", i, e, key)
		}
		i++
	}
	for range s.List(ctx, "a/") {
		break
	}
	return want(i == n, "listed %d, want %d", i, n)
}

func listWhileChanging(ctx context.Context, s store.Store) error {
	for _, key := range []string{"a", "b", "c"} {
		if _, err := s.Put(ctx, key, nil, 0); err != nil {
			return err
		}
	}
	for e, err := range s.List(ctx, "") {
		if err != nil {
			return err
		}
		if err := s.Delete(ctx, e.Key, e.Version); err != nil && !errors.Is(err, store.ErrNoKey) {
			return err
		}
	}
	for e := range s.List(ctx, "") {
		return fmt.Errorf("%q is left", e.Key)
	}
	return nil
}

func memory(ctx context.Context, s store.Store) error {
	value := []byte("text")
	if _, err := s.Put(ctx, "a", value, 0); err != nil {
		return err
	}
	value[0] = 'X'
	first, err := s.Get(ctx, "a")
	if err != nil {
		return err
	}
	read := string(first.Value)
	first.Value[0] = 'Y'
	second, err := s.Get(ctx, "a")
	return errors.Join(err, want(read == "text" && string(second.Value) == "text", "read %q and %q, want text", read, second.Value))
}

func ended(ctx context.Context, s store.Store) error {
	reason := errors.New("reason")
	ctx, cancel := context.WithCancelCause(ctx)
	cancel(reason)
	_, getErr := s.Get(ctx, "a")
	_, putErr := s.Put(ctx, "a", nil, 0)
	var listErr error
	if _, err := s.Put(context.WithoutCancel(ctx), "a", nil, 0); err != nil {
		return err
	}
	for _, err := range s.List(ctx, "") {
		listErr = err
	}
	for name, err := range map[string]error{"Get": getErr, "Put": putErr, "Delete": s.Delete(ctx, "a", 0), "List": listErr} {
		if !errors.Is(err, reason) {
			return fmt.Errorf("%s: %v, want the cause of the context", name, err)
		}
	}
	return nil
}

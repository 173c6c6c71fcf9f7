// Package lease provides leases, with which one replica at a time does some work. A lease is an entry in the store that
// the replicas share.
//
// [Hold] waits for the lease with a name, and holds it until it is released. It compares no clocks: a waiting replica
// takes the lease over if its entry has not changed for [Life], and the holder changes the entry more often than that.
package lease

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/regcred/regcred/systemregistry/store"
)

// Life is the time for which a lease stays held after its holder has ended without a release.
const Life = 15 * time.Second

const (
	renewEvery = Life / 3
	// giveUp leaves the holder a third of Life to stop its work before another replica can start.
	giveUp = 2 * Life / 3
	// lookEvery is the polling interval of a waiting replica. It is short, so that waiting for another replica to write
	// a manifest adds no delay that a person notices.
	lookEvery = 50 * time.Millisecond
)

var (
	// ErrBusy reports that other holders had the lease during the whole wait.
	ErrBusy = errors.New("another holder has it")
	// ErrLost is the cause of a context that ends early, because the store did not respond or another replica took
	// over.
	ErrLost = errors.New("it is not held any more")
)

const held, free = "held", "free"

// Hold waits for the lease with the name, and holds it until release is called, which is required. The returned context
// derives from ctx, and ends with [ErrLost] before another replica can hold the lease: work that continues after that
// is not exclusive. Hold waits for at most wait, and then fails with [ErrBusy]. It also fails with an error of ctx or
// the store.
func Hold(ctx context.Context, s store.Store, name string, wait time.Duration) (alone context.Context, release func(), err error) {
	l := &lease{store: s, key: slot(name)}
	if err := l.take(ctx, wait); err != nil {
		return nil, nil, fmt.Errorf("hold %s: %w", name, err)
	}
	alone, cancel := context.WithCancelCause(ctx)
	kept := make(chan bool, 1)
	go func() {
		ok := l.keep(alone)
		if !ok {
			cancel(ErrLost)
		}
		kept <- ok
	}()
	return alone, func() {
		cancel(context.Canceled)
		if <-kept {
			l.release(ctx)
		}
	}, nil
}

// lease is an entry of the store that is held or waited for. Only one goroutine at a time uses it.
type lease struct {
	store   store.Store
	key     string
	version uint64
	since   time.Time // Time of the last put, or earlier.
}

// slot returns the key of the entry for the name, one of 4096. Entries are never removed, because that could remove an
// entry that another replica has just taken. Two names that share an entry wait for each other, which does no harm.
func slot(name string) string {
	sum := sha256.Sum256([]byte(name))
	return fmt.Sprintf("lease/%03x", uint16(sum[0])<<4|uint16(sum[1])>>4)
}

func (l *lease) put(ctx context.Context, value string, version uint64) error {
	since := time.Now() // Taken before others can see the entry.
	version, err := l.store.Put(ctx, l.key, []byte(value), version)
	if err == nil {
		l.version, l.since = version, since
	}
	return err
}

func (l *lease) take(ctx context.Context, wait time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, wait, ErrBusy)
	defer cancel()
	var seen uint64
	var since time.Time
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		e, err := l.store.Get(ctx, l.key)
		if err != nil && !errors.Is(err, store.ErrNoKey) {
			return err
		}
		if e.Version != seen {
			seen, since = e.Version, time.Now()
		}
		if string(e.Value) != held || time.Since(since) >= Life {
			if err := l.put(ctx, held, e.Version); !errors.Is(err, store.ErrKeyChanged) {
				return err
			}
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// keep renews the lease until ctx ends. It returns false early if it cannot.
func (l *lease) keep(ctx context.Context) bool {
	renew := time.NewTicker(renewEvery)
	defer renew.Stop()
	for {
		select {
		case <-ctx.Done():
			return true
		case <-renew.C:
		}
		end := l.since.Add(giveUp)
		// Detached from ctx: without the new version, the lease could not be released.
		putting, cancel := context.WithDeadline(context.WithoutCancel(ctx), end)
		err := l.put(putting, held, l.version)
		cancel()
		if errors.Is(err, store.ErrKeyChanged) || err != nil && !time.Now().Before(end) {
			return false
		}
	}
}

func (l *lease) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), renewEvery)
	defer cancel()
	_ = l.put(ctx, free, l.version) // If this fails, others wait for Life.
}

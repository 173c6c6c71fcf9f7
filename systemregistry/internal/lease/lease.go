// Package lease lets one replica at a time do something, by an entry in the store that replicas share.
//
// [Hold] waits for a name, and holds it until it is let go. No clocks are compared: who waits takes the name over when
// its entry has not changed for [Life], and who holds it changes the entry more often than that.
package lease

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/regcred/regcred/systemregistry/store"
)

// Life is how long a name stays held that a replica held when it ended.
const Life = 15 * time.Second

const (
	renewEvery = Life / 3
	// giveUp leaves the holder a third of Life to stop what it does, before somebody else can begin.
	giveUp = 2 * Life / 3
	// lookEvery is how often who waits looks: a manifest is written in less time than a person notices.
	lookEvery = 50 * time.Millisecond
)

var (
	// ErrBusy is a name that others held all the time.
	ErrBusy = errors.New("somebody else holds it")
	// ErrLost is why what is held ends early: the store did not answer, or somebody took over.
	ErrLost = errors.New("it is not held any more")
)

const held, free = "held", "free"

// Hold holds the name until release is called, which must be. The context that it returns is ctx, and ends with
// [ErrLost] when the name may be somebody else's soon: what goes on then is not alone. It waits for wait at most, and
// returns [ErrBusy] then, or an error of ctx or the store.
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

// lease is an entry of the store that is held, or waited for. One goroutine at a time has it.
type lease struct {
	store   store.Store
	key     string
	version uint64
	since   time.Time // When it was last put, or earlier.
}

// slot is one of 4096 entries. They stay: to remove one could remove what somebody else just took. Two names that share
// one wait for each other, which does no harm.
func slot(name string) string {
	sum := sha256.Sum256([]byte(name))
	return fmt.Sprintf("lease/%03x", uint16(sum[0])<<4|uint16(sum[1])>>4)
}

func (l *lease) put(ctx context.Context, value string, version uint64) error {
	since := time.Now() // Before others can see it.
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

// keep keeps others out until ctx ends. It returns early, and false, if it cannot.
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
		// Not cut short by the end of ctx: without the version, it could not be released.
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
	_ = l.put(ctx, free, l.version) // If it fails, others wait for Life.
}

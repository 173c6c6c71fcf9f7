package shared

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/regcred/regcred/systemregistry/images"
	"github.com/regcred/regcred/systemregistry/store"
)

// A Limit limits the total size in bytes of the repositories that match, in all replicas.
type Limit struct {
	// Name identifies the limit: limits with the same name match the same repositories.
	Name     string
	MaxBytes int64
	Matches  func(repository string) bool
	// Full returns the error for data that does not fit.
	Full func(used int64) error
}

// ledger is an entry of the store with the usage of a limit. A link's size is counted before the link is written, and
// shared data may count twice until the next measurement.
type ledger struct {
	Used int64 `json:"used"`
	// Added is the part of Used that the measurement in progress may have missed.
	Added int64 `json:"added"`
	// Epoch is the number of measurements. If zero, there was none.
	Epoch uint64 `json:"epoch"`
	// Pending are the links that are being written, each under a random text.
	Pending map[string]pending `json:"pending,omitempty"`
}

type pending struct {
	Bytes int64  `json:"bytes"`
	Epoch uint64 `json:"epoch"`
}

const ledgers = "image/quota/"

// forgotten is the number of measurements after which a pending link is dropped, because a crashed replica never
// settles it. A replica that stalled counts it again when it resumes.
const forgotten = 3

// limits are the limits of a Driver.
type limits struct {
	all []Limit

	mu       sync.Mutex
	measured time.Time // Time of this replica's last measurement because of a lack of space.
}

// remeasure is the shortest time between two measurements that pushes cause.
const remeasure = time.Second

// SetLimits sets the limits. Call it before the first use.
func (d *Driver) SetLimits(all []Limit) { d.limits.all = all }

func (d *Driver) ledger(ctx context.Context, l Limit, change func(*ledger) error) error {
	for n := range tries {
		e, err := d.store.Get(ctx, ledgers+l.Name)
		if err != nil && !errors.Is(err, store.ErrNoKey) {
			return err
		}
		var now ledger
		if err == nil {
			if err := json.Unmarshal(e.Value, &now); err != nil {
				return fmt.Errorf("read the quota of %s: %w", l.Name, err)
			}
		}
		if err := change(&now); err != nil {
			return err
		}
		value, err := json.Marshal(now)
		if err != nil {
			return err
		}
		if _, err = d.store.Put(ctx, ledgers+l.Name, value, e.Version); !errors.Is(err, store.ErrKeyChanged) {
			return err
		}
		if err := pause(ctx, n); err != nil {
			return err
		}
	}
	return fmt.Errorf("count for %s: %w", l.Name, images.ErrChanging)
}

var errNotMeasured = errors.New("not measured")

// count counts n bytes, or fails with the limit's error.
func (d *Driver) count(ctx context.Context, l Limit, id string, n int64) error {
	try := func() error {
		return d.ledger(ctx, l, func(now *ledger) error {
			switch {
			case now.Epoch == 0:
				return errNotMeasured
			case n > l.MaxBytes-now.Used:
				return l.Full(now.Used)
			}
			if now.Pending == nil {
				now.Pending = make(map[string]pending)
			}
			now.Used, now.Added, now.Pending[id] = now.Used+n, now.Added+n, pending{n, now.Epoch}
			return nil
		})
	}
	err := try()
	if err == nil || !errors.Is(err, errNotMeasured) && !d.mayMeasure() {
		return err
	}
	if measureErr := d.measure(ctx, l); measureErr != nil {
		return errors.Join(err, measureErr)
	}
	return try()
}

func (d *Driver) mayMeasure() bool {
	d.limits.mu.Lock()
	defer d.limits.mu.Unlock()
	if time.Since(d.limits.measured) < remeasure {
		return false
	}
	d.limits.measured = time.Now()
	return true
}

// settleCount completes a count. If measurements have dropped it, the bytes are counted again, which fails if they do
// not fit any more.
func (d *Driver) settleCount(ctx context.Context, l Limit, id string, n int64, written bool) error {
	return d.ledger(ctx, l, func(now *ledger) error {
		_, known := now.Pending[id]
		delete(now.Pending, id)
		switch {
		case !written && known:
			now.Used = max(0, now.Used-n) // It stays in Added: a measurement may have seen its removal but not its arrival.
		case written && !known:
			if n > l.MaxBytes-now.Used {
				return l.Full(now.Used)
			}
			now.Used, now.Added = now.Used+n, now.Added+n
		}
		return nil
	})
}

// charged writes a link that adds the blob to the repository. If the blob does not fit, it does not write the link.
func (d *Driver) charged(ctx context.Context, p place, blob string, write func() error) error {
	var matching []Limit
	for _, l := range d.limits.all {
		if l.Matches(p.repository) {
			matching = append(matching, l)
		}
	}
	if len(matching) == 0 {
		return write()
	}
	if _, err := d.get(ctx, p.key); !errors.Is(err, store.ErrNoKey) { // It is counted already.
		if err != nil {
			return err
		}
		return write()
	}
	data, err := d.get(ctx, blobKey(blob))
	if errors.Is(err, store.ErrNoKey) {
		return fmt.Errorf("%w: %s", ErrDataGone, blob)
	}
	if err != nil {
		return err
	}
	id := rand.Text()
	for i, l := range matching {
		if err := d.count(ctx, l, id, data.Size); err != nil {
			return errors.Join(err, d.uncount(ctx, matching[:i], id, data.Size))
		}
	}
	if err := write(); err != nil {
		// Whether the link was written may be unknown. It then counts until the next measurement.
		if errors.Is(err, ErrDataGone) {
			return errors.Join(err, d.uncount(ctx, matching, id, data.Size))
		}
		return err
	}
	for _, l := range matching {
		if err := d.settleCount(ctx, l, id, data.Size, true); err != nil {
			r, getErr := d.get(ctx, p.key)
			if getErr == nil {
				_, getErr = changed(d.remove(ctx, r))
			}
			return errors.Join(err, getErr)
		}
	}
	return nil
}

func (d *Driver) uncount(ctx context.Context, limits []Limit, id string, n int64) error {
	var errs []error
	for _, l := range limits {
		errs = append(errs, d.settleCount(context.WithoutCancel(ctx), l, id, n, false))
	}
	return errors.Join(errs...)
}

// Measure measures the usage of each limit.
func (d *Driver) Measure(ctx context.Context) error {
	for _, l := range d.limits.all {
		if err := d.measure(ctx, l); err != nil {
			return fmt.Errorf("measure %s: %w", l.Name, err)
		}
	}
	return nil
}

// measure adds the bytes that are written during the measurement to the bytes that it reads from the store. If another
// measurement starts meanwhile, that one counts.
func (d *Driver) measure(ctx context.Context, l Limit) error {
	var epoch uint64
	err := d.ledger(ctx, l, func(now *ledger) error {
		now.Epoch++
		epoch, now.Added = now.Epoch, 0
		for id, p := range now.Pending {
			if p.Epoch+forgotten <= now.Epoch {
				delete(now.Pending, id)
				continue
			}
			now.Added += p.Bytes // Its link may be written after the scan for links.
		}
		return nil
	})
	if err != nil {
		return err
	}
	scan, err := d.scanHeld(ctx, l.Matches)
	if err != nil {
		return err
	}
	return d.ledger(ctx, l, func(now *ledger) error {
		if now.Epoch == epoch {
			now.Used = scan + now.Added
		}
		return nil
	})
}

// scanHeld returns the total size in bytes of the repositories that match. It reads links first, so that each link
// whose blob is found counts.
func (d *Driver) scanHeld(ctx context.Context, matches func(string) bool) (int64, error) {
	held := make(map[string]bool)
	for _, prefix := range []string{Layers, Manifests} {
		for e, err := range d.store.List(ctx, prefix) {
			if err != nil {
				return 0, err
			}
			r, err := decode(e)
			if err != nil {
				return 0, err
			}
			if name, _ := r.Split(); matches(name) {
				held[blobKey(r.Value)] = true
			}
		}
	}
	var total int64
	for e, err := range d.store.List(ctx, Blobs) {
		if err != nil {
			return 0, err
		}
		if held[e.Key] {
			r, err := decode(e)
			if err != nil {
				return 0, err
			}
			total += r.Size
		}
	}
	return total, nil
}

package shared

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/regcred/regcred/systemregistry/images"
)

// measurements are this replica's measurements of a limit. Only one takes place at a time.
type measurements struct {
	turn chan struct{} // Held during a measurement.

	mu    sync.Mutex
	done  time.Time // End of the last measurement that succeeded.
	ended time.Time // End of the last measurement that a push has caused, and its duration.
	took  time.Duration
}

const (
	// Measurements that pushes cause are at least measurePause apart, and at least measureShare times the duration of
	// the last one, so that a client that pushes against a limit does not cause constant scans of the store.
	measurePause = time.Second
	measureShare = 20
	// measureWait is the longest time that a push waits for the measurement of another request.
	measureWait = 10 * time.Second
	// measureMost is the longest time that a measurement takes.
	measureMost = 10 * time.Minute
	// A replica that has not completed a measurement after measureRecent, or after measureSlow times the duration of the
	// last scan, is assumed to have crashed. The time is longer than the largest difference between two clocks.
	measureRecent = 2 * time.Minute
	measureSlow   = 4
	// measureLook is the interval at which a replica looks whether another one has completed its measurement.
	measureLook = 100 * time.Millisecond
)

// measuring reports whether a replica measures the limit, and is not known to have failed.
func (now *ledger) measuring() bool {
	return now.Epoch > now.Measured && time.Since(now.Started) < max(measureRecent, measureSlow*now.Took)
}

// twice calls try again after a measurement if there was no room for n bytes, because counted data may have been
// removed. It measures first if the limit was never measured.
func (d *Driver) twice(ctx context.Context, l Limit, n int64, try func() error) error {
	err := try()
	for range tries { // Another replica can discard a measurement.
		if !errors.Is(err, errNotMeasured) {
			break
		}
		if measureErr := d.remeasure(ctx, ctx, l); measureErr != nil {
			return errors.Join(err, measureErr)
		}
		err = try()
	}
	if !errors.Is(err, images.ErrQuotaExceeded) || n > l.MaxBytes {
		return err
	}
	m := d.limits.measurements[l.Name]
	m.mu.Lock()
	due := time.Since(m.ended) >= max(measurePause, measureShare*m.took)
	m.mu.Unlock()
	if !due {
		return err
	}
	wait, cancel := context.WithTimeout(ctx, measureWait)
	defer cancel()
	if d.remeasure(ctx, wait, l) != nil {
		return err
	}
	return try()
}

// remeasure measures the limit for a push. Requests that wait for a measurement of this replica or another one share
// its result. It stops waiting when the context wait ends.
func (d *Driver) remeasure(ctx, wait context.Context, l Limit) error {
	began, m := time.Now(), d.limits.measurements[l.Name]
	select {
	case m.turn <- struct{}{}:
		defer func() { <-m.turn }()
	case <-wait.Done():
		return context.Cause(wait)
	}
	m.mu.Lock()
	shared := m.done.After(began)
	m.mu.Unlock()
	if shared {
		return nil
	}
	err := d.measureOrWait(ctx, wait, l)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ended, m.took = time.Now(), time.Since(began)
	if err == nil {
		m.done = m.ended
	}
	return err
}

// measureOrWait measures the limit, or waits for the measurement of another replica.
func (d *Driver) measureOrWait(ctx, wait context.Context, l Limit) error {
	other := uint64(0)
	for {
		now, err := d.readLedger(wait, l.Name)
		if err != nil {
			return err
		}
		if other > 0 && now.Measured >= other {
			return nil
		}
		if !now.measuring() {
			// Detached, because others wait for the result, too.
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), measureMost)
			err := d.measure(ctx, l, false)
			cancel()
			if !errors.Is(err, errMeasuring) {
				return err
			}
			continue
		}
		other = now.Epoch
		select {
		case <-time.After(measureLook):
		case <-wait.Done():
			return context.Cause(wait)
		}
	}
}

// Measure measures the usage of each limit.
func (d *Driver) Measure(ctx context.Context) error {
	for _, l := range d.limits.all {
		if err := d.measureNow(ctx, l); err != nil {
			return fmt.Errorf("measure %s: %w", l.Name, err)
		}
	}
	return nil
}

// measureNow measures the limit after any other measurement of this replica.
func (d *Driver) measureNow(ctx context.Context, l Limit) error {
	m := d.limits.measurements[l.Name]
	select {
	case m.turn <- struct{}{}:
		defer func() { <-m.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if err := d.measure(ctx, l, true); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done = time.Now()
	return nil
}

var errMeasuring = errors.New("another replica measures")

// measure measures the usage of one limit. The usage is the bytes in the store plus the bytes that are written during
// the measurement. If another measurement starts meanwhile, this one is discarded. Unless force is set, measure fails
// with errMeasuring if a measurement is in progress.
func (d *Driver) measure(ctx context.Context, l Limit, force bool) error {
	began := time.Now()
	var epoch uint64
	err := d.ledger(ctx, l, func(now *ledger) error {
		if !force && now.measuring() {
			return errMeasuring
		}
		now.Epoch++
		now.Started = began.UTC()
		epoch, now.Added = now.Epoch, 0
		for id, p := range now.Pending {
			if p.Epoch+forgotten <= now.Epoch {
				delete(now.Pending, id)
				continue
			}
			now.Added += p.Bytes // Its link or tag may be written after the scan for them.
		}
		return nil
	})
	if err != nil {
		return err
	}
	scan, err := d.scanHeld(ctx, l.Matches)
	if err != nil {
		ended, cancel := context.WithTimeout(context.WithoutCancel(ctx), putTimeout)
		defer cancel()
		return errors.Join(err, d.ledger(ended, l, func(now *ledger) error {
			if now.Epoch == epoch {
				now.Started = time.Time{} // Another measurement can start at once.
			}
			return nil
		}))
	}
	return d.ledger(ctx, l, func(now *ledger) error {
		now.Took = time.Since(began)
		if now.Epoch == epoch {
			now.Used, now.Measured = scan+now.Added, epoch
		}
		return nil
	})
}

// scanHeld returns the total size in bytes of the repositories that match. It reads unfinished uploads first, then links
// and tags, then blobs, as an upload becomes a link and never the reverse, so that nothing is missed.
func (d *Driver) scanHeld(ctx context.Context, matches func(string) bool) (int64, error) {
	total, err := d.scanUploads(ctx, matches)
	if err != nil {
		return 0, err
	}
	held := make(map[string]bool)
	for _, prefix := range []string{Layers, Manifests, Tags} {
		for e, err := range d.store.List(ctx, prefix) {
			if err != nil {
				return 0, err
			}
			r, err := decode(e)
			if err != nil {
				return 0, err
			}
			if name, _ := r.Split(); matches(name) {
				total += Overhead(name)
				if prefix != Tags {
					held[blobKey(r.Value)] = true
				}
			}
		}
	}
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

package shared

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/regcred/regcred/systemregistry/images"
	"github.com/regcred/regcred/systemregistry/store"
)

// A Limit is the largest total size in bytes of the matching repositories, counted over all replicas.
type Limit struct {
	// Name identifies the limit: limits with the same name match the same repositories.
	Name     string
	MaxBytes int64
	Matches  func(repository string) bool
}

// Block is the number of bytes that a limit counts for a file or folder beside its content: a block of most file systems.
const Block = 4 << 10

// Overhead returns the number of bytes that a limit counts for each tag, link and unfinished upload of a repository
// beside its data: one [Block] for each file and folder that it can create. These are a folder for each part of the
// repository's name, and at most seven more. The first layer has "_uploads", "_layers", "sha256", a folder and a file for
// the link, and a folder and a file for the data. Manifests, tags and unfinished uploads have as many or fewer.
func Overhead(repository string) int64 {
	return Block * int64(strings.Count(repository, "/")+1+7)
}

// Exceeded returns the error for a limit that has no room for n more bytes.
func Exceeded(used, limit, n int64, repositories string) error {
	return fmt.Errorf("%w: %d of %d bytes of %s are used, and this needs %d more: delete tags and images, or ask for a larger quota",
		images.ErrQuotaExceeded, used, limit, repositories, n)
}

// ledger is an entry of the store with the usage of a limit: tags, links, and unfinished uploads. Bytes are counted before
// they are written, and shared data may count twice until the next measurement.
type ledger struct {
	Used int64 `json:"used"`
	// Added is the part of Used that the measurement in progress may have missed.
	Added int64 `json:"added"`
	// Epoch is the number of measurements that have started. Measured is the number of the last measurement that was
	// completed. If zero, there was none.
	Epoch    uint64 `json:"epoch"`
	Measured uint64 `json:"measured"`
	// Started is the time at which the last measurement started. It is zero if that measurement failed. Took is the
	// duration of the last scan, even if its result was discarded.
	Started time.Time     `json:"started,omitzero"`
	Took    time.Duration `json:"took,omitempty"`
	// Pending are the links and tags that are being written, each under a random text.
	Pending map[string]pending `json:"pending,omitempty"`
}

// fits fails with [images.ErrQuotaExceeded] if n more bytes do not fit.
func (now *ledger) fits(l Limit, n int64) error {
	switch {
	case n <= l.MaxBytes && now.Measured == 0: // Otherwise, it can never fit.
		return errNotMeasured
	case n > l.MaxBytes-now.Used:
		return Exceeded(now.Used, l.MaxBytes, n, l.Name)
	}
	return nil
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
	// turns serializes this replica's changes of each ledger, by the name of the limit. It only saves attempts: the
	// store rejects a change that another one overtook.
	turns        map[string]chan struct{}
	measurements map[string]*measurements
}

// of returns the limits of the repository.
func (ls *limits) of(repository string) (matching []Limit) {
	for _, l := range ls.all {
		if l.Matches(repository) {
			matching = append(matching, l)
		}
	}
	return matching
}

// SetLimits sets the limits. Call it before the first use.
func (d *Driver) SetLimits(all []Limit) {
	d.limits.all, d.limits.turns, d.limits.measurements = all, make(map[string]chan struct{}), make(map[string]*measurements)
	for _, l := range all {
		d.limits.turns[l.Name] = make(chan struct{}, 1)
		d.limits.measurements[l.Name] = &measurements{turn: make(chan struct{}, 1)}
	}
}

func (d *Driver) readLedger(ctx context.Context, name string) (now ledger, err error) {
	now, _, err = d.ledgerEntry(ctx, name)
	return now, err
}

func (d *Driver) ledgerEntry(ctx context.Context, name string) (now ledger, version uint64, err error) {
	e, err := d.store.Get(ctx, ledgers+name)
	if errors.Is(err, store.ErrNoKey) {
		return ledger{}, 0, nil
	}
	if err == nil {
		err = json.Unmarshal(e.Value, &now)
	}
	if err != nil {
		err = fmt.Errorf("read the quota of %s: %w", name, err)
	}
	return now, e.Version, err
}

func (d *Driver) ledger(ctx context.Context, l Limit, change func(*ledger) error) error {
	select {
	case d.limits.turns[l.Name] <- struct{}{}:
		defer func() { <-d.limits.turns[l.Name] }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	for n := range tries {
		now, version, err := d.ledgerEntry(ctx, l.Name)
		if err != nil {
			return err
		}
		if err := change(&now); err != nil {
			return err
		}
		value, err := json.Marshal(now)
		if err != nil {
			return err
		}
		if _, err = d.store.Put(ctx, ledgers+l.Name, value, version); !errors.Is(err, store.ErrKeyChanged) {
			return err
		}
		if err := pause(ctx, n); err != nil {
			return err
		}
	}
	return fmt.Errorf("count for %s: %w", l.Name, images.ErrChanging)
}

// Used returns the usage of the limit in bytes.
func (d *Driver) Used(ctx context.Context, name string) (int64, error) {
	now, err := d.readLedger(ctx, name)
	return now.Used, err
}

// Fits fails with [images.ErrQuotaExceeded] if n more bytes do not fit.
func (d *Driver) Fits(ctx context.Context, repository string, n int64) error {
	for _, l := range d.limits.of(repository) {
		err := d.twice(ctx, l, n, func() error {
			now, err := d.readLedger(ctx, l.Name)
			if err == nil {
				err = now.fits(l, n)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

var errNotMeasured = errors.New("not measured")

// count counts n bytes, or fails with [images.ErrQuotaExceeded].
func (d *Driver) count(ctx context.Context, l Limit, id string, n int64) error {
	return d.twice(ctx, l, n, func() error { return d.tryCount(ctx, l, id, n) })
}

// tryCount counts n bytes like count, but does not measure if they do not fit. If id is not empty, the bytes belong to
// a link or tag that is about to be written.
func (d *Driver) tryCount(ctx context.Context, l Limit, id string, n int64) error {
	return d.ledger(ctx, l, func(now *ledger) error {
		if err := now.fits(l, n); err != nil {
			return err
		}
		now.Used, now.Added = now.Used+n, now.Added+n
		if id != "" {
			if now.Pending == nil {
				now.Pending = make(map[string]pending)
			}
			now.Pending[id] = pending{n, now.Epoch}
		}
		return nil
	})
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
			if err := now.fits(l, n); err != nil {
				return err
			}
			now.Used, now.Added = now.Used+n, now.Added+n
		}
		return nil
	})
}

// charged writes a link that adds the blob to the repository. If the blob does not fit, it does not write the link. If
// the blob is the content of an upload, the bytes of the upload count for the link from then on.
func (d *Driver) charged(ctx context.Context, p place, blob string, write func() error) error {
	matching := d.limits.of(p.repository)
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
	size := data.Size + Overhead(p.repository)
	n := size
	upload := uploadTo(ctx, p)
	if upload != nil {
		have, ok, err := upload.Take(ctx)
		if err != nil {
			return err
		}
		if !ok {
			upload = nil
		}
		n = max(0, n-have)
	}
	id := rand.Text()
	if err := d.countAll(ctx, matching, id, n); err != nil {
		return err
	}
	err = write()
	if errors.Is(err, ErrDataGone) && !errors.Is(err, errLinkStays) {
		return errors.Join(err, d.uncount(ctx, matching, id, n))
	}
	if err == nil {
		// Detached, because the link exists from now on, even if the client disconnects.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), putTimeout)
		defer cancel()
		err = d.settleAll(ctx, matching, id, n)
		if err == nil && upload != nil {
			err = d.handOver(ctx, upload, matching, size, n)
		}
	}
	if err != nil && upload != nil {
		// The link may exist, and stays: an image that was pushed meanwhile may use it. The bytes stay counted until the
		// next measurement. If no image uses the link, a collection removes it.
		upload.unknown = true
	}
	return err
}

// chargedTag sets a tag. A tag that does not exist counts. If it does not fit, it is not set.
func (d *Driver) chargedTag(ctx context.Context, p place, manifest string) error {
	matching := d.limits.of(p.repository)
	_, err := d.putTag(ctx, p, manifest, len(matching) == 0)
	if !errors.Is(err, errNewTag) {
		return err
	}
	id, n := rand.Text(), Overhead(p.repository)
	if err := d.countAll(ctx, matching, id, n); err != nil {
		return err
	}
	r, err := d.putTag(ctx, p, manifest, true)
	if errors.Is(err, ErrDataGone) || errors.Is(err, images.ErrImmutable) {
		return errors.Join(err, d.uncount(ctx, matching, id, n))
	}
	if err != nil {
		return err // Whether the tag was set is unknown. It stays counted until the next measurement.
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), putTimeout) // As for a link.
	defer cancel()
	if err = d.settleAll(ctx, matching, id, n); errors.Is(err, images.ErrQuotaExceeded) {
		_, removeErr := changed(d.remove(ctx, r)) // This replica stalled, and others have used the room.
		err = errors.Join(err, removeErr)
	}
	return err
}

// handOver counts size bytes for a link that was written. Of these, counted bytes are in the limits already, and the
// others were counted for the upload. If the upload was removed as abandoned, because this replica stalled, a
// measurement may have dropped its bytes. They are counted again, which fails if they do not fit any more.
func (d *Driver) handOver(ctx context.Context, upload *Upload, matching []Limit, size, counted int64) error {
	dropped, err := upload.Drop(ctx, size-counted)
	if dropped {
		upload.excess = err // The layer is complete. Only too much counts, until the next measurement.
		return nil
	}
	if err != nil {
		return err
	}
	id := rand.Text()
	if err := d.countAll(ctx, matching, id, size-counted); err != nil {
		return err
	}
	return d.settleAll(ctx, matching, id, size-counted)
}

// countAll counts n bytes in all limits, or in none.
func (d *Driver) countAll(ctx context.Context, all []Limit, id string, n int64) error {
	if n <= 0 {
		return nil
	}
	for i, l := range all {
		if err := d.count(ctx, l, id, n); err != nil {
			return errors.Join(err, d.uncount(ctx, all[:i], id, n))
		}
	}
	return nil
}

func (d *Driver) settleAll(ctx context.Context, all []Limit, id string, n int64) error {
	if n <= 0 {
		return nil
	}
	for _, l := range all {
		if err := d.settleCount(ctx, l, id, n, true); err != nil {
			return err
		}
	}
	return nil
}

func (d *Driver) uncount(ctx context.Context, limits []Limit, id string, n int64) error {
	if n <= 0 {
		return nil
	}
	var errs []error
	for _, l := range limits {
		errs = append(errs, d.settleCount(context.WithoutCancel(ctx), l, id, n, false))
	}
	return errors.Join(errs...)
}

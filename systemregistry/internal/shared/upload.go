package shared

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/regcred/regcred/systemregistry/images"
	"github.com/regcred/regcred/systemregistry/store"
)

var (
	// ErrUploadGone reports that the upload was removed, because it seemed abandoned. The client must start again.
	ErrUploadGone = errors.New("the upload was removed")
	// ErrUploadBusy reports that another request to the same upload is in progress.
	ErrUploadBusy = errors.New("another request to the upload is in progress")
)

const (
	// uploads is the prefix of the entries of unfinished uploads: upload/REPOSITORY@ID.
	uploads = "upload/"
	// A request reserves room in steps, and not for each chunk: as many bytes as it has received, within these bounds.
	// So the store changes about 20 times for a layer of 100 MB, and a client that sends little reserves little.
	minStep = 64 << 10
	maxStep = 8 << 20
	// renewEvery is the interval at which an upload in progress renews its entry. It is shorter than the shortest time
	// after which an upload is removed.
	renewEvery = 20 * time.Second
	putTimeout = 10 * time.Second
)

// unfinished is the entry of an unfinished upload. Its bytes count in the limits of the repository: they are entered
// here, then counted, and only then received. So a measurement never misses them. They include the [Overhead] of the
// repository, and a [Block] for each request that has sent data. If the repository has no limit, the bytes are entered at
// the end of each request.
type unfinished struct {
	// Nonce identifies the upload, because a removed entry can be created again with the same ID.
	Nonce string `json:"nonce"`
	// Bytes count in all limits. Raised may not be counted yet.
	Bytes  int64 `json:"bytes"`
	Raised int64 `json:"raised,omitempty"`
	// At is the time of the last change.
	At time.Time `json:"at"`
	// Request identifies the request that uses the upload. If empty, none does. Only one request at a time may: a second
	// one could complete the upload while the first one still writes to the file, which is a layer by then. If a
	// replica crashes, the request stays, because another replica cannot know whether the first one still writes. The
	// client then has to start again, and the upload is removed as abandoned.
	Request string `json:"request,omitempty"`
	// Ended means that one replica finishes or removes the upload. No other may use it.
	Ended bool `json:"ended,omitempty"`
}

// An Upload is one request to an unfinished upload. Only one goroutine may use it.
type Upload struct {
	driver     *Driver
	limits     []Limit
	repository string
	key        string
	request    string
	size       int64 // Announced, with the overhead of the request. If negative, it is unknown.

	received, reserved int64 // By this request, with its overhead.
	mine               int64 // Part of Raised that this request has counted.
	now                unfinished
	version            uint64 // Of now. Zero if the entry was not read.
	renewed            time.Time
	ended              bool  // This request has ended the upload, and no other request uses it.
	dropped            bool  // The entry is removed.
	unknown            bool  // The store did not report whether it changed the entry, or wrote the link of the layer.
	excess             error // The reason why more bytes stayed counted than the layer has.
}

// Upload starts a request to the upload with the ID. Size is the announced length, or -1. Upload fails with
// [ErrUploadBusy] if another request to the upload is in progress at any replica. It excludes other requests until
// Pause or Drop is called.
func (d *Driver) Upload(ctx context.Context, repository, id string, size int64) (*Upload, error) {
	if size > 0 {
		size = min(size, math.MaxInt64-Block) + Block
	}
	u := &Upload{
		driver: d, limits: d.limits.of(repository), repository: repository, key: uploads + repository + "@" + id,
		request: rand.Text(), size: size,
	}
	return u, u.change(ctx, true, func(e *unfinished) { e.Request = u.request })
}

// Start counts an upload that was just started, in an entry that the requests to it use. It fails with
// [images.ErrQuotaExceeded] if the upload does not fit. It does nothing if the repository has no limit.
func (d *Driver) Start(ctx context.Context, repository, id string) error {
	u := &Upload{driver: d, limits: d.limits.of(repository), repository: repository, key: uploads + repository + "@" + id}
	n := Overhead(repository)
	if len(u.limits) == 0 {
		return nil
	}
	if err := u.change(ctx, true, func(e *unfinished) { e.Raised = n }); err != nil {
		return err
	}
	for i, l := range u.limits {
		if err := d.tryCount(ctx, l, "", n); err != nil {
			undo := u.subtract(ctx, u.limits[:i], n) // First, as in reserve.
			_, removeErr := changed(d.store.Delete(context.WithoutCancel(ctx), u.key, u.version))
			return errors.Join(err, undo, removeErr)
		}
	}
	return u.change(ctx, false, func(e *unfinished) { e.Bytes, e.Raised = n, 0 })
}

// change changes the entry. If create is set, it creates a missing entry at the first call.
func (u *Upload) change(ctx context.Context, create bool, change func(*unfinished)) error {
	for n := range tries {
		if u.version == 0 {
			if err := u.read(ctx, create); err != nil {
				return err
			}
		}
		next := u.now
		change(&next)
		next.At = time.Now().UTC()
		value, err := json.Marshal(next)
		if err != nil {
			return err
		}
		// Detached, because a client that disconnects must not leave the entry in an unknown state.
		putting, cancel := context.WithTimeout(context.WithoutCancel(ctx), putTimeout)
		version, err := u.driver.store.Put(putting, u.key, value, u.version)
		cancel()
		if err == nil {
			u.now, u.version, u.renewed = next, version, time.Now()
			return nil
		}
		if u.version == 0 {
			u.now = unfinished{} // The entry was created meanwhile, with another nonce.
		}
		u.version = 0
		if !errors.Is(err, store.ErrKeyChanged) { // Another replica has changed it.
			u.unknown = true
			return err
		}
		if err := pause(ctx, n); err != nil {
			return err
		}
	}
	return fmt.Errorf("count the upload: %w", images.ErrChanging)
}

// read reads the entry. If it does not exist and create is set, it makes one for the next put.
func (u *Upload) read(ctx context.Context, create bool) error {
	e, err := u.driver.store.Get(ctx, u.key)
	if errors.Is(err, store.ErrNoKey) && create && u.now.Nonce == "" {
		u.now = unfinished{Nonce: rand.Text()}
		return nil
	}
	if errors.Is(err, store.ErrNoKey) {
		return ErrUploadGone
	}
	if err != nil {
		return err
	}
	var now unfinished
	if err := json.Unmarshal(e.Value, &now); err != nil {
		return fmt.Errorf("read %s from the store: %w", e.Key, err)
	}
	if now.Request != "" && now.Request != u.request && !now.Ended {
		return ErrUploadBusy
	}
	if now.Ended || u.now.Nonce != "" && now.Nonce != u.now.Nonce {
		return ErrUploadGone
	}
	u.now, u.version = now, e.Version
	return nil
}

// Add counts n bytes that were received and are about to be written. It fails with [images.ErrQuotaExceeded] if they do
// not fit, and with [ErrUploadGone] if the upload was removed.
func (u *Upload) Add(ctx context.Context, n int64) error {
	if u.received == 0 {
		n += Block // Distribution writes the state of the digest to a file at the end of each request.
	}
	u.received += n
	if len(u.limits) == 0 || u.received <= u.reserved {
		if time.Since(u.renewed) < renewEvery {
			return nil
		}
		return u.change(ctx, false, func(*unfinished) {})
	}
	step, err := u.step(ctx)
	if err == nil {
		err = u.reserve(ctx, step)
	}
	if err != nil {
		u.received -= n
	}
	return err
}

// step returns the number of bytes to reserve next. If a whole step does not fit, it returns the number of bytes that
// were received and not reserved yet. If these do not fit, it measures the limits first. The measurement takes place
// here and not in reserve, because it would count the bytes that reserve has entered.
func (u *Upload) step(ctx context.Context) (int64, error) {
	need := u.received - u.reserved
	step := max(need, min(max(u.received, minStep), maxStep))
	if u.size >= 0 {
		step = max(need, min(step, u.size-u.reserved))
	}
	for _, l := range u.limits {
		now, err := u.driver.readLedger(ctx, l.Name)
		if err != nil {
			return 0, err
		}
		if now.fits(l, step) != nil {
			return need, u.driver.Fits(ctx, u.repository, need)
		}
	}
	return step, nil
}

func (u *Upload) reserve(ctx context.Context, n int64) error {
	counted := u.mine
	err := u.change(ctx, false, func(e *unfinished) { e.Bytes, e.Raised = e.Bytes+counted, e.Raised+n-counted })
	if err != nil {
		return err
	}
	u.mine = 0
	for i, l := range u.limits {
		if err := u.driver.tryCount(ctx, l, "", n); err != nil {
			// Subtract first, because no other request subtracts the bytes while they are in Raised. If the change of
			// the entry fails, measurements count too much until the upload is removed.
			undo := u.subtract(ctx, u.limits[:i], n)
			_ = u.change(context.WithoutCancel(ctx), false, func(e *unfinished) { e.Raised -= n })
			return errors.Join(err, undo)
		}
	}
	u.mine, u.reserved = n, u.reserved+n
	return nil
}

func (u *Upload) subtract(ctx context.Context, limits []Limit, n int64) error {
	var errs []error
	for _, l := range limits {
		errs = append(errs, u.driver.ledger(context.WithoutCancel(ctx), l, func(now *ledger) error {
			now.Used = max(0, now.Used-n)
			return nil
		}))
	}
	return errors.Join(errs...)
}

// Pause ends the request, and keeps what was received. It fails with [ErrUploadGone] if the upload was removed: then
// the caller must remove the data.
func (u *Upload) Pause(ctx context.Context) error {
	if u.unknown { // Too much may count, until the upload is removed.
		return nil
	}
	measured, err := u.measured(ctx)
	if err != nil {
		return err
	}
	counted, spare := u.mine, u.reserved-u.received
	err = u.change(ctx, false, func(e *unfinished) {
		e.Bytes, e.Raised, e.Request = e.Bytes+counted-spare, e.Raised-counted, ""
	})
	if err != nil {
		return err
	}
	u.mine, u.reserved = 0, u.received
	return u.release(ctx, measured, spare)
}

// Take ends the upload for all other requests, in all replicas, and returns the bytes that count for it. It returns
// false if there is nothing to end, or if another request has ended the upload.
func (u *Upload) Take(ctx context.Context) (counted int64, ok bool, err error) {
	if u.ended {
		return u.now.Bytes, !u.dropped, nil
	}
	mine := u.mine
	err = u.change(ctx, false, func(e *unfinished) { e.Bytes, e.Raised, e.Ended = e.Bytes+mine, e.Raised-mine, true })
	if errors.Is(err, ErrUploadGone) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	u.mine, u.ended = 0, true
	return u.now.Bytes, true, nil
}

// Excess returns the reason why more bytes stayed counted than the layer has that the upload became, or nil.
func (u *Upload) Excess() error { return u.excess }

// Drop removes the entry of an upload that this request has taken. The data of the upload was removed, or has become a
// layer; stays is the number of its bytes that count from now on. Drop returns false if the entry was removed already,
// so that nothing counts. It returns true and an error if only the other bytes could not be subtracted.
func (u *Upload) Drop(ctx context.Context, stays int64) (dropped bool, err error) {
	measured, err := u.measured(ctx)
	if err != nil {
		return false, err
	}
	dropped, err = changed(u.driver.store.Delete(ctx, u.key, u.version))
	if err != nil {
		return false, err
	}
	u.dropped = true
	if !dropped {
		return false, nil
	}
	return true, u.release(ctx, measured, u.now.Bytes-stays)
}

// measured returns the number of the last completed measurement of each limit.
func (u *Upload) measured(ctx context.Context) ([]uint64, error) {
	all := make([]uint64, len(u.limits))
	for i, l := range u.limits {
		now, err := u.driver.readLedger(ctx, l.Name)
		if err != nil {
			return nil, err
		}
		all[i] = now.Measured
	}
	return all, nil
}

// release subtracts n bytes that were removed from the entry of the upload after measured was read. It subtracts
// nothing from a limit with a measurement that was in progress then, or has started since: that measurement may have
// read the entry without the bytes, so they would be subtracted twice. They then stay counted until the next
// measurement.
func (u *Upload) release(ctx context.Context, measured []uint64, n int64) error {
	if n <= 0 || u.unknown {
		return nil
	}
	for i, l := range u.limits {
		err := u.driver.ledger(ctx, l, func(now *ledger) error {
			if now.Epoch == measured[i] && now.Measured == measured[i] {
				now.Used = max(0, now.Used-n)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

type uploadKey struct{}

// Context returns a context in which a layer that is linked counts as the content of the upload, so that its bytes
// count once.
func (u *Upload) Context(ctx context.Context) context.Context {
	return context.WithValue(ctx, uploadKey{}, u)
}

// RenewUpload renews the entry of the upload in the context. It does nothing if there is none.
func RenewUpload(ctx context.Context) error {
	u, _ := ctx.Value(uploadKey{}).(*Upload)
	if u == nil {
		return nil
	}
	err := u.change(ctx, false, func(*unfinished) {})
	if errors.Is(err, ErrUploadGone) { // Nothing was received, or it is found when the layer is linked.
		return nil
	}
	return err
}

// uploadTo returns the upload of the request if the path belongs to a layer of the same repository.
func uploadTo(ctx context.Context, p place) *Upload {
	u, _ := ctx.Value(uploadKey{}).(*Upload)
	if u == nil || p.kind != Layers || p.repository != u.repository {
		return nil
	}
	return u
}

// An Unfinished is an upload with an entry in the store.
type Unfinished struct {
	Repository, ID string
	At             time.Time // Time of the last change.
	entry          store.Entry
}

// Unfinished returns the unfinished uploads that had a request.
func (d *Driver) Unfinished(ctx context.Context) ([]Unfinished, error) {
	var all []Unfinished
	for e, err := range d.store.List(ctx, uploads) {
		if err != nil {
			return nil, fmt.Errorf("read the store: %w", err)
		}
		var now unfinished
		if err := json.Unmarshal(e.Value, &now); err != nil {
			return nil, fmt.Errorf("read %s from the store: %w", e.Key, err)
		}
		name, id, _ := strings.Cut(strings.TrimPrefix(e.Key, uploads), "@")
		all = append(all, Unfinished{name, id, now.At, e})
	}
	return all, nil
}

// RemoveUpload removes an abandoned upload: it first ends it for all replicas, then calls data, which removes the data.
// It returns false if the upload has changed since it was listed. A later measurement subtracts the bytes, because
// whether a crashed replica has counted all of them is unknown.
func (d *Driver) RemoveUpload(ctx context.Context, u Unfinished, data func() error) (bool, error) {
	var now unfinished
	if err := json.Unmarshal(u.entry.Value, &now); err != nil {
		return false, err
	}
	now.Ended = true
	value, err := json.Marshal(now)
	if err != nil {
		return false, err
	}
	version, err := d.store.Put(ctx, u.entry.Key, value, u.entry.Version)
	if ok, err := changed(err); !ok || err != nil {
		return false, err
	}
	if err := data(); err != nil {
		return false, err
	}
	return changed(d.store.Delete(ctx, u.entry.Key, version))
}

// scanUploads returns the bytes of unfinished uploads to the repositories that match.
func (d *Driver) scanUploads(ctx context.Context, matches func(string) bool) (int64, error) {
	var total int64
	for e, err := range d.store.List(ctx, uploads) {
		if err != nil {
			return 0, err
		}
		var now unfinished
		if err := json.Unmarshal(e.Value, &now); err != nil {
			return 0, fmt.Errorf("read %s from the store: %w", e.Key, err)
		}
		if name, _, _ := strings.Cut(strings.TrimPrefix(e.Key, uploads), "@"); matches(name) {
			total += now.Bytes + now.Raised
		}
	}
	return total, nil
}

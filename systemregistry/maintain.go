package systemregistry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/regcred/regcred/internal/option"

	"github.com/regcred/regcred/systemregistry/images"
	"github.com/regcred/regcred/systemregistry/store"
)

const (
	// rotateLook is the interval of checks for key rotation. It is shorter than any sensible RotateEvery.
	rotateLook = 10 * time.Minute
	// collectSoon is the time from the start of Maintain to a collection that is overdue, and to the next look after
	// another replica's collection. It spares a registry that has just started.
	collectSoon = 10 * time.Minute
	// measureEvery is the interval between measurements of the quotas. It limits the time for which removed data still
	// counts, or a layer counts twice.
	measureEvery = time.Hour
	// purgeAgain is the interval between the purges after the storage was found full, and purges their number. An upload
	// that fails for lack of room can be removed only once it is idle: for a minute, or two if there are replicas.
	purgeAgain = 65 * time.Second
	purges     = 2
)

// Maintain rotates keys, collects images and measures quotas until ctx ends. It also checks logins that were rejected
// because of failed logins under other names from the same address, so that their next attempt succeeds. [Server.Run]
// calls it. Maintain reports errors to OnError, and retries at the next interval.
//
// The store holds the time of the last collection by Maintain, in any replica, that succeeded. The next one follows
// CollectEvery later, also after restarts. If it is overdue at the start, or none is known, it follows ten minutes after
// the start.
func (r *Registry) Maintain(ctx context.Context) {
	var logins sync.WaitGroup
	logins.Go(func() { r.login.CheckLater(ctx) })
	defer logins.Wait()
	r.maintain(ctx, r.disk.signal)
}

// maintain is Maintain without the logins. It purges uploads when it receives from full.
func (r *Registry) maintain(ctx context.Context, full <-chan struct{}) {
	rotate, measure := time.NewTicker(rotateLook), time.NewTicker(measureEvery)
	defer rotate.Stop()
	defer measure.Stop()
	var collect <-chan time.Time // If nil, never.
	if r.config.collectEvery() > 0 {
		last, _, err := r.lastCollection(ctx)
		r.config.failed(err)
		soon := r.config.collectSooner()
		collect = time.After(max(last.in(r.config.collectEvery(), soon), soon))
	}
	r.config.failed(r.catalog.Measure(ctx))
	var again <-chan time.Time // If nil, never.
	left := 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-rotate.C:
			r.config.failed(r.ring.Rotate(ctx))
			r.config.failed(r.sessions.Purge(ctx))
			r.config.failed(r.authority.Refresh(ctx))
		case <-measure.C:
			r.purge(ctx, false)
			r.config.failed(r.catalog.Measure(ctx))
		case <-full:
			r.purge(ctx, true)
			again, left = time.After(purgeAgain), purges
		case <-again:
			r.purge(ctx, true)
			if again, left = nil, left-1; left > 0 {
				again = time.After(purgeAgain)
			}
		case <-collect:
			collect = time.After(r.collect(ctx))
		}
	}
}

// purge removes unfinished uploads that clients have abandoned.
func (r *Registry) purge(ctx context.Context, full bool) {
	_, err := r.catalog.PurgeUploads(ctx, full)
	r.config.failed(err)
}

func (s Server) collectEvery() time.Duration {
	return option.OrOff(s.CollectEvery, defaultCollectEvery)
}

// collectSooner is collectSoon, or CollectEvery if that is shorter.
func (s Server) collectSooner() time.Duration { return min(collectSoon, s.collectEvery()) }

// collect collects images unless another replica does or has, and returns the time to the next attempt.
func (r *Registry) collect(ctx context.Context) time.Duration {
	last, version, err := r.lastCollection(ctx)
	r.config.failed(err)
	if wait := last.in(r.config.collectEvery(), r.config.collectSooner()); wait > 0 {
		return wait
	}
	last.Began = time.Now()
	err = r.putCollection(ctx, last, version)
	if errors.Is(err, store.ErrKeyChanged) { // Another replica was first.
		return r.config.collectSooner()
	}
	r.config.failed(err) // Collect nevertheless, because the store may have failed for lack of room.
	done, err := r.catalog.Collect(ctx)
	if errors.Is(err, images.ErrCollecting) {
		return r.config.collectSooner()
	}
	r.metrics.collected(err)
	r.config.failed(err)
	r.event(Event{
		Kind: EventCollect, Err: err,
		Subject: fmt.Sprintf("%d tags, %d images, %d blobs of %d bytes, %d uploads", len(done.Tags), len(done.Images), done.Blobs, done.Bytes, done.Uploads),
	})
	if err == nil {
		ended := time.Now()
		// Another replica may have written meanwhile that it tried.
		last, version, err := r.lastCollection(ctx)
		r.config.failed(err)
		last.Ended = ended
		r.metrics.last.Set(float64(ended.Unix()))
		r.config.failed(r.putCollection(ctx, last, version))
	}
	return r.config.collectEvery()
}

// collectionKey is the key of the last collection by Maintain in any replica.
const collectionKey = "maintain/collection"

// A collection is the stored form of the last collection.
type collection struct {
	Began time.Time `json:"began"` // Of the last attempt.
	Ended time.Time `json:"ended"` // Of the last one without an error. Zero if none is known.
}

// in returns the time until the next collection is due, which is at most every. If it is zero or negative, it is due.
func (c collection) in(every, soon time.Duration) time.Duration {
	// The times lie in the future if a clock was wrong.
	return max(min(time.Until(c.Ended.Add(every)), every), min(time.Until(c.Began.Add(soon)), soon))
}

// lastCollection returns the last collection and the version of its entry, which are zero if none is known.
func (r *Registry) lastCollection(ctx context.Context) (last collection, version uint64, err error) {
	e, err := r.store.Get(ctx, collectionKey)
	if errors.Is(err, store.ErrNoKey) {
		return collection{}, 0, nil
	}
	if err == nil {
		err = json.Unmarshal(e.Value, &last)
	}
	if err != nil {
		return collection{}, e.Version, fmt.Errorf("read the time of the last collection: %w", err)
	}
	if !last.Ended.IsZero() {
		r.metrics.last.Set(float64(last.Ended.Unix()))
	}
	return last, e.Version, nil
}

func (r *Registry) putCollection(ctx context.Context, last collection, version uint64) error {
	value, err := json.Marshal(last)
	if err == nil {
		_, err = r.store.Put(ctx, collectionKey, value, version)
	}
	if err != nil {
		return fmt.Errorf("write the time of the last collection: %w", err)
	}
	return nil
}

package systemregistry

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/regcred/regcred/internal/option"

	"github.com/regcred/regcred/systemregistry/images"
)

const (
	// rotateLook is the interval of checks for key rotation. It is shorter than any sensible RotateEvery.
	rotateLook = 10 * time.Minute
	// measureEvery is the interval between measurements of the quotas. It limits the time for which removed data still
	// counts, or a layer counts twice.
	measureEvery = time.Hour
)

// Maintain rotates keys, collects images and measures quotas until ctx ends. It also checks logins that were rejected
// because of failed logins under other names from the same address, so that their next attempt succeeds. [Server.Run]
// calls it. Maintain reports errors to OnError, and retries at the next interval.
func (r *Registry) Maintain(ctx context.Context) {
	var logins sync.WaitGroup
	logins.Go(func() { r.login.CheckLater(ctx) })
	defer logins.Wait()
	rotate, measure := time.NewTicker(rotateLook), time.NewTicker(measureEvery)
	defer rotate.Stop()
	defer measure.Stop()
	var collect <-chan time.Time // If nil, never.
	if every := option.OrOff(r.config.CollectEvery, defaultCollectEvery); every > 0 {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		collect = ticker.C
	}
	r.config.failed(r.catalog.Measure(ctx))
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
		case <-r.disk.signal:
			r.purge(ctx, true)
		case <-collect:
			r.collect(ctx)
		}
	}
}

// purge removes unfinished uploads that clients have abandoned.
func (r *Registry) purge(ctx context.Context, full bool) {
	_, err := r.catalog.PurgeUploads(ctx, full)
	r.config.failed(err)
}

func (r *Registry) collect(ctx context.Context) {
	done, err := r.catalog.Collect(ctx)
	if errors.Is(err, images.ErrCollecting) {
		return
	}
	r.metrics.collected(err)
	r.config.failed(err)
	r.event(Event{
		Kind: EventCollect, Err: err,
		Subject: fmt.Sprintf("%d tags, %d images, %d blobs of %d bytes, %d uploads", len(done.Tags), len(done.Images), done.Blobs, done.Bytes, done.Uploads),
	})
}

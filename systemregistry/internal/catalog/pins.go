package catalog

import (
	"context"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
)

// pins protects layers and repositories from a collection in progress. A collection removes data according to an
// inventory from its start, which lacks layers that were pushed, mounted or confirmed by HEAD since. The zero pins is
// ready to use.
type pins struct {
	mu       sync.Mutex
	held     map[string]int           // By key: number of requests that write it now.
	any      int                      // Number of requests that write a layer whose key is not known yet.
	removing map[string]chan struct{} // By key: closed once the removal is complete.
	at       map[string]time.Time     // By key: time of the last pin.
	floor    time.Time                // Everything counts as pinned at this time.
}

// maxPins limits the memory, to about 10 MB. At the limit, nothing is removed for the time of grace.
const maxPins = 1 << 16

func layerKey(d digest.Digest) string        { return "layer " + string(d) }
func repositoryKey(repository string) string { return "repository " + repository }

// hold waits until removals of the keys that are in progress have ended, and then pins the keys. Pinned keys are not
// removed until release is called. For the time of grace after that, the keys given to release are not removed. If any
// is set, the caller writes a layer whose key it passes to release.
func (p *pins) hold(ctx context.Context, any bool, keys ...string) (release func(pinned ...string), err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for busy := p.busy(any, keys); busy != nil; busy = p.busy(any, keys) {
		p.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
		}
		p.mu.Lock()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
	if p.held == nil {
		p.held, p.at = make(map[string]int), make(map[string]time.Time)
	}
	for _, key := range keys {
		p.held[key]++
	}
	if any {
		p.any++
	}
	return func(pinned ...string) {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, key := range keys {
			if p.held[key]--; p.held[key] == 0 {
				delete(p.held, key)
			}
		}
		for _, key := range pinned {
			p.pin(key)
		}
		if any {
			p.any--
		}
	}, nil
}

func (p *pins) busy(any bool, keys []string) chan struct{} {
	for _, key := range keys {
		if c := p.removing[key]; c != nil {
			return c
		}
	}
	if any {
		for _, c := range p.removing {
			return c
		}
	}
	return nil
}

func (p *pins) pin(key string) {
	now := time.Now()
	if _, ok := p.at[key]; !ok && len(p.at) >= maxPins {
		for k, at := range p.at {
			if now.Sub(at) >= grace {
				delete(p.at, k)
			}
		}
		if len(p.at) >= maxPins {
			p.floor = now
			clear(p.at)
		}
	}
	p.at[key] = now
}

// remove calls do unless the key is pinned, and reports whether it did.
func (p *pins) remove(key string, do func() error) (done bool, err error) {
	p.mu.Lock()
	now := time.Now()
	at, pinned := p.at[key]
	if p.held[key] > 0 || p.any > 0 || pinned && now.Sub(at) < grace || now.Sub(p.floor) < grace {
		p.mu.Unlock()
		return false, nil
	}
	if p.removing == nil {
		p.removing = make(map[string]chan struct{})
	}
	gone := make(chan struct{})
	p.removing[key] = gone
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.removing, key)
		p.mu.Unlock()
		close(gone)
	}()
	return true, do()
}

// Writing protects the repository and, if layer is not empty, the layer with the digest from collections until done is
// called. The server calls it around changes of layers by clients, and before it confirms to a client that a layer
// exists. If ok is true, the repository stays protected for a day after that, and so does the layer if stored is not
// empty: the digest by which the storage keeps the layer. Otherwise, nothing stays protected, so that requests for
// layers that do not exist use no memory. Writing fails only if ctx ends first.
func (c *Catalog) Writing(ctx context.Context, repository, layer string) (done func(ok bool, stored string), err error) {
	keys := []string{repositoryKey(repository)}
	d := digest.Digest(layer)
	if layer != "" {
		keys = append(keys, layerKey(d))
	}
	// The digest by which the storage keeps a layer is known only after the write.
	release, err := c.pins.hold(ctx, layer != "" && (d.Validate() != nil || d.Algorithm() != digest.Canonical), keys...)
	if err != nil {
		return nil, err
	}
	return func(ok bool, stored string) {
		switch {
		case !ok:
			release()
		case stored == "":
			release(repositoryKey(repository))
		default:
			release(append(keys, layerKey(digest.Digest(stored)))...)
		}
	}, nil
}

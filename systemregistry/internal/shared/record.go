package shared

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/regcred/regcred/systemregistry/images"
	"github.com/regcred/regcred/systemregistry/store"
)

// A Record is an entry of the store with the content of one file of a registry's storage.
type Record struct {
	Key string `json:"-"`
	// Version is the version of the entry.
	Version uint64 `json:"-"`

	// Value is the digest in a link, or the name of the file with a blob's data. For a tag, it is empty if the tag was
	// never set.
	Value string `json:"value,omitempty"`
	// Next is the digest that a tag is about to refer to. The manifest and its references are in use already.
	Next string `json:"next,omitempty"`
	// Size is the size of a blob.
	Size int64 `json:"size,omitempty"`
	// At is the time at which Value was set.
	At time.Time `json:"at,omitzero"`
	// Condemned means that a collection found the record unused. The next collection removes it, unless it changes
	// before.
	Condemned bool `json:"condemned,omitempty"`
}

// The kinds of records are the prefixes of their keys.
const (
	Blobs        = "image/blob/"     // image/blob/DIGEST
	Tags         = "image/tag/"      // image/tag/REPOSITORY:TAG
	Manifests    = "image/manifest/" // image/manifest/REPOSITORY@DIGEST
	Layers       = "image/layer/"    // image/layer/REPOSITORY@DIGEST
	Repositories = "image/repository/"
	orphans      = "image/orphan/" // image/orphan/FILE: a file that is being removed, because no blob names it.
	readyKey     = "image/ready"
	roundKey     = "image/round"
)

func blobKey(d string) string                 { return Blobs + d }
func tagKey(repository, tag string) string    { return Tags + repository + ":" + tag }
func manifestKey(repository, d string) string { return Manifests + repository + "@" + d }
func layerKey(repository, d string) string    { return Layers + repository + "@" + d }

// Split returns the repository of a key, and its tag or digest.
func (r Record) Split() (repository, reference string) {
	for _, kind := range []string{Tags, Manifests, Layers} {
		if rest, ok := strings.CutPrefix(r.Key, kind); ok {
			i := strings.IndexAny(rest, ":@")
			return rest[:i], rest[i+1:]
		}
	}
	if d, ok := strings.CutPrefix(r.Key, Blobs); ok {
		return "", d
	}
	return strings.TrimPrefix(r.Key, Repositories), ""
}

func decode(e store.Entry) (Record, error) {
	r := Record{Key: e.Key, Version: e.Version}
	if err := json.Unmarshal(e.Value, &r); err != nil {
		return r, fmt.Errorf("read %s from the store: %w", e.Key, err)
	}
	return r, nil
}

// get returns the record, or fails with [store.ErrNoKey].
func (d *Driver) get(ctx context.Context, key string) (Record, error) {
	e, err := d.store.Get(ctx, key)
	if err != nil {
		return Record{Key: key}, err
	}
	return decode(e)
}

// put writes the record if its version is still in the store, and returns it with the new version.
func (d *Driver) put(ctx context.Context, r Record) (Record, error) {
	value, err := json.Marshal(r)
	if err != nil {
		return r, fmt.Errorf("write %s to the store: %w", r.Key, err)
	}
	r.Version, err = d.store.Put(ctx, r.Key, value, r.Version)
	return r, err
}

// tries is far above the number of replicas that change one record at once.
const tries = 50

// update changes the record, and retries if others change it meanwhile. If the record does not exist, change gets an
// empty one.
func (d *Driver) update(ctx context.Context, key string, change func(*Record) error) (Record, error) {
	for n := range tries {
		r, err := d.get(ctx, key)
		if err != nil && !errors.Is(err, store.ErrNoKey) {
			return r, err
		}
		if err := change(&r); err != nil {
			return r, err
		}
		if r, err = d.put(ctx, r); !errors.Is(err, store.ErrKeyChanged) {
			return r, err
		}
		if err := pause(ctx, n); err != nil {
			return r, err
		}
	}
	return Record{}, fmt.Errorf("write %s to the store: %w", key, images.ErrChanging)
}

// pause waits for a short random time that grows with n, so that concurrent changes of a record do not collide again.
func pause(ctx context.Context, n int) error {
	most := min(time.Millisecond<<min(n, 10), 100*time.Millisecond)
	timer := time.NewTimer(rand.N(most))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// use makes sure that the record stays. It removes the mark of a collection that condemned the record. It fails with
// [ErrDataGone] if the record does not exist.
func (d *Driver) use(ctx context.Context, key string) (Record, error) {
	for n := range tries {
		r, err := d.get(ctx, key)
		if errors.Is(err, store.ErrNoKey) {
			return r, fmt.Errorf("%w: %s", ErrDataGone, key)
		}
		if err != nil || !r.Condemned {
			return r, err
		}
		r.Condemned = false
		if r, err = d.put(ctx, r); !errors.Is(err, store.ErrKeyChanged) {
			return r, err
		}
		if err := pause(ctx, n); err != nil {
			return r, err
		}
	}
	return Record{}, fmt.Errorf("use %s: %w", key, images.ErrChanging)
}

// remove deletes the record unless it has changed.
func (d *Driver) remove(ctx context.Context, r Record) error {
	return d.store.Delete(ctx, r.Key, r.Version)
}

// useLayer makes sure that a layer of the repository stays.
func (d *Driver) useLayer(ctx context.Context, repository, layer string) error {
	link, err := d.use(ctx, layerKey(repository, layer))
	if err != nil {
		return err
	}
	_, err = d.use(ctx, blobKey(link.Value)) // Distribution keeps each layer by its SHA-256.
	return err
}

// useManifest makes sure that the manifest and everything that it refers to stay.
func (d *Driver) useManifest(ctx context.Context, repository, manifest string, seen map[string]bool) error {
	if seen[manifest] {
		return nil
	}
	seen[manifest] = true
	if _, err := d.use(ctx, manifestKey(repository, manifest)); err != nil {
		return err
	}
	if _, err := d.use(ctx, blobKey(manifest)); err != nil {
		return err
	}
	content, err := d.GetContent(ctx, blobPath(digest.Digest(manifest)))
	if notFound(err) {
		return fmt.Errorf("%w: manifest %s@%s", ErrDataGone, repository, manifest)
	}
	if err != nil {
		return err
	}
	var m struct {
		Config    *reference  `json:"config"`
		Layers    []reference `json:"layers"`
		Manifests []reference `json:"manifests"`
	}
	if err := json.Unmarshal(content, &m); err != nil {
		return fmt.Errorf("read manifest %s@%s: it is not JSON", repository, manifest)
	}
	if m.Config != nil {
		m.Layers = append(m.Layers, *m.Config)
	}
	for _, layer := range m.Layers {
		if err := d.useLayer(ctx, repository, layer.Digest); err != nil && (!errors.Is(err, ErrDataGone) || len(layer.URLs) == 0) {
			return err
		}
	}
	for _, child := range m.Manifests {
		if err := d.useManifest(ctx, repository, child.Digest, seen); err != nil {
			return err
		}
	}
	return nil
}

// reference is a descriptor in a manifest. A layer with URLs may be kept elsewhere.
type reference struct {
	Digest string   `json:"digest"`
	URLs   []string `json:"urls"`
}

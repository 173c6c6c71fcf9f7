package shared

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/opencontainers/go-digest"

	"github.com/regcred/regcred/systemregistry/images"
	"github.com/regcred/regcred/systemregistry/store"
)

func (d *Driver) PutContent(ctx context.Context, path string, content []byte) error {
	p := placeOf(path)
	var err error
	switch p.kind {
	case Blobs:
		err = d.putBlob(ctx, p, func(file string) error { return d.StorageDriver.PutContent(ctx, file, content) })
	case Tags:
		err = d.chargedTag(ctx, p, string(content))
	case Manifests:
		err = d.charged(ctx, p, string(content), func() error {
			return d.putLink(ctx, p, string(content), func() error {
				return d.useManifest(ctx, p.repository, p.reference, make(map[string]bool))
			})
		})
	case Layers:
		err = d.charged(ctx, p, string(content), func() error {
			return d.putLink(ctx, p, string(content), func() error { return d.useLayer(ctx, p.repository, p.reference) })
		})
	case history:
		return nil
	default:
		return d.StorageDriver.PutContent(ctx, path, content)
	}
	return Report(ctx, err)
}

func (d *Driver) Move(ctx context.Context, from, to string) error {
	p := placeOf(to)
	if p.kind != Blobs {
		return d.StorageDriver.Move(ctx, from, to)
	}
	return Report(ctx, d.putBlob(ctx, p, func(file string) error { return d.StorageDriver.Move(ctx, from, file) }))
}

// putBlob writes the data to a new file, and then records the name of the file. If another upload was faster, its file
// stays.
func (d *Driver) putBlob(ctx context.Context, p place, write func(file string) error) error {
	name := "data." + strings.ToLower(rand.Text())
	file := blobFolder(digest.Digest(p.reference)) + "/" + name
	if err := write(file); err != nil {
		return err
	}
	written, err := d.StorageDriver.Stat(ctx, file)
	if err != nil {
		return err
	}
	r, err := d.put(ctx, Record{Key: p.key, Value: name, Size: written.Size(), At: time.Now().UTC()})
	if errors.Is(err, store.ErrKeyChanged) {
		return d.StorageDriver.Delete(ctx, file)
	}
	if err != nil {
		return err // Whether the record was written is unknown. If not, a collection removes the file.
	}
	// A collection may have found the file before the record named it.
	_, err = d.store.Get(ctx, orphans+name)
	if errors.Is(err, store.ErrNoKey) {
		if _, err = d.StorageDriver.Stat(ctx, file); err == nil {
			return nil
		}
	}
	if err == nil || notFound(err) {
		err = errors.Join(ErrDataGone, d.remove(ctx, r))
	}
	return err
}

// putLink writes the link, and then makes sure that its target stays.
func (d *Driver) putLink(ctx context.Context, p place, value string, use func() error) error {
	r, err := d.update(ctx, p.key, func(r *Record) error {
		r.Value, r.At, r.Condemned = value, time.Now().UTC(), false
		return nil
	})
	if err == nil {
		err = d.addRepository(ctx, p.repository)
	}
	if err != nil {
		return err
	}
	if err = use(); errors.Is(err, ErrDataGone) {
		// The link has no target. If it stays, a collection removes it.
		if removeErr := d.remove(ctx, r); removeErr != nil && !errors.Is(removeErr, store.ErrNoKey) {
			err = errors.Join(err, errLinkStays)
		}
	}
	return err
}

// errLinkStays reports that a link whose target is gone may not have been removed.
var errLinkStays = errors.New("the link may stay")

func (d *Driver) addRepository(ctx context.Context, name string) error {
	key := Repositories + name
	if _, err := d.store.Get(ctx, key); !errors.Is(err, store.ErrNoKey) {
		return err
	}
	_, err := d.put(ctx, Record{Key: key, At: time.Now().UTC()})
	if errors.Is(err, store.ErrKeyChanged) {
		return nil
	}
	return err
}

// errNewTag reports that a tag does not exist, so that it must be counted before it is set.
var errNewTag = errors.New("the tag does not exist")

// putTag sets a tag in two steps. After the first one, collections and deletions know that the manifest is in use,
// while readers still get the previous target. It returns the record of the tag. If create is not set, it fails with
// errNewTag if the tag does not exist.
func (d *Driver) putTag(ctx context.Context, p place, manifest string, create bool) (Record, error) {
	for n := range tries {
		announced, err := d.update(ctx, p.key, func(r *Record) error {
			if r.Value == "" && !create {
				return errNewTag
			}
			if r.Value != "" && r.Value != manifest {
				if err := d.mayReplace(p.repository, p.reference); err != nil {
					return err
				}
			}
			r.Next = manifest
			return nil
		})
		if err == nil {
			err = d.addRepository(ctx, p.repository)
		}
		if err != nil {
			return Record{}, err
		}
		if err := d.useManifest(ctx, p.repository, manifest, make(map[string]bool)); err != nil {
			announced.Next = ""
			_ = d.settle(ctx, announced)
			return Record{}, err
		}
		announced.Value, announced.Next, announced.At = manifest, "", time.Now().UTC()
		set, err := d.put(ctx, announced)
		if err == nil || !errors.Is(err, store.ErrKeyChanged) && !errors.Is(err, store.ErrNoKey) {
			return set, err
		}
		if err := pause(ctx, n); err != nil {
			return Record{}, err
		}
	}
	return Record{}, fmt.Errorf("set %s:%s: %w", p.repository, p.reference, images.ErrChanging)
}

// settle writes the record of a tag after a put of the tag was completed or cancelled. It removes the record if the tag
// was never set.
func (d *Driver) settle(ctx context.Context, r Record) error {
	if r.Value == "" {
		return d.remove(ctx, r)
	}
	_, err := d.put(ctx, r)
	return err
}

func (d *Driver) Delete(ctx context.Context, path string) error {
	switch p := placeOf(path); p.kind {
	case Tags, tagFolder:
		return d.deleteRecord(ctx, path, p, nil)
	case Layers:
		return Report(ctx, d.deleteRecord(ctx, path, p, condemnedBy(ctx)))
	case Manifests:
		if err := d.deleteRecord(ctx, path, p, condemnedBy(ctx)); err != nil {
			return Report(ctx, err)
		}
		return d.forget(ctx, p)
	case Blobs, tagsFolder:
		return storagedriver.ErrUnsupportedMethod{DriverName: d.Name()} // Only a collection removes data.
	case history:
		return nil
	default:
		return d.StorageDriver.Delete(ctx, path)
	}
}

// deleteRecord deletes the record. If the record was condemned first, it deletes the record only if it is unused since.
func (d *Driver) deleteRecord(ctx context.Context, path string, p place, condemned *Record) error {
	if condemned != nil && condemned.Key == p.key {
		err := d.remove(ctx, *condemned)
		if errors.Is(err, store.ErrKeyChanged) {
			return fmt.Errorf("delete %s@%s: %w", p.repository, p.reference, images.ErrChanging)
		}
		return d.orMissing(path, err)
	}
	for n := range tries {
		r, err := d.read(ctx, path, p)
		if err != nil {
			return err
		}
		if err = d.remove(ctx, r); !errors.Is(err, store.ErrKeyChanged) {
			return d.orMissing(path, err)
		}
		if err := pause(ctx, n); err != nil {
			return err
		}
	}
	return images.ErrChanging
}

func (d *Driver) orMissing(path string, err error) error {
	if errors.Is(err, store.ErrNoKey) {
		return d.missing(path)
	}
	return err
}

// forget cancels puts in progress that set a tag to the manifest, which is being deleted. Distribution removes the tags
// that are set already.
func (d *Driver) forget(ctx context.Context, p place) error {
	pending, err := d.Pending(ctx, p.repository)
	if err != nil {
		return err
	}
	for _, r := range pending {
		if r.Next == p.reference {
			r.Next = ""
			if err := d.settle(ctx, r); err != nil && !errors.Is(err, store.ErrKeyChanged) && !errors.Is(err, store.ErrNoKey) {
				return err
			}
		}
	}
	return nil
}

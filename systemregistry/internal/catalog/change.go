package catalog

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"slices"

	"github.com/distribution/distribution/v3"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/regcred/regcred/systemregistry/images"
	"github.com/regcred/regcred/systemregistry/internal/shared"
)

// Changing blocks until no collection runs, no other caller changes the same tag, and none deletes by digest in the
// repository. It excludes them until done is called. The server calls it around changes of manifests by clients.
// Reference is a tag or digest. Changing fails only if ctx ends first.
func (c *Catalog) Changing(ctx context.Context, repository, reference string) (done func(), err error) {
	if err := c.door.Acquire(ctx, 1); err != nil {
		return nil, context.Cause(ctx)
	}
	in := c.inside[c.slot(repository)]
	if err := in.Acquire(ctx, 1); err != nil {
		c.door.Release(1)
		return nil, context.Cause(ctx)
	}
	turn := c.tags[c.slot(repository+":"+reference)]
	select {
	case turn <- struct{}{}:
		return func() { <-turn; in.Release(1); c.door.Release(1) }, nil
	case <-ctx.Done():
		in.Release(1)
		c.door.Release(1)
		return nil, context.Cause(ctx)
	}
}

// Deleting is like Changing, for a deletion. A deletion by digest excludes all other changes in the repository.
// Otherwise, a tag that is set to the digest meanwhile would be lost, and a manifest that refers to the digest would be
// broken.
func (c *Catalog) Deleting(ctx context.Context, repository, reference string) (done func(), err error) {
	if _, err := digest.Parse(reference); err != nil {
		return c.Changing(ctx, repository, reference)
	}
	if err := c.door.Acquire(ctx, 1); err != nil {
		return nil, context.Cause(ctx)
	}
	in := c.inside[c.slot(repository)]
	if err := in.Acquire(ctx, math.MaxInt64); err != nil {
		c.door.Release(1)
		return nil, context.Cause(ctx)
	}
	return func() { in.Release(math.MaxInt64); c.door.Release(1) }, nil
}

func (c *Catalog) slot(name string) int { return int(maphash.String(c.seed, name) % slots) }

// MayPut fails with [images.ErrImmutable] if the tag is immutable and refers to another manifest, and with
// [images.ErrQuotaExceeded] if the manifest and the tag do not fit the quotas. It counts what does not exist yet. The
// caller must call done, which releases this if the manifest was not put. Call MayPut between Changing and its done.
func (c *Catalog) MayPut(ctx context.Context, repository, reference, manifest string, size int64) (done func(put bool), err error) {
	limited, need := c.Limited(repository), int64(0)
	if _, err := digest.Parse(reference); err != nil && (limited || c.Immutable(repository)) {
		have, err := c.Resolve(ctx, repository, reference)
		switch {
		case errors.Is(err, images.ErrNoImage):
			need += shared.Overhead(repository)
		case err != nil:
			return nil, err
		case have != manifest && c.Immutable(repository):
			return nil, fmt.Errorf("%w: %s:%s", images.ErrImmutable, repository, reference)
		}
	}
	if !limited {
		return func(bool) {}, nil
	}
	if _, err := c.resolve(ctx, repository, manifest); err != nil {
		need += shared.Overhead(repository) + size
	}
	return c.reserve(ctx, repository, "", need)
}

// MayDelete fails with [images.ErrImmutable] if the policies do not let a client delete the tag, or the image or layer
// with the digest. Call it between Deleting and done.
func (c *Catalog) MayDelete(ctx context.Context, repository, reference string) error {
	if !c.Immutable(repository) {
		return nil
	}
	if c.shared != nil {
		pending, err := c.shared.Pending(ctx, repository)
		if err == nil && len(pending) > 0 {
			err = fmt.Errorf("delete %s:%s: %w", repository, reference, images.ErrChanging) // The tag may be about to refer to it.
		}
		if err != nil {
			return err
		}
	}
	d, err := digest.Parse(reference)
	if err != nil {
		return fmt.Errorf("%w: %s:%s", images.ErrImmutable, repository, reference)
	}
	tag, err := c.tagOf(ctx, repository, d)
	if err != nil || tag == "" {
		return err
	}
	return fmt.Errorf("%w: %s:%s", images.ErrImmutable, repository, tag)
}

// Immutable reports whether the tags of the repository are immutable: once pushed, a tag always refers to the same
// image.
func (c *Catalog) Immutable(repository string) bool {
	return slices.ContainsFunc(c.policies, func(p images.Policy) bool { return p.Immutable && matches(p, repository) })
}

func (c *Catalog) tagsOf(ctx context.Context, repository string, d digest.Digest) ([]string, error) {
	r, err := c.repository(ctx, repository)
	if err != nil {
		return nil, err
	}
	tags, err := r.Tags(ctx).Lookup(ctx, v1.Descriptor{Digest: d})
	if _, ok := errors.AsType[distribution.ErrRepositoryUnknown](err); ok || notFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list tags of %s@%s: %w", repository, d, err)
	}
	return tags, nil
}

// Delete removes a tag, or, given a digest, the image and all its tags. A later collection removes the data. Delete
// fails with [images.ErrNoImage] or [images.ErrImmutable].
func (c *Catalog) Delete(ctx context.Context, repository, reference string) error {
	done, err := c.Deleting(ctx, repository, reference)
	if err != nil {
		return fmt.Errorf("delete %s:%s: %w", repository, reference, err)
	}
	defer done()
	d, err := c.resolve(ctx, repository, reference)
	if err != nil {
		return err
	}
	if ctx, err = c.Condemn(ctx, repository, reference); err != nil {
		return fmt.Errorf("delete %s@%s: %w", repository, reference, err)
	}
	if err := c.MayDelete(ctx, repository, reference); err != nil {
		return err
	}
	r, err := c.repository(ctx, repository)
	if err != nil {
		return err
	}
	if string(d) != reference {
		if err := r.Tags(ctx).Untag(ctx, reference); err != nil {
			return fmt.Errorf("delete %s:%s: %w", repository, reference, err)
		}
		return nil
	}
	return c.deleteManifest(ctx, r, d)
}

// deleteManifest removes the tags first, because a tag without an image is worse than an image without a tag. If
// several replicas share the storage, it removes the manifest first, so that none of them can set another tag to it.
func (c *Catalog) deleteManifest(ctx context.Context, r distribution.Repository, d digest.Digest) error {
	if c.shared != nil {
		if err := c.deleteRevision(ctx, r, d); err != nil {
			return err
		}
		return c.deleteTags(ctx, r, d)
	}
	if err := c.deleteTags(ctx, r, d); err != nil {
		return err
	}
	return c.deleteRevision(ctx, r, d)
}

func (c *Catalog) deleteTags(ctx context.Context, r distribution.Repository, d digest.Digest) error {
	name := r.Named().Name()
	tags, err := c.tagsOf(ctx, name, d)
	if err != nil {
		return err
	}
	for _, tag := range tags {
		if err := r.Tags(ctx).Untag(ctx, tag); err != nil && !notFound(err) {
			return fmt.Errorf("delete %s:%s: %w", name, tag, err)
		}
	}
	return nil
}

func (c *Catalog) deleteRevision(ctx context.Context, r distribution.Repository, d digest.Digest) error {
	manifests, err := r.Manifests(ctx)
	if err == nil {
		err = manifests.Delete(ctx, d)
	}
	if err != nil {
		return fmt.Errorf("delete %s@%s: %w", r.Named().Name(), d, err)
	}
	return nil
}

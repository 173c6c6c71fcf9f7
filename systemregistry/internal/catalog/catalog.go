package catalog

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/distribution/v3/registry/storage"
	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/semaphore"

	"github.com/regcred/regcred/systemregistry/images"
	"github.com/regcred/regcred/systemregistry/internal/shared"
)

// A Catalog manages the repositories and images in a storage. Make it with [Open]; it is safe for concurrent use.
type Catalog struct {
	driver    storagedriver.StorageDriver
	namespace distribution.Namespace
	shared    *shared.Driver // The driver, if several replicas share the storage; nil otherwise.
	policies  []images.Policy
	quotas    *quotas
	uploads   uploads
	pins      pins
	// removeEmpty removes a folder below top, and the folders around it, as far as they are empty.
	removeEmpty func(folder, top string)

	// holds is acquired by callers that block collections.
	holds *semaphore.Weighted
	// door is a lock that changes of manifests share, and that a collection holds alone.
	door *semaphore.Weighted
	// inside is a lock that changes in a repository share, and that a deletion by digest holds alone. tags serializes
	// changes of the same tag. Both are indexed by a hash of the name.
	inside [slots]*semaphore.Weighted
	tags   [slots]chan struct{}
	seed   maphash.Seed
}

const slots = 64

// Open returns the catalog of the images in the driver's storage.
func Open(ctx context.Context, driver storagedriver.StorageDriver, policies []images.Policy) (*Catalog, error) {
	for _, p := range policies {
		if err := p.Validate(); err != nil {
			return nil, err
		}
	}
	namespace, err := storage.NewRegistry(ctx, driver, storage.EnableDelete)
	if err != nil {
		return nil, fmt.Errorf("open images: %w", err)
	}
	policies = slices.Clone(policies)
	c := &Catalog{
		driver: driver, namespace: namespace, policies: policies,
		quotas: newQuotas(nil), door: semaphore.NewWeighted(math.MaxInt64), holds: semaphore.NewWeighted(math.MaxInt64), seed: maphash.MakeSeed(),
		removeEmpty: func(string, string) {},
	}
	if d, ok := driver.(interface{ RemoveEmpty(folder, top string) }); ok {
		c.removeEmpty = d.RemoveEmpty
	}
	if c.shared, _ = driver.(*shared.Driver); c.shared != nil {
		c.shared.SetLimits(limits(policies))
	} else {
		c.quotas = newQuotas(policies)
	}
	for i := range c.tags {
		c.tags[i], c.inside[i] = make(chan struct{}, 1), semaphore.NewWeighted(math.MaxInt64)
	}
	return c, nil
}

// Tags returns the tags of the repository, sorted. It returns none for a repository that does not exist.
func (c *Catalog) Tags(ctx context.Context, repository string) ([]string, error) {
	r, err := c.repository(ctx, repository)
	if err != nil {
		return nil, err
	}
	tags, err := r.Tags(ctx).All(ctx)
	if _, ok := errors.AsType[distribution.ErrRepositoryUnknown](err); ok {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list tags of %s: %w", repository, err)
	}
	return tags, nil
}

func (c *Catalog) repository(ctx context.Context, name string) (distribution.Repository, error) {
	named, err := reference.WithName(name)
	if err != nil {
		return nil, fmt.Errorf("%w: repository %q: %w", images.ErrNoImage, name, err)
	}
	r, err := c.namespace.Repository(ctx, named)
	if err != nil {
		return nil, fmt.Errorf("open repository %s: %w", name, err)
	}
	return r, nil
}

// Resolve returns the digest of a tag, or an existing digest unchanged. It fails with [images.ErrNoImage].
func (c *Catalog) Resolve(ctx context.Context, repository, reference string) (string, error) {
	d, err := c.resolve(ctx, repository, reference)
	return string(d), err
}

func (c *Catalog) resolve(ctx context.Context, repository, reference string) (digest.Digest, error) {
	r, err := c.repository(ctx, repository)
	if err != nil {
		return "", err
	}
	missing := fmt.Errorf("%w: %s:%s", images.ErrNoImage, repository, reference)
	if d, err := digest.Parse(reference); err == nil {
		manifests, err := r.Manifests(ctx)
		if err != nil {
			return "", fmt.Errorf("open repository %s: %w", repository, err)
		}
		there, err := manifests.Exists(ctx, d)
		if err != nil {
			return "", fmt.Errorf("find %s@%s: %w", repository, d, err)
		}
		if !there {
			return "", missing
		}
		return d, nil
	}
	if !validTag(reference) { // The tag becomes part of a path.
		return "", missing
	}
	desc, err := r.Tags(ctx).Get(ctx, reference)
	if _, ok := errors.AsType[distribution.ErrTagUnknown](err); ok || notFound(err) {
		return "", missing
	}
	if err != nil {
		return "", fmt.Errorf("find %s:%s: %w", repository, reference, err)
	}
	return desc.Digest, nil
}

func validTag(tag string) bool {
	return reference.TagRegexp.FindString(tag) == tag && tag != ""
}

func notFound(err error) bool {
	if _, ok := errors.AsType[storagedriver.PathNotFoundError](err); ok {
		return true
	}
	// The driver for files returns this error for a folder that is deleted while it is listed.
	wrapped, ok := errors.AsType[storagedriver.Error](err)
	return ok && errors.Is(wrapped.Detail, fs.ErrNotExist)
}

// root is distribution's folder of repositories. Its layout has not changed since version 2.0, and cannot change,
// because storages outlive programs.
const (
	root      = "/docker/registry/v2/repositories"
	blobsRoot = "/docker/registry/v2/blobs"
)

// BlobPath returns the path in a storage of the layer, config or manifest with the digest, which must be valid.
func BlobPath(d digest.Digest) string {
	hex := d.Encoded()
	return strings.Join([]string{blobsRoot, string(d.Algorithm()), hex[:2], hex, "data"}, "/")
}

// TagPath returns the path in a storage of the link of the tag, which must be valid.
func TagPath(repository, tag string) string {
	return strings.Join([]string{root, repository, "_manifests/tags", tag, "current/link"}, "/")
}

func (c *Catalog) pushedAt(ctx context.Context, repository, tag string) time.Time {
	info, err := c.driver.Stat(ctx, TagPath(repository, tag))
	if err != nil {
		return time.Time{}
	}
	return info.ModTime().UTC()
}

// Reachable returns the error of the storage if it does not respond, and nil if it does.
func (c *Catalog) Reachable(ctx context.Context) error {
	if _, err := c.driver.Stat(ctx, "/"); err != nil && !notFound(err) { // Not found: no image was ever pushed.
		return fmt.Errorf("reach storage: %w", err)
	}
	return nil
}

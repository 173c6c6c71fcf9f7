package catalog

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/distribution/distribution/v3"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/regcred/regcred/systemregistry/images"
)

// maxConfig is far above the size of a real config. Larger configs are not read.
const maxConfig = 4 << 20

// manifest has the relevant fields of all four formats: Docker's schema 2 and list, OCI's manifest and index.
type manifest struct {
	Config    *v1.Descriptor  `json:"config"`
	Layers    []v1.Descriptor `json:"layers"`
	Manifests []v1.Descriptor `json:"manifests"`
}

// Image returns the image of the reference, a tag or digest, in the repository. It fails with [images.ErrNoImage].
func (c *Catalog) Image(ctx context.Context, repository, reference string) (images.Image, error) {
	d, err := c.resolve(ctx, repository, reference)
	if err != nil {
		return images.Image{}, err
	}
	image, _, err := c.summarize(ctx, repository, d)
	if err == nil && string(d) != reference {
		image.Tag, image.PushedAt = reference, c.pushedAt(ctx, repository, reference)
	}
	return image, err
}

// summarize returns the image of the digest, and the number of documents that it read.
func (c *Catalog) summarize(ctx context.Context, repository string, d digest.Digest) (images.Image, int, error) {
	image := images.Image{Repository: repository, Digest: string(d)}
	r, err := c.repository(ctx, repository)
	if err != nil {
		return images.Image{}, 0, err
	}
	s := summary{image: &image, repository: r, seen: make(map[digest.Digest]bool)}
	if err := s.add(ctx, d, nil); err != nil {
		return images.Image{}, s.reads, err
	}
	slices.Sort(image.Platforms)
	image.Platforms = slices.Compact(image.Platforms)
	return image, s.reads, nil
}

// summary adds up an image.
type summary struct {
	image      *images.Image
	repository distribution.Repository
	seen       map[digest.Digest]bool
	reads      int
}

// add adds the manifest and everything below it. Platform is the platform in the enclosing index.
func (s *summary) add(ctx context.Context, d digest.Digest, platform *v1.Platform) error {
	s.seen[d] = true
	s.reads++
	manifests, err := s.repository.Manifests(ctx)
	if err != nil {
		return fmt.Errorf("open repository %s: %w", s.image.Repository, err)
	}
	got, err := manifests.Get(ctx, d)
	if _, ok := errors.AsType[distribution.ErrManifestUnknownRevision](err); ok || notFound(err) {
		return fmt.Errorf("%w: %s@%s", images.ErrNoImage, s.image.Repository, d)
	}
	if err != nil {
		return fmt.Errorf("read %s@%s: %w", s.image.Repository, d, err)
	}
	mediaType, payload, err := got.Payload()
	if err != nil {
		return fmt.Errorf("read %s@%s: %w", s.image.Repository, d, err)
	}
	s.image.MediaType = cmp.Or(s.image.MediaType, mediaType)
	s.image.Size += int64(len(payload))
	var m manifest
	if err := json.Unmarshal(payload, &m); err != nil {
		return fmt.Errorf("read %s@%s: it is not JSON", s.image.Repository, d)
	}
	if m.Config != nil {
		s.config(ctx, *m.Config, platform)
	}
	for _, layer := range m.Layers {
		s.size(layer)
	}
	for _, child := range m.Manifests {
		if err := s.child(ctx, child); err != nil {
			return err
		}
	}
	return nil
}

// child adds one manifest of an index. If the manifest was not pushed or is deleted, child uses the index's description
// of it.
func (s *summary) child(ctx context.Context, child v1.Descriptor) error {
	if s.seen[child.Digest] {
		return nil
	}
	if child.Digest.Validate() == nil && s.reads < childReads {
		if err := s.add(ctx, child.Digest, child.Platform); !errors.Is(err, images.ErrNoImage) {
			return err
		}
	}
	s.image.Size += child.Size
	s.platform(child.Platform)
	return nil
}

func (s *summary) size(d v1.Descriptor) (first bool) {
	if s.seen[d.Digest] {
		return false
	}
	s.seen[d.Digest] = true
	s.image.Size += d.Size
	return true
}

func (s *summary) platform(p *v1.Platform) {
	// Build tools put attestations into an index as images of an unknown platform.
	if p == nil || p.OS == "" || p.OS == "unknown" || p.Architecture == "" {
		return
	}
	text := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		text += "/" + p.Variant
	}
	s.image.Platforms = append(s.image.Platforms, text)
}

// config reads the platform and the time of creation from the config of an image. It ignores a config that cannot be
// read.
func (s *summary) config(ctx context.Context, d v1.Descriptor, platform *v1.Platform) {
	if !s.size(d) || d.Size > maxConfig {
		s.platform(platform)
		return
	}
	s.reads++
	var config struct {
		v1.Platform
		Created time.Time `json:"created"`
	}
	data, err := s.repository.Blobs(ctx).Get(ctx, d.Digest)
	if err != nil || json.Unmarshal(data, &config) != nil {
		s.platform(platform)
		return
	}
	if platform == nil {
		platform = &config.Platform
	}
	s.platform(platform)
	// A time outside of RFC 3339 in UTC, such as one at the end of 9999 in a zone to the west, could not be encoded.
	if created := config.Created.UTC(); created.After(s.image.CreatedAt) && created.Year() <= 9999 {
		s.image.CreatedAt = created
	}
}

package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/distribution/distribution/v3"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// references returns the digests that a manifest refers to: layers, configs and other manifests. If the storage keeps
// one under a different digest, both are returned. Invalid digests are left out, because an image manifest may have any
// text as its subject.
func (c *Catalog) references(ctx context.Context, repository distribution.Repository, d digest.Digest) ([]digest.Digest, error) {
	name := repository.Named().Name()
	manifests, err := repository.Manifests(ctx)
	if err != nil {
		return nil, fmt.Errorf("open repository %s: %w", name, err)
	}
	got, err := manifests.Get(ctx, d)
	if err != nil {
		return nil, fmt.Errorf("read %s@%s: %w", name, d, err)
	}
	var refs []digest.Digest
	for _, ref := range got.References() {
		refs = append(refs, ref.Digest)
	}
	_, payload, err := got.Payload()
	if err != nil {
		return nil, fmt.Errorf("read %s@%s: %w", name, d, err)
	}
	// A signature or attestation keeps its image, which may exist only for it.
	var m struct {
		Subject *v1.Descriptor `json:"subject"`
	}
	if json.Unmarshal(payload, &m) == nil && m.Subject != nil {
		refs = append(refs, m.Subject.Digest)
	}
	return c.stored(ctx, name, refs)
}

// stored returns the digests, together with those by which the storage keeps the same content. It drops invalid
// digests.
func (c *Catalog) stored(ctx context.Context, repository string, refs []digest.Digest) ([]digest.Digest, error) {
	var all []digest.Digest
	for _, d := range refs {
		if d.Validate() != nil {
			continue
		}
		all = append(all, d)
		kept, err := c.storedAs(ctx, repository, d)
		if err != nil {
			return nil, err
		}
		if kept != d {
			all = append(all, kept)
		}
	}
	return all, nil
}

// storedAs returns the digest by which the storage keeps the layer with the digest, which must be valid. Distribution
// keeps each layer by its SHA-256, and links other digests to that.
func (c *Catalog) storedAs(ctx context.Context, repository string, d digest.Digest) (digest.Digest, error) {
	if d.Algorithm() == digest.Canonical {
		return d, nil
	}
	content, err := c.driver.GetContent(ctx, strings.Join([]string{root, repository, "_layers", string(d.Algorithm()), d.Encoded(), "link"}, "/"))
	if notFound(err) {
		return d, nil
	}
	if err != nil {
		return "", fmt.Errorf("find %s@%s: %w", repository, d, err)
	}
	kept, err := digest.Parse(string(content))
	if err != nil {
		return "", fmt.Errorf("find %s@%s: the link is damaged", repository, d)
	}
	return kept, nil
}

// tagOf returns a tag whose image has the digest, or has a part with the digest: the image of a platform, a config, a
// layer. It returns an empty tag if there is none.
func (c *Catalog) tagOf(ctx context.Context, repository string, d digest.Digest) (string, error) {
	r, err := c.repository(ctx, repository)
	if err != nil {
		return "", err
	}
	tags, err := c.Tags(ctx, repository)
	if err != nil {
		return "", err
	}
	if d, err = c.storedAs(ctx, repository, d); err != nil {
		return "", err
	}
	seen := make(map[digest.Digest]bool)
	var needs func(digest.Digest) (bool, error)
	needs = func(from digest.Digest) (bool, error) {
		if from == d || seen[from] {
			return from == d, nil
		}
		seen[from] = true
		refs, err := c.references(ctx, r, from)
		if _, ok := errors.AsType[distribution.ErrManifestUnknownRevision](err); ok {
			return false, nil // A layer, or the manifest of a platform that was not pushed.
		}
		for _, ref := range refs {
			if found, err := needs(ref); found || err != nil {
				return found, err
			}
		}
		return false, err
	}
	for _, tag := range tags {
		desc, err := r.Tags(ctx).Get(ctx, tag)
		if err != nil {
			return "", fmt.Errorf("read %s:%s: %w", repository, tag, err)
		}
		if found, err := needs(desc.Digest); found || err != nil {
			return tag, err
		}
	}
	return "", nil
}

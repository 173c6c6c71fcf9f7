package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/regcred/regcred/systemregistry/images"
)

var (
	errNoData    = errors.New("the data is missing")
	errOtherData = errors.New("the data has another digest")
	errNoLink    = errors.New("the repository does not have it")
	errBadJSON   = errors.New("the manifest is not JSON")
)

// Check reads the whole storage, and yields its problems: tags without an image, images with missing parts, and data
// that is missing or damaged. An error ends the iteration. The registry may run meanwhile. Data that a client or a
// collection deletes during the check is not reported.
func (c *Catalog) Check(ctx context.Context) iter.Seq2[images.Problem, error] {
	return func(yield func(images.Problem, error) bool) {
		inv, err := c.inventory(ctx)
		if err != nil {
			yield(images.Problem{}, err)
			return
		}
		k := checker{catalog: c, inv: inv, data: make(map[digest.Digest]error)}
		k.yield = func(p images.Problem) bool { return yield(p, nil) }
		if err := k.run(ctx); err != nil && !errors.Is(err, errStop) {
			yield(images.Problem{}, err)
		}
	}
}

func problem[R, D ~string | ~[]byte](repository string, reference R, d D, err error) images.Problem {
	return images.Problem{Repository: repository, Reference: string(reference), Digest: string(d), Err: err}
}

// errStop ends a check whose caller has stopped the iteration.
var errStop = errors.New("stopped")

type checker struct {
	catalog *Catalog
	inv     *inventory
	data    map[digest.Digest]error // Results by digest: all data is read once.
	yield   func(images.Problem) bool
}

func (k *checker) run(ctx context.Context) error {
	for _, name := range slices.Sorted(maps.Keys(k.inv.repositories)) {
		r := k.inv.repositories[name]
		for _, tag := range slices.Sorted(maps.Keys(r.tags)) {
			if err := k.tag(ctx, name, tag); err != nil {
				return err
			}
		}
		for _, d := range slices.Sorted(maps.Keys(r.manifests)) {
			if err := k.manifest(ctx, name, d); err != nil {
				return err
			}
		}
		for _, d := range slices.Sorted(maps.Keys(r.layers)) {
			if err := k.layer(ctx, name, string(d), d); err != nil {
				return err
			}
		}
	}
	for _, d := range slices.Sorted(maps.Keys(k.inv.blobs)) {
		err := k.read(ctx, d)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil && !errors.Is(err, errNoData) { // Deleted during the check. Links to it were checked above.
			if !k.yield(images.Problem{Digest: string(d), Err: err}) {
				return errStop
			}
		}
	}
	return nil
}

// report yields the problem if the link still exists. If the link was deleted during the check, there is no problem.
func (k *checker) report(ctx context.Context, link string, p images.Problem) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if _, err := k.catalog.driver.Stat(ctx, link); notFound(err) {
		return nil
	}
	if !k.yield(p) {
		return errStop
	}
	return nil
}

func linkOf(repository, kind string, d digest.Digest) string {
	return strings.Join([]string{root, repository, kind, string(d.Algorithm()), d.Encoded(), "link"}, "/")
}

func (k *checker) tag(ctx context.Context, name, tag string) error {
	link := TagPath(name, tag)
	content, err := k.catalog.driver.GetContent(ctx, link)
	if notFound(err) {
		return nil
	}
	d, parseErr := digest.Parse(string(content))
	if err = errors.Join(err, parseErr); err == nil {
		if _, statErr := k.catalog.driver.Stat(ctx, linkOf(name, "_manifests/revisions", d)); statErr != nil {
			err = errNoLink
			if !notFound(statErr) {
				err = statErr
			}
		}
	}
	if err == nil {
		return nil
	}
	return k.report(ctx, link, problem(name, tag, content, err))
}

func (k *checker) manifest(ctx context.Context, name string, d digest.Digest) error {
	link := linkOf(name, "_manifests/revisions", d)
	if err := k.read(ctx, d); err != nil {
		return k.report(ctx, link, problem(name, d, d, err))
	}
	content, err := k.catalog.driver.GetContent(ctx, BlobPath(d))
	var m manifest
	if err == nil && json.Unmarshal(content, &m) != nil {
		err = errBadJSON
	}
	if err != nil {
		return k.report(ctx, link, problem(name, d, d, err))
	}
	if m.Config != nil {
		m.Layers = append(m.Layers, *m.Config)
	}
	for _, layer := range m.Layers {
		if layer.Digest.Validate() != nil || len(layer.URLs) > 0 {
			continue // Its data is at another place.
		}
		if err := k.part(ctx, name, link, d, layer, linkOf(name, "_layers", layer.Digest)); err != nil {
			return err
		}
	}
	for _, child := range m.Manifests {
		if child.Digest.Validate() != nil {
			continue
		}
		if err := k.part(ctx, name, link, d, child, linkOf(name, "_manifests/revisions", child.Digest)); err != nil {
			return err
		}
	}
	return nil
}

// part checks that the repository has a part of a manifest. The check of the repository's own links reads the data.
func (k *checker) part(ctx context.Context, name, manifestLink string, d digest.Digest, part v1.Descriptor, link string) error {
	_, err := k.catalog.driver.Stat(ctx, link)
	if err == nil {
		return nil
	}
	if notFound(err) {
		err = errNoLink
	}
	return k.report(ctx, manifestLink, problem(name, d, part.Digest, err))
}

func (k *checker) layer(ctx context.Context, name, reference string, d digest.Digest) error {
	kept, err := k.catalog.storedAs(ctx, name, d)
	if err == nil {
		err = k.read(ctx, kept)
	}
	if err == nil {
		return nil
	}
	return k.report(ctx, linkOf(name, "_layers", d), problem(name, reference, kept, err))
}

// read reads the data with the digest, once, and returns its error.
func (k *checker) read(ctx context.Context, d digest.Digest) error {
	err, known := k.data[d]
	if !known {
		err = k.hash(ctx, d)
		k.data[d] = err
	}
	return err
}

func (k *checker) hash(ctx context.Context, d digest.Digest) error {
	if err := d.Validate(); err != nil {
		return err
	}
	data, err := k.catalog.driver.Reader(ctx, BlobPath(d), 0)
	if notFound(err) {
		return errNoData
	}
	if err != nil {
		return err
	}
	defer data.Close()
	verifier := d.Verifier()
	if _, err := io.Copy(verifier, data); err != nil {
		return err
	}
	if !verifier.Verified() {
		return errOtherData
	}
	return nil
}

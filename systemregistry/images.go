package systemregistry

import (
	"context"
	"iter"

	"github.com/regcred/regcred/systemregistry/images"
	"github.com/regcred/regcred/systemregistry/internal/catalog"
)

// Images manages the images of a [Registry]: it lists, deletes, collects and checks them. It does not check rights, and
// does not push or pull. [Registry.Images] returns it. It is safe for concurrent use.
type Images struct{ catalog *catalog.Catalog }

// Images returns the registry's images.
func (r *Registry) Images() Images { return Images{r.catalog} }

// Repositories yields the names of all repositories that have or had a layer, starting after the given name. An error
// ends the iteration. Names are ordered by their parts: team/app comes before team-two. If the given name is empty, the
// iteration starts at the first repository.
func (i Images) Repositories(ctx context.Context, after string) iter.Seq2[string, error] {
	return i.catalog.Repositories(ctx, after)
}

// Tags returns the tags of the repository, sorted. It returns none for a repository that does not exist.
func (i Images) Tags(ctx context.Context, repository string) ([]string, error) {
	return i.catalog.Tags(ctx, repository)
}

// Image returns the image of the reference, a tag or digest, in the repository. It fails with [images.ErrNoImage].
func (i Images) Image(ctx context.Context, repository, reference string) (images.Image, error) {
	return i.catalog.Image(ctx, repository, reference)
}

// Delete removes a tag, or, given a digest, the image and all its tags. A later collection removes the data. Delete
// fails with [images.ErrNoImage], [images.ErrImmutable] or [images.ErrChanging].
func (i Images) Delete(ctx context.Context, repository, reference string) error {
	return i.catalog.Delete(ctx, repository, reference)
}

// Collect removes images that have expired by the policies, uploads that were never finished, and data that no image
// uses. It leaves data alone for a day, because a push in progress may need it, and an upload for an hour after its
// last write.
//
// Clients can pull images and push layers during a collection; manifests and deletions wait for its end. If several
// replicas share the storage, nothing waits: a collection condemns unused data, and the next collection removes the
// data if it is still unused. Collect fails with an error that wraps [images.ErrCollecting] if another replica
// collects, or if a backup is being made.
func (i Images) Collect(ctx context.Context) (images.Collection, error) {
	return i.catalog.Collect(ctx)
}

// Measure measures the usage of all quotas. [Registry.Maintain] calls it at its start and every hour, so a program
// needs it only after it has changed the storage by other means.
func (i Images) Measure(ctx context.Context) error { return i.catalog.Measure(ctx) }

// Check reads the whole storage, and yields its problems: tags without an image, images with missing parts, and data
// that is missing or damaged. An error ends the iteration. The registry may run meanwhile. Data that a client or a
// collection deletes during the check is not reported.
func (i Images) Check(ctx context.Context) iter.Seq2[images.Problem, error] {
	return i.catalog.Check(ctx)
}

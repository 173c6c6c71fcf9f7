package systemregistry

import (
	"context"

	"github.com/distribution/distribution/v3"
	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"

	"github.com/regcred/regcred/systemregistry/images"
)

// repositories opens them for distribution's handlers, in place of those that the handlers come with: these put together
// an event for each pull, and look a layer up once more for it, to tell endpoints of which there are none here.
type repositories struct {
	driver    storagedriver.StorageDriver
	catalog   *images.Catalog
	redirect  bool
	namespace distribution.Namespace // Distribution's own.
}

// registerNamespace is told of the namespace while distribution's handlers are made, and leaves it as it is.
func registerNamespace(
	_ context.Context, namespace distribution.Namespace, _ storagedriver.StorageDriver, options map[string]any,
) (distribution.Namespace, error) {
	r, err := extensionOption[*repositories](options)
	if err == nil {
		r.namespace = namespace
	}
	return namespace, err
}

// openRepository is asked for each request, once it is known to be allowed.
func openRepository(ctx context.Context, handlers distribution.Repository, options map[string]any) (distribution.Repository, error) {
	r, err := extensionOption[*repositories](options)
	if err != nil {
		return nil, err
	}
	own, err := r.namespace.Repository(ctx, handlers.Named())
	return &repository{own, r}, err
}

// repository is distribution's own, but for how it sends layers.
type repository struct {
	distribution.Repository
	of *repositories
}

func (r *repository) Blobs(ctx context.Context) distribution.BlobStore {
	return &blobs{
		BlobStore: r.Repository.Blobs(ctx), repository: r.Named().Name(), catalog: r.of.catalog,
		driver: r.of.driver, redirect: r.of.redirect,
	}
}

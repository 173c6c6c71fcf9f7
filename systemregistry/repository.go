package systemregistry

import (
	"context"

	"github.com/distribution/distribution/v3"
	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"

	"github.com/regcred/regcred/systemregistry/internal/catalog"
)

// repositories opens the repositories for distribution's handlers. It replaces the repositories that the handlers would
// open by themselves. These build an event for each pull and look the layer up once more for it, to notify endpoints
// that do not exist here.
type repositories struct {
	driver    storagedriver.StorageDriver
	catalog   *catalog.Catalog
	redirect  bool
	namespace distribution.Namespace // Distribution's namespace.
}

// registerNamespace records the namespace while distribution's handlers are created, and returns it unchanged.
func registerNamespace(
	_ context.Context, namespace distribution.Namespace, _ storagedriver.StorageDriver, options map[string]any,
) (distribution.Namespace, error) {
	r, err := extensionOption[*repositories](options)
	if err == nil {
		r.namespace = namespace
	}
	return namespace, err
}

// openRepository is called for each request, after the request was authorized.
func openRepository(ctx context.Context, handlers distribution.Repository, options map[string]any) (distribution.Repository, error) {
	r, err := extensionOption[*repositories](options)
	if err != nil {
		return nil, err
	}
	own, err := r.namespace.Repository(ctx, handlers.Named())
	return &repository{own, r}, err
}

// repository is distribution's repository, except for the way it sends layers.
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

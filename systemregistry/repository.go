package systemregistry

import (
	"context"

	"github.com/distribution/distribution/v3"
	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

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

// repository is distribution's repository, except for the way it sends layers and sets tags.
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

func (r *repository) Tags(ctx context.Context) distribution.TagService {
	return &tags{r.Repository.Tags(ctx), r.Named().Name(), r.of.driver}
}

// tags are the tags of a repository without their history. Distribution also writes a link for each image that a tag ever
// had, which nothing reads: a client that sets every tag to every image could create any number of files.
type tags struct {
	distribution.TagService
	repository string
	driver     storagedriver.StorageDriver
}

func (t *tags) Tag(ctx context.Context, tag string, image v1.Descriptor) error {
	return t.driver.PutContent(ctx, catalog.TagPath(t.repository, tag), []byte(image.Digest))
}

package systemregistry

import (
	"context"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"

	"github.com/regcred/regcred/systemregistry/internal/shared"
	"github.com/regcred/regcred/systemregistry/store"
)

// Import prepares a storage that one process has used without [Server.Store] for several replicas: it writes into the
// store which repositories have which tags, manifests and layers. No registry may use the storage meanwhile. If it is
// interrupted, call it again. Images stay where they are, but a registry without the Store no longer sees what is pushed
// afterwards.
func Import(ctx context.Context, driver storagedriver.StorageDriver, s store.Store) error {
	return shared.Import(ctx, driver, s)
}

package systemregistry

import (
	"context"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"

	"github.com/regcred/regcred/systemregistry/internal/shared"
	"github.com/regcred/regcred/systemregistry/store"
)

// Import prepares a storage that one process has used without [Server.Store] for use by several replicas. It records
// the tags, manifests and layers of each repository in the store. No registry may use the storage meanwhile. If Import
// is interrupted, call it again. Images stay in place, but a registry without the Store does not see images that are
// pushed afterwards.
func Import(ctx context.Context, driver storagedriver.StorageDriver, s store.Store) error {
	return shared.Import(ctx, driver, s)
}

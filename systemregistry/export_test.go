package systemregistry

import (
	"net/http"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"

	"github.com/regcred/regcred/systemregistry/internal/catalog"
)

// HTTPServer returns the server that Run uses.
func (r *Registry) HTTPServer() *http.Server { return r.httpServer() }

// Storage returns the storage under distribution.
func (r *Registry) Storage() storagedriver.StorageDriver { return r.storage }

// Catalog returns the registry's catalog.
func (r *Registry) Catalog() *catalog.Catalog { return r.catalog }

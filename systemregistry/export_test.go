package systemregistry

import (
	"context"
	"net"
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

// Listen returns the listener that Run uses.
func (r *Registry) Listen(ctx context.Context) (net.Listener, error) { return r.listen(ctx) }

// MaintainInBubble is Maintain without what waits for channels that were made outside the bubble of testing/synctest.
// It purges uploads when it receives from full.
func (r *Registry) MaintainInBubble(ctx context.Context, full <-chan struct{}) { r.maintain(ctx, full) }

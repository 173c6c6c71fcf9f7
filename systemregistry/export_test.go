package systemregistry

import (
	"net/http"

	"github.com/regcred/regcred/systemregistry/internal/catalog"
)

// HTTPServer returns the server that Run uses.
func (r *Registry) HTTPServer() *http.Server { return r.httpServer() }

// Catalog returns the registry's catalog.
func (r *Registry) Catalog() *catalog.Catalog { return r.catalog }

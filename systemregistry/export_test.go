package systemregistry

import "net/http"

// HTTPServer returns the server that Run uses.
func (r *Registry) HTTPServer() *http.Server { return r.httpServer() }

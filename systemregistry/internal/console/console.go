// Package console is the registry's web page. People log in, look at repositories and images, delete them, and create
// robots.
//
// [Handler] serves three embedded files. The page gets all its data from the API.
//
// The page loads nothing from other servers, and its content security policy forbids that.
package console

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
)

//go:embed page
var files embed.FS

// policy allows the page to run its own script and to send requests to its own server, and nothing else: no inline
// code, no frame around it, no form that is submitted natively.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// types maps file extensions to media types. mime.TypeByExtension would depend on the configuration of the machine.
var types = map[string]string{
	".html": "text/html; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".svg":  "image/svg+xml",
}

// Handler serves the page below prefix, which ends with a slash.
func Handler(prefix string) http.Handler {
	return http.StripPrefix(prefix, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := r.URL.Path
		if name == "" {
			name = "index.html"
		}
		content, err := fs.ReadFile(files, "page/"+name)
		if err != nil {
			http.NotFound(w, r)
			return
		}
		sum := sha256.Sum256(content)
		tag := `"` + hex.EncodeToString(sum[:8]) + `"`
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-cache") // A browser revalidates its copy of the page.
		h.Set("ETag", tag)
		h.Set("Content-Type", types[path.Ext(name)])
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = w.Write(content) // Writing fails only if the client has disconnected.
	}))
}

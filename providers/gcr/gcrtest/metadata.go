package gcrtest

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// A Metadata is the metadata server of a machine or pod. Serve it on the loopback address, and set GCE_METADATA_HOST to
// its host and port. Set the fields before the first use. It is safe for concurrent use.
type Metadata struct {
	Google *Google
	// Email is the service account of the machine. If empty, the machine has none.
	Email string
	// Left is the remaining lifetime of its tokens, because real servers return the same token until a few minutes
	// before its expiry. Zero means the full lifetime.
	Left time.Duration
	// Flakes is the number of requests that fail with 503 before the first successful one.
	Flakes int

	mu sync.Mutex
}

// ServeHTTP serves the token of the machine's service account.
func (m *Metadata) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	flake := m.Flakes > 0
	if flake {
		m.Flakes--
	}
	m.mu.Unlock()
	c := Call{Action: "metadata", Host: r.Host, Principal: m.Email}
	refuse := func(status int, text string) {
		c.Code = http.StatusText(status)
		m.Google.note(c)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}
	w.Header().Set("Metadata-Flavor", "Google")
	w.Header().Set("Content-Type", "text/plain")
	switch {
	case flake:
		refuse(http.StatusServiceUnavailable, "Unavailable\n")
	case r.Header.Get("Metadata-Flavor") != "Google":
		refuse(http.StatusForbidden, "Missing Metadata-Flavor:Google header.\n")
	case r.URL.Path != "/computeMetadata/v1/instance/service-accounts/default/token" || m.Email == "":
		refuse(http.StatusNotFound, "The service account was not found.\n")
	default:
		scope := strings.ReplaceAll(r.URL.Query().Get("scopes"), ",", " ")
		if scope == "" {
			scope = scopeAll
		}
		m.Google.note(c)
		w.Header().Set("Content-Type", "application/json")
		send(w, http.StatusOK, answerOf(m.Google.issue(m.Email, scope, m.Left)))
	}
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/regcred/regcred"
	"github.com/regcred/regcred/field"
	"github.com/regcred/regcred/providers"
	"github.com/regcred/regcred/registry"
	"github.com/regcred/regcred/registry/profilestore"
	"github.com/regcred/regcred/registry/vendors"
)

// A Server is the part of a platform's backend that serves the form "New registry" and the pickers of images. Set the
// fields before the first use.
type Server struct {
	// Pipeline checks logins and lists images. Its Egress has to be set, because profiles come from tenants.
	Pipeline *regcred.Pipeline
	// Rows keeps the stored profiles.
	Rows Rows
	// Keys encrypts their secrets.
	Keys profilestore.Keyring
	// Session returns the tenant of the session of a request. It is the only source of a tenant: no path, query, header of
	// the client's choice or body is.
	Session func(*http.Request) (tenant string, ok bool)
}

// Rows is a table of a database: one row for each profile, with a version that grows with each change.
type Rows interface {
	// Names returns the names of the profiles of a tenant.
	Names(ctx context.Context, tenant string) ([]string, error)
	// Get returns a row; version 0 if there is none.
	Get(ctx context.Context, tenant, name string) (data []byte, version int, err error)
	// Put writes a row if its version is still the one that was read, and fails with errChanged if not. Nil data deletes
	// the row.
	Put(ctx context.Context, tenant, name string, data []byte, version int) error
}

var errChanged = errors.New("another user has changed the profile in the meantime")

const (
	maxBody      = 256 << 10 // A profile with its certificates has a few kilobytes.
	checkTimeout = 30 * time.Second
)

// Handler returns the handler of all paths. It rejects requests that a browser sends from other sites.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /vendors", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, vendors.All()) })
	mux.HandleFunc("GET /schemas/{kind}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/schema+json")
		_, _ = w.Write(profilestore.Schema(registry.Kind(r.PathValue("kind"))))
	})
	mux.HandleFunc("GET /registries", s.as(s.list))
	mux.HandleFunc("GET /registries/{name}", s.as(s.show))
	mux.HandleFunc("PUT /registries/{name}", s.as(s.save))
	mux.HandleFunc("DELETE /registries/{name}", s.as(s.remove))
	mux.HandleFunc("POST /registries/{name}/check", s.as(s.check))
	mux.HandleFunc("GET /registries/{name}/repositories", s.as(s.repositories))
	mux.HandleFunc("GET /registries/{name}/tags", s.as(s.tags))
	return http.NewCrossOriginProtection().Handler(mux)
}

// A handler serves a request of a tenant. Its error becomes a list of issues, which a form shows beside its fields.
type handler func(ctx context.Context, w http.ResponseWriter, r *http.Request, tenant string) error

func (s *Server) as(h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		tenant, ok := s.Session(r)
		if !ok {
			http.Error(w, "log in first", http.StatusUnauthorized)
			return
		}
		ctx, cancel := context.WithTimeoutCause(r.Context(), checkTimeout, errors.New("the registry takes too long"))
		defer cancel()
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		if err := h(ctx, w, r, tenant); err != nil {
			replyError(w, err)
		}
	}
}

func (s *Server) list(ctx context.Context, w http.ResponseWriter, _ *http.Request, tenant string) error {
	names, err := s.Rows.Names(ctx, tenant)
	if err == nil {
		reply(w, http.StatusOK, names)
	}
	return err
}

// A shown is a stored profile, as a form shows it.
type shown struct {
	Version  int             `json:"version"`
	Profile  json.RawMessage `json:"profile"` // Redacted.
	Warnings []string        `json:"warnings,omitempty"`
}

func show(p registry.Profile, version int) shown {
	return shown{version, profilestore.Redacted(p), p.Warnings()}
}

func (s *Server) show(ctx context.Context, w http.ResponseWriter, r *http.Request, tenant string) error {
	p, version, err := s.load(ctx, tenant, r.PathValue("name"))
	if err == nil {
		reply(w, http.StatusOK, show(p, version))
	}
	return err
}

// errNotStored reports that the tenant has no profile of this name, whatever other tenants have.
var errNotStored = errors.New("there is no such profile")

func (s *Server) load(ctx context.Context, tenant, name string) (registry.Profile, int, error) {
	row, version, err := s.Rows.Get(ctx, tenant, name)
	if err != nil {
		return registry.Profile{}, 0, err
	}
	if version == 0 {
		return registry.Profile{}, 0, errNotStored
	}
	p, err := profilestore.Decode(ctx, tenant, row, s.Keys.Open)
	return p, version, err
}

// save creates a profile, or changes the version that the query names. It stores only a login that works, unless the
// user insists with ?check=false.
func (s *Server) save(ctx context.Context, w http.ResponseWriter, r *http.Request, tenant string) error {
	p, version, err := s.form(ctx, r, tenant)
	if err != nil {
		return err
	}
	if r.URL.Query().Get("check") != "false" {
		if _, err := s.Pipeline.CheckLogin(ctx, p); err != nil {
			return err
		}
	}
	row, err := profilestore.Encode(ctx, p, s.Keys.Seal)
	if err != nil {
		return err
	}
	if err := s.Rows.Put(ctx, tenant, p.Name, row, version); err != nil {
		return err
	}
	reply(w, http.StatusOK, show(p, version+1))
	return nil
}

// form reads the profile that a form sends. Secrets that it shows as redacted are taken from the stored profile, but
// only for the same destination: see profilestore.FromForm.
func (s *Server) form(ctx context.Context, r *http.Request, tenant string) (registry.Profile, int, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return registry.Profile{}, 0, err
	}
	name := r.PathValue("name")
	var stored *registry.Profile
	old, version, err := s.load(ctx, tenant, name)
	switch {
	case err == nil:
		stored = &old
	case !errors.Is(err, errNotStored):
		return registry.Profile{}, 0, err
	}
	if read, err := strconv.Atoi(r.URL.Query().Get("version")); version > 0 && (err != nil || read != version) {
		return registry.Profile{}, 0, errChanged
	}
	p, err := profilestore.FromForm(tenant, body, stored)
	if err != nil {
		return registry.Profile{}, 0, err
	}
	if p.Name != name {
		return registry.Profile{}, 0, &registry.Error{
			Op: "read form", Code: registry.ErrInvalid, Err: fmt.Errorf("the profile is named %q, and the path has %q", p.Name, name),
		}
	}
	return p, version, providers.Validate(s.Pipeline.Provider, p)
}

func (s *Server) remove(ctx context.Context, w http.ResponseWriter, r *http.Request, tenant string) error {
	_, version, err := s.load(ctx, tenant, r.PathValue("name"))
	if err == nil {
		err = s.Rows.Put(ctx, tenant, r.PathValue("name"), nil, version)
	}
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}

// check is the button "Test connection". With a body it checks what the form holds, else what is stored.
func (s *Server) check(ctx context.Context, w http.ResponseWriter, r *http.Request, tenant string) error {
	var p registry.Profile
	var err error
	if r.ContentLength == 0 {
		p, _, err = s.load(ctx, tenant, r.PathValue("name"))
	} else {
		p, _, err = s.form(ctx, r, tenant)
	}
	if err != nil {
		return err
	}
	result, err := s.Pipeline.CheckLogin(ctx, p)
	if err == nil {
		reply(w, http.StatusOK, map[string]any{"ok": true, "warnings": result.Warnings})
	}
	return err
}

func (s *Server) repositories(ctx context.Context, w http.ResponseWriter, r *http.Request, tenant string) error {
	p, _, err := s.load(ctx, tenant, r.PathValue("name"))
	if err != nil {
		return err
	}
	names, err := s.Pipeline.Repositories(ctx, p, regcred.Search{Contains: r.URL.Query().Get("search")})
	if err == nil {
		reply(w, http.StatusOK, names)
	}
	return err
}

func (s *Server) tags(ctx context.Context, w http.ResponseWriter, r *http.Request, tenant string) error {
	p, _, err := s.load(ctx, tenant, r.PathValue("name"))
	if err != nil {
		return err
	}
	names, err := s.Pipeline.Tags(ctx, p, r.URL.Query().Get("repository"), regcred.Search{Contains: r.URL.Query().Get("search")})
	if err == nil {
		reply(w, http.StatusOK, names)
	}
	return err
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

// replyError sends the issues, each with its field, code, problem and hint. A page has to escape their texts, which may
// quote a registry.
func replyError(w http.ResponseWriter, err error) {
	issues := registry.IssuesOf(err)
	status := http.StatusUnprocessableEntity
	switch tooLarge := new(http.MaxBytesError); {
	case errors.Is(err, errNotStored):
		status = http.StatusNotFound
	case errors.Is(err, errChanged):
		status = http.StatusConflict
	case errors.As(err, &tooLarge):
		status = http.StatusRequestEntityTooLarge
	case registry.Temporary(err):
		status = http.StatusServiceUnavailable
		wait := slices.MaxFunc(issues, func(a, b registry.Issue) int { return a.RetryAfter - b.RetryAfter }).RetryAfter
		if wait > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(wait))
		}
	case registry.CodeOf(err) == registry.ErrUnknown && !isInvalid(err):
		// Of the database, or of the keys: for the log, not for the browser.
		status, issues = http.StatusInternalServerError, []registry.Issue{{Code: registry.ErrUnknown, Problem: "internal error"}}
	}
	reply(w, status, map[string]any{"issues": issues})
}

// isInvalid reports whether the error is about what a user filled in.
func isInvalid(err error) bool {
	_, ok := errors.AsType[*field.Errors](err)
	return ok
}

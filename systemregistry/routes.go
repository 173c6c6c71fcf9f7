package systemregistry

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	v2 "github.com/distribution/distribution/v3/registry/api/v2"

	"github.com/regcred/regcred/internal/option"
	"github.com/regcred/regcred/systemregistry/accounts"
	"github.com/regcred/regcred/systemregistry/internal/api"
	"github.com/regcred/regcred/systemregistry/internal/console"
	"github.com/regcred/regcred/systemregistry/internal/gate"
)

const consolePath = "/console/"

// routes returns the handler of everything.
func (r *Registry) routes() http.Handler {
	registry := &guard{registry: r, routes: v2.RouterWithPrefix("")}
	rest := http.NewServeMux()
	rest.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { plain(w, http.StatusOK, "ok") })
	rest.HandleFunc("GET /readyz", r.serveReady)
	rest.HandleFunc(gate.TokenPath, r.gate.ServeToken)
	rest.Handle("/api/v1/", r.api().Handler())
	rest.Handle("GET "+consolePath, console.Handler(consolePath))
	rest.Handle("GET /{$}", http.RedirectHandler(consolePath, http.StatusSeeOther))
	return r.watch(func(a *answer, req *http.Request) (operation string) {
		// Past the mux, which would answer a path with .. in it by sending the client elsewhere.
		if req.URL.Path == "/v2" || strings.HasPrefix(req.URL.Path, "/v2/") {
			registry.serve(a, req)
			return "registry"
		}
		rest.ServeHTTP(a, req)
		_, pattern := rest.Handler(req)
		return operationOf(pattern)
	})
}

func (r *Registry) api() *api.API {
	return &api.API{
		Book: r.book, Catalog: r.catalog, Authenticator: r.login, Ring: r.ring, Service: r.config.service(),
		MaxLoginLife: option.OrDefault(r.config.MaxLoginLife, defaultLoginLife),
		Public: func(repository string) bool {
			return slices.ContainsFunc(r.config.Public, func(pattern string) bool { return accounts.Match(pattern, repository) })
		},
		Host: func(req *http.Request) string {
			_, host, _ := strings.Cut(r.baseURL(req), "://")
			return host
		},
		Address:  r.client,
		Known:    func(req *http.Request, account string) { gate.NoteOf(req.Context()).Account = account },
		LoggedIn: r.loggedIn,
		Changed: func(req *http.Request, c api.Change) {
			kinds := map[api.ChangeKind]EventKind{
				api.ImageDelete: EventDelete, api.AccountCreate: EventAccountCreate,
				api.AccountChange: EventAccountChange, api.AccountDelete: EventAccountDelete,
			}
			r.event(Event{Kind: kinds[c.Kind], Account: c.Account, Client: r.client(req), Subject: c.Subject, Err: c.Err})
		},
	}
}

// operationOf is the first part of a pattern's path: "token", "api", "console".
func operationOf(pattern string) string {
	_, path, _ := strings.Cut(pattern, "/")
	part, _, _ := strings.Cut(path, "/")
	if part == "" {
		return "other"
	}
	return part
}

// watch counts what was answered, and tells it.
func (r *Registry) watch(serve func(*answer, *http.Request) string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		began := time.Now()
		a := &answer{ResponseWriter: w}
		w.Header().Set("X-Content-Type-Options", "nosniff")
		operation := serve(a, req.WithContext(gate.WithNote(req.Context(), &a.note)))
		if a.status == 0 {
			a.status = http.StatusOK
		}
		done := Request{
			Time: began, Duration: time.Since(began), Method: req.Method, Path: req.URL.Path,
			Status: a.status, Sent: a.sent, Account: a.note.Account, Client: r.client(req),
		}
		r.metrics.request(operation, done)
		if r.config.OnRequest != nil {
			r.config.OnRequest(done)
		}
	})
}

func plain(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text + "\n"))
}

// readyTimeout is shorter than the second that a kubelet waits for a probe.
const readyTimeout = 900 * time.Millisecond

// serveReady asks the store and the storage. It does not say what is wrong, for anybody may ask; OnError is told.
func (r *Registry) serveReady(w http.ResponseWriter, req *http.Request) {
	ctx, cancel := context.WithTimeout(req.Context(), readyTimeout)
	defer cancel()
	_, err := r.store.Get(ctx, uploadSecretKey)
	if err == nil {
		err = r.catalog.Reachable(ctx)
	}
	if err != nil {
		r.config.failed(err)
		plain(w, http.StatusServiceUnavailable, "not ready")
		return
	}
	plain(w, http.StatusOK, "ok")
}

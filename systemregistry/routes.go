package systemregistry

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/regcred/regcred/internal/option"
	"github.com/regcred/regcred/systemregistry/accounts"
	"github.com/regcred/regcred/systemregistry/internal/api"
	"github.com/regcred/regcred/systemregistry/internal/console"
	"github.com/regcred/regcred/systemregistry/internal/gate"
)

const (
	consolePath = "/console/"
	// maxForm is the largest form or JSON body, in bytes, of a request outside /v2/.
	maxForm = 64 << 10
)

// routes returns the handler for all paths.
func (r *Registry) routes() http.Handler {
	registry := newGuard(r)
	rest := http.NewServeMux()
	rest.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { plain(w, http.StatusOK, "ok") })
	rest.HandleFunc("GET /readyz", r.serveReady)
	rest.HandleFunc(gate.TokenPath, func(w http.ResponseWriter, req *http.Request) {
		unseal(req, maxForm, smallBody) // The body contains the login.
		r.gate.ServeToken(w, req)
	})
	rest.Handle("/api/v1/", r.api().Handler())
	rest.Handle("GET "+consolePath, console.Handler(consolePath))
	rest.Handle("GET /{$}", http.RedirectHandler(consolePath, http.StatusSeeOther))
	return r.watch(func(a *answer, req *http.Request) (operation string) {
		// These requests bypass the mux, which would redirect a path that contains "..".
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
		Accounts: r.accounts, Catalog: r.catalog, Authenticator: r.login, Ring: r.ring, Sessions: r.sessions, Service: r.config.service(),
		MaxLoginLifetime: option.OrDefault(r.config.MaxLoginLifetime, defaultLoginLife),
		Public: func(repository string) bool {
			return slices.ContainsFunc(r.config.Public, func(pattern string) bool { return accounts.Match(pattern, repository) })
		},
		PublicPatterns: r.config.Public,
		Host: func(req *http.Request) string {
			_, host, _ := strings.Cut(r.baseURL(req), "://")
			return host
		},
		Address:  r.client,
		OpenBody: func(req *http.Request) { unseal(req, maxForm, smallBody) },
		Known:    func(req *http.Request, account string) { gate.NoteOf(req.Context()).Account = account },
		LoggedIn: r.loggedIn,
		Failed:   r.config.failed,
		Changed: func(req *http.Request, c api.Change) {
			kinds := map[api.ChangeKind]EventKind{
				api.ImageDelete: EventDelete, api.AccountCreate: EventAccountCreate,
				api.AccountChange: EventAccountChange, api.AccountDelete: EventAccountDelete,
			}
			r.event(Event{Kind: kinds[c.Kind], Account: c.Account, Client: r.client(req), Subject: c.Subject, Err: c.Err})
		},
	}
}

// operationOf returns the first part of a pattern's path: "token", "api", "console".
func operationOf(pattern string) string {
	_, path, _ := strings.Cut(pattern, "/")
	part, _, _ := strings.Cut(path, "/")
	if part == "" {
		return "other"
	}
	return part
}

// watch counts each request, and reports it to OnRequest.
func (r *Registry) watch(serve func(*answer, *http.Request) string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		began := time.Now()
		a := &answer{ResponseWriter: w, control: http.NewResponseController(w), began: began, tell: r.config.failed}
		w.Header().Set("X-Content-Type-Options", "nosniff")
		inner := req.WithContext(gate.WithNote(req.Context(), &a.note))
		a.body = seal(w, inner)
		operation := serve(a, inner)
		if a.status == 0 {
			a.leave()
			a.status = http.StatusOK
		}
		if a.note.Account != "" {
			loggedInOn(inner)
		}
		if a.body.unread() {
			// Without the deadline, net/http would read more of the body to find its end.
			_ = a.control.SetReadDeadline(began)
		}
		done := Request{
			Time: began, Duration: time.Since(began), Method: req.Method, Path: req.URL.EscapedPath(),
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

// readyTimeout is shorter than the one second that a kubelet waits for a probe.
const readyTimeout = 900 * time.Millisecond

// serveReady checks the store and the storage. The response does not contain the error, because anyone can send this
// request. OnError receives it.
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

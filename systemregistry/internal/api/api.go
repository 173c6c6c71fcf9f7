// Package api is the registry's HTTP API for programs and the console. It lists repositories and images, manages
// accounts, and creates short-lived logins. It does not transfer images.
//
// [API.Handler] serves it under /api/v1/. A client authenticates each request by basic authentication, or logs in once
// and then sends a session cookie, as the console does.
//
// The package makes no decision itself: the identity determines the rights, and the policies determine which images may
// change.
package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"mime"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/systemregistry/accounts"
	"github.com/regcred/regcred/systemregistry/images"
	"github.com/regcred/regcred/systemregistry/internal/catalog"
	"github.com/regcred/regcred/systemregistry/internal/login"
	"github.com/regcred/regcred/systemregistry/internal/token"
)

// An API serves the HTTP API. Set its fields before first use; it is then safe for concurrent use.
type API struct {
	Accounts      *accounts.Manager
	Catalog       *catalog.Catalog
	Authenticator *login.Authenticator
	Ring          *token.Ring
	Sessions      login.Sessions
	// Service is the name of the registry in its tokens.
	Service string
	// MaxLoginLifetime is the longest lifetime of a login.
	MaxLoginLifetime time.Duration
	// Public reports whether clients may pull from the repository without a login: one of PublicPatterns matches it.
	Public         func(repository string) bool
	PublicPatterns []string
	// Host returns the host in the names of images.
	Host func(*http.Request) string
	// Address returns the address of the client.
	Address func(*http.Request) string
	// OpenBody allows reading the body of a request, within the limits of size and time that the server sets.
	OpenBody func(*http.Request)
	// Known is called with the account of each authenticated request.
	Known func(r *http.Request, account string)
	// LoggedIn is called after each check of a password, and Changed after each change.
	LoggedIn func(r *http.Request, account string, err error)
	Changed  func(r *http.Request, c Change)
	// Failed is called with errors that clients do not receive: those of the store and the storage.
	Failed func(error)

	listsOnce sync.Once
	lists     chan struct{} // One slot for each concurrent list for clients without a login.
}

// A Change is an entry of the audit log about a change that was made or rejected.
type Change struct {
	Kind             ChangeKind
	Account, Subject string
	Err              error
}

// A ChangeKind is the kind of a [Change].
type ChangeKind int

// The kinds of changes.
const (
	ImageDelete ChangeKind = iota
	AccountCreate
	AccountChange
	AccountDelete
)

// Handler returns the handler of all paths under /api/v1/.
func (a *API) Handler() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, serve func(r *http.Request, who login.Identity) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { a.serve(w, r, serve) })
	}
	mux.HandleFunc("POST /api/v1/session", a.openSession)
	mux.HandleFunc("DELETE /api/v1/session", a.closeSession)
	handle("GET /api/v1/me", a.me)
	handle("GET /api/v1/sessions", a.sessions)
	handle("DELETE /api/v1/sessions", a.endSessions)
	handle("POST /api/v1/logins", a.newLogin)
	handle("GET /api/v1/repositories", a.repositories)
	handle("GET /api/v1/images", a.images)
	handle("GET /api/v1/policy", a.policy)
	handle("DELETE /api/v1/images", a.deleteImage)
	handle("GET /api/v1/accounts", a.accounts)
	handle("POST /api/v1/accounts", a.createAccount)
	handle("PUT /api/v1/accounts", a.changeAccount)
	handle("DELETE /api/v1/accounts", a.deleteAccount)
	handle("POST /api/v1/accounts/secret", a.newSecret)
	handle("POST /api/v1/accounts/key", a.newKey)
	// Pages of other sites cannot make changes through a browser that is logged in.
	return http.NewCrossOriginProtection().Handler(mux)
}

// created is a response with status 201.
type created struct{ body any }

// failure is an error response. Its text is for people.
type failure struct {
	status int
	text   string
}

func (f *failure) Error() string { return f.text }

var (
	errLogin     = &failure{http.StatusUnauthorized, "log in first"}
	errForbidden = &failure{http.StatusForbidden, "you do not have the right to do this"}
	errMissing   = &failure{http.StatusNotFound, "it does not exist, or you do not have the right to see it"}
)

func invalid(text string) error { return &failure{http.StatusBadRequest, text} }

func (a *API) serve(w http.ResponseWriter, r *http.Request, serve func(*http.Request, login.Identity) (any, error)) {
	who, err := a.who(r)
	var body any
	if err == nil {
		a.Known(r, who.Account.Name)
		body, err = serve(r, who)
	}
	if err != nil {
		a.refuse(w, err)
		return
	}
	status := http.StatusOK
	if c, ok := body.(created); ok {
		status, body = http.StatusCreated, c.body
	}
	reply(w, status, body)
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Cache-Control", "no-store")
	if body == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	text, err := json.Marshal(body) // Encode before sending the status, so that no partial response is sent with 200.
	if err != nil {
		status, text = http.StatusInternalServerError, []byte(`{"error":"the response cannot be encoded"}`)
	}
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n')) // Writing fails only if the client has disconnected.
}

func (a *API) refuse(w http.ResponseWriter, err error) {
	f, ok := errors.AsType[*failure](err)
	throttled, slow := errors.AsType[*login.Throttled](err)
	switch {
	case ok:
	case slow:
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(throttled.Wait.Seconds()))))
		f = &failure{http.StatusTooManyRequests, throttled.Error()}
	case errors.Is(err, accounts.ErrWrongLogin):
		f = &failure{http.StatusUnauthorized, "wrong name or password, or the account is expired or disabled"}
	case errors.Is(err, images.ErrNoImage), errors.Is(err, accounts.ErrAccountNotFound):
		f = errMissing
	case errors.Is(err, images.ErrImmutable), errors.Is(err, images.ErrQuotaExceeded):
		f = &failure{http.StatusForbidden, err.Error()}
	case errors.Is(err, accounts.ErrAccountExists):
		f = &failure{http.StatusConflict, err.Error()}
	case errors.Is(err, accounts.ErrInvalidAccount):
		f = &failure{http.StatusBadRequest, err.Error()}
	case errors.Is(err, images.ErrChanging):
		f = &failure{http.StatusServiceUnavailable, "other clients push or delete the same object: try again in a minute"}
	default:
		f = &failure{http.StatusServiceUnavailable, "accounts or images cannot be read"}
		if !errors.Is(err, context.Canceled) { // The client has disconnected.
			a.Failed(err)
		}
	}
	reply(w, f.status, map[string]string{"error": f.text})
}

// who returns the identity of the sender. It is anonymous if the request has no login.
func (a *API) who(r *http.Request) (login.Identity, error) {
	if name, password, ok := r.BasicAuth(); ok {
		who, err := a.Authenticator.Login(r.Context(), a.Address(r), name, credentials.NewSecret(password))
		if err == nil {
			name = who.Account.Name // The token names its account.
		}
		a.LoggedIn(r, name, err)
		return who, err
	}
	if r.Header.Get("Authorization") != "" {
		return login.Identity{}, &failure{http.StatusUnauthorized, "only basic authentication"}
	}
	return a.session(r)
}

// decode reads the body of a request. Call it after authentication and authorization. It requires a content type that a
// form of a web page cannot have.
func (a *API) decode(r *http.Request, into any) error {
	if mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || mediaType != "application/json" {
		return invalid("the body is not application/json")
	}
	a.OpenBody(r)
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	err := decoder.Decode(into)
	if _, more := decoder.Token(); err != nil || !errors.Is(more, io.EOF) { // The error could quote a password.
		return invalid("the body is not the expected JSON")
	}
	return nil
}

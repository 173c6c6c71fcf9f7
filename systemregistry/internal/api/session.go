package api

import (
	"errors"
	"net/http"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/systemregistry/accounts"
	"github.com/regcred/regcred/systemregistry/internal/login"
	"github.com/regcred/regcred/systemregistry/internal/token"
)

const (
	// With this prefix, browsers accept the cookie over TLS only, and for this host only (RFC 6265bis, section
	// 4.1.3.2). Pages on localhost may work without TLS.
	sessionCookie = "__Host-regcred"
	// A working day.
	sessionLife = 8 * time.Hour
)

func (a *API) openSession(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Username string             `json:"username"`
		Password credentials.Secret `json:"password"`
	}
	if err := a.decode(r, &body); err != nil {
		a.refuse(w, err)
		return
	}
	who, err := a.Authenticator.Login(r.Context(), a.Address(r), body.Username, body.Password)
	if err == nil && (who.Limited() || who.Account.Robot()) {
		err = accounts.ErrWrongLogin // The console is for people.
	}
	a.LoggedIn(r, body.Username, err)
	if err != nil {
		a.refuse(w, err)
		return
	}
	life := min(sessionLife, a.MaxLoginLifetime)
	var c token.Claims
	c.Subject, c.Epoch = who.Account.Name, who.Account.Epoch
	session, err := a.Sessions.Open(r.Context(), who.Account.Name, a.Address(r), r.UserAgent(), time.Now().Add(life))
	if err != nil {
		a.refuse(w, err)
		return
	}
	c.ID = session.ID
	text, _, err := a.Ring.Sign(r.Context(), token.Session, c, a.Service, life)
	if err != nil {
		a.refuse(w, err)
		return
	}
	a.Known(r, who.Account.Name)
	http.SetCookie(w, cookie(text, int(life/time.Second)))
	reply(w, http.StatusCreated, a.meOf(r, who))
}

// closeSession ends the session of the cookie, so that any copy of the cookie is rejected from then on.
func (a *API) closeSession(w http.ResponseWriter, r *http.Request) {
	who, err := a.session(r)
	if err == nil && who.Session != "" {
		err = a.Sessions.End(r.Context(), who.Account.Name, who.Session)
	}
	if err != nil {
		a.refuse(w, err)
		return
	}
	http.SetCookie(w, cookie("", -1))
	reply(w, http.StatusNoContent, nil)
}

type shownSession struct {
	login.Session
	// Current reports that this is the session of the request.
	Current bool `json:"current,omitempty"`
}

// sessions lists the open sessions of the account with the name in the request, or of the caller's own account.
func (a *API) sessions(r *http.Request, who login.Identity) (any, error) {
	name, err := a.ownOrManaged(r, who)
	if err != nil {
		return nil, err
	}
	open, err := a.Sessions.List(r.Context(), name)
	if err != nil {
		return nil, err
	}
	list := []shownSession{}
	for _, s := range open {
		list = append(list, shownSession{s, s.ID == who.Session})
	}
	return map[string]any{"sessions": list}, nil
}

// endSessions ends the session with the ID, or all sessions of the account.
func (a *API) endSessions(r *http.Request, who login.Identity) (any, error) {
	name, err := a.ownOrManaged(r, who)
	if err != nil {
		return nil, err
	}
	err = a.Sessions.End(r.Context(), name, r.URL.Query().Get("id"))
	a.Changed(r, Change{AccountChange, who.Account.Name, name, err})
	return nil, err
}

// ownOrManaged returns the name of the requested account: the caller's own, or one that the caller manages.
func (a *API) ownOrManaged(r *http.Request, who login.Identity) (string, error) {
	name := r.URL.Query().Get("name")
	switch {
	case who.Anonymous():
		return "", errLogin
	case who.Limited():
		return "", errForbidden
	case name == "" || name == who.Account.Name:
		return who.Account.Name, nil
	}
	got, err := a.managed(r, who)
	return got.Name, err
}

func cookie(value string, seconds int) *http.Cookie {
	return &http.Cookie{
		Name: sessionCookie, Value: value, Path: "/", MaxAge: seconds,
		Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode,
	}
}

// session returns the identity of the session. It is anonymous if there is no session, or if it has ended.
func (a *API) session(r *http.Request) (login.Identity, error) {
	got, err := r.Cookie(sessionCookie)
	if err != nil {
		return login.Identity{}, nil
	}
	c, err := a.Ring.Parse(r.Context(), got.Value, token.Session, a.Service, nil)
	if errors.Is(err, token.ErrBad) {
		return login.Identity{}, nil
	}
	if err != nil {
		return login.Identity{}, err
	}
	account, err := a.Authenticator.Current(r.Context(), c)
	if errors.Is(err, accounts.ErrWrongLogin) {
		return login.Identity{}, nil
	}
	if err != nil {
		return login.Identity{}, err
	}
	active, err := a.Sessions.Active(r.Context(), account.Name, c.ID)
	if err != nil || !active {
		return login.Identity{}, err
	}
	return login.Identity{Account: account, ExpiresAt: c.Expiry.Time(), Session: c.ID}, nil
}

// me is the response that describes the caller.
type me struct {
	Name   string          `json:"name"`
	Tenant string          `json:"tenant,omitempty"`
	Admin  bool            `json:"admin"`
	Rules  []accounts.Rule `json:"rules"`
	// Host is the host before the names of repositories.
	Host string `json:"host"`
}

func (a *API) me(r *http.Request, who login.Identity) (any, error) {
	if who.Anonymous() {
		return nil, errLogin
	}
	return a.meOf(r, who), nil
}

func (a *API) meOf(r *http.Request, who login.Identity) me {
	account := who.Account
	return me{account.Name, account.Tenant, account.Admin && !who.Limited(), account.Rules, a.Host(r)}
}

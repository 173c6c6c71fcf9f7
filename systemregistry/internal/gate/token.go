package gate

import (
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/distribution/distribution/v3/registry/api/errcode"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/systemregistry/accounts"
	"github.com/regcred/regcred/systemregistry/internal/login"
	"github.com/regcred/regcred/systemregistry/internal/token"
)

const (
	// Clients request two or three repositories at once to mount a layer from another one.
	maxScopes = 50
	// maxRepository is the longest name of a repository that clients accept, including the host.
	maxRepository = 255
)

// ServeToken issues access tokens: for a GET with the login in the Authorization header, and for an OAuth2 POST with
// the login in the form. As distribution's specification requires, the token omits rights that the account does not
// have, so that it does not reveal which repositories exist.
func (g *Gate) ServeToken(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	var name, password string
	var scopes []string
	var given bool
	switch r.Method {
	case http.MethodGet:
		name, password, given = r.BasicAuth()
		if !given && r.Header.Get("Authorization") != "" {
			fail(w, errcode.ErrorCodeUnauthorized, "the Authorization header cannot be read")
			return
		}
		scopes = strings.Fields(strings.Join(r.URL.Query()["scope"], " "))
	case http.MethodPost:
		if err := r.ParseForm(); err != nil {
			fail(w, errcode.ErrorCodeUnsupported, "the form cannot be read")
			return
		}
		given = true
		switch r.PostForm.Get("grant_type") {
		case "password":
			name, password = r.PostForm.Get("username"), r.PostForm.Get("password")
		case "refresh_token":
			password = r.PostForm.Get("refresh_token")
		default:
			fail(w, errcode.ErrorCodeUnsupported, "grant_type is not password or refresh_token")
			return
		}
		scopes = strings.Fields(strings.Join(r.PostForm["scope"], " "))
	default:
		w.Header().Set("Allow", "GET, POST")
		fail(w, errcode.ErrorCodeUnsupported, "only GET and POST")
		return
	}
	if len(scopes) > maxScopes {
		fail(w, errcode.ErrorCodeDenied, "too many scopes")
		return
	}

	var who login.Identity // Anonymous.
	var err error
	if given {
		who, err = g.Authenticator.Login(r.Context(), g.Address(r), name, credentials.NewSecret(password))
	}
	if err == nil {
		name = who.Account.Name // A login token names its account.
		NoteOf(r.Context()).Account = name
	}
	if given {
		g.Audit(r, name, err)
	}
	if err != nil {
		refuse(w, r, err)
		return
	}
	g.answer(w, r, who, scopes)
}

func refuse(w http.ResponseWriter, r *http.Request, err error) {
	if t, ok := errors.AsType[*login.Throttled](err); ok {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(t.Wait.Seconds()))))
		fail(w, errcode.ErrorCodeTooManyRequests, t.Error())
		return
	}
	if errors.Is(err, accounts.ErrWrongLogin) {
		w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
		fail(w, errcode.ErrorCodeUnauthorized, "wrong name or password, or the account is expired or disabled")
		return
	}
	NoteOf(r.Context()).Err = err
	fail(w, errcode.ErrorCodeUnavailable, "accounts cannot be read")
}

// tokenAnswer has the token under both names that clients read.
type tokenAnswer struct {
	Token       string    `json:"token"`
	AccessToken string    `json:"access_token"`
	TokenType   string    `json:"token_type"`
	ExpiresIn   int       `json:"expires_in"`
	IssuedAt    time.Time `json:"issued_at"`
	Scope       string    `json:"scope,omitempty"`
}

func (g *Gate) answer(w http.ResponseWriter, r *http.Request, who login.Identity, scopes []string) {
	life := g.Life
	if !who.ExpiresAt.IsZero() {
		life = min(life, time.Until(who.ExpiresAt))
	}
	if life = life.Truncate(time.Second); life <= 0 { // A token counts whole seconds.
		refuse(w, r, accounts.ErrWrongLogin)
		return
	}
	c := who.Claims()
	c.Access = g.opens(who, scopes)
	text, c, err := g.Ring.Sign(r.Context(), token.Access, c, g.Service, life)
	if err != nil {
		NoteOf(r.Context()).Err = err
		fail(w, errcode.ErrorCodeUnavailable, "signing keys cannot be read")
		return
	}
	granted := make([]string, len(c.Access))
	for i, a := range c.Access {
		granted[i] = a.Type + ":" + a.Name + ":" + strings.Join(a.Actions, ",")
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(tokenAnswer{ // Encoding fails only if the client has disconnected.
		Token: text, AccessToken: text, TokenType: "Bearer",
		ExpiresIn: int(life / time.Second), IssuedAt: c.IssuedAt.Time().UTC(), Scope: strings.Join(granted, " "),
	})
}

// opens returns the resources and actions in the scopes to which the identity has the rights.
func (g *Gate) opens(who login.Identity, scopes []string) []token.Resource {
	access := []token.Resource{}
	for _, s := range scopes {
		name, actions, ok := parseScope(s)
		if !ok {
			continue
		}
		granted := slices.DeleteFunc(actions, func(action string) bool {
			return !who.Allows(accounts.Action(action), name) && !g.anybody(accounts.Action(action), name)
		})
		if len(granted) > 0 {
			access = append(access, token.Resource{Type: "repository", Name: name, Actions: granted})
		}
	}
	return access
}

// parseScope parses "repository:NAME:ACTIONS", where * means all actions. No client gets scopes of other types, such as
// the catalog of the whole registry.
func parseScope(s string) (name string, actions []string, ok bool) {
	kind, rest, _ := strings.Cut(s, ":")
	i := strings.LastIndexByte(rest, ':')
	if kind != "repository" || i <= 0 || i > maxRepository {
		return "", nil, false
	}
	for action := range strings.SplitSeq(rest[i+1:], ",") {
		if action == "*" {
			return rest[:i], []string{string(accounts.Pull), string(accounts.Push), string(accounts.Delete)}, true
		}
		if !slices.Contains(actions, action) {
			actions = append(actions, action)
		}
	}
	return rest[:i], actions, true
}

package api

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/regcred/regcred/systemregistry/accounts"
	"github.com/regcred/regcred/systemregistry/internal/login"
	"github.com/regcred/regcred/systemregistry/internal/token"
)

const defaultLoginLife = time.Hour

// loginRequest and loginAnswer are the messages of package system of the root module.
type loginRequest struct {
	Repositories []string          `json:"repositories"`
	Actions      []accounts.Action `json:"actions"`
	Seconds      int64             `json:"seconds"`
}

type loginAnswer struct {
	Username  string    `json:"username"`
	Password  string    `json:"password"`
	IssuedAt  time.Time `json:"issuedAt"`
	ExpiresAt time.Time `json:"expiresAt"`
}

// maxPatterns is far above the needs of one profile, and keeps the login shorter than the limit of a header.
const maxPatterns = 50

// newLogin creates a login for the account with fewer rights and a shorter lifetime. The login cannot create another
// one, so access never outlives the requested lifetime.
func (a *API) newLogin(r *http.Request, who login.Identity) (any, error) {
	if who.Anonymous() {
		return nil, errLogin
	}
	if who.Limited() {
		return nil, errForbidden
	}
	var body loginRequest
	if err := a.decode(r, &body); err != nil {
		return nil, err
	}
	life := time.Duration(body.Seconds) * time.Second
	if body.Seconds == 0 {
		life = min(defaultLoginLife, a.MaxLoginLifetime)
	}
	switch {
	case body.Seconds < 0 || body.Seconds > int64(a.MaxLoginLifetime/time.Second):
		return nil, invalid("seconds are more than " + a.MaxLoginLifetime.String() + ", or negative")
	case len(body.Repositories) == 0 || len(body.Repositories) > maxPatterns:
		return nil, invalid("no repositories, or too many")
	}
	for _, pattern := range body.Repositories {
		rule := accounts.Rule{Repositories: pattern, Actions: body.Actions}
		if err := rule.Validate(); err != nil {
			return nil, invalid(err.Error())
		}
		if !reaches(who.Account, rule) {
			return nil, errForbidden
		}
	}
	if !who.ExpiresAt.IsZero() {
		life = min(life, time.Until(who.ExpiresAt))
	}
	if life = life.Truncate(time.Second); life <= 0 {
		return nil, accounts.ErrWrongLogin
	}
	c := token.Claims{Epoch: who.Account.Epoch, Repositories: body.Repositories}
	c.Subject = who.Account.Name
	for _, action := range body.Actions {
		c.Actions = append(c.Actions, string(action))
	}
	text, c, err := a.Ring.Sign(r.Context(), token.Login, c, a.Service, life)
	if err != nil {
		return nil, err
	}
	return created{loginAnswer{who.Account.Name, text, c.IssuedAt.Time().UTC(), c.Expiry.Time().UTC()}}, nil
}

// reaches reports whether the account can have any of the requested rights. True does not guarantee access, because
// rights are checked at each use.
func reaches(a accounts.Account, want accounts.Rule) bool {
	first, _, _ := strings.Cut(want.Repositories, "/")
	if a.Tenant != "" && first != a.Tenant && !strings.HasPrefix(first, "*") {
		return false
	}
	for _, action := range want.Actions {
		if !slices.ContainsFunc(a.Rules, func(r accounts.Rule) bool { return slices.Contains(r.Actions, action) }) {
			return false
		}
	}
	return true
}

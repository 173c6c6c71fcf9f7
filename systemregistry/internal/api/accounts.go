package api

import (
	"net/http"
	"slices"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/systemregistry/accounts"
	"github.com/regcred/regcred/systemregistry/internal/login"
)

// account is the public form of an account, without the fields that only the registry needs.
type account struct {
	Name        string          `json:"name"`
	Robot       bool            `json:"robot"`
	Description string          `json:"description,omitempty"`
	Tenant      string          `json:"tenant,omitempty"`
	Rules       []accounts.Rule `json:"rules"`
	Admin       bool            `json:"admin,omitempty"`
	Disabled    bool            `json:"disabled,omitempty"`
	ExpiresAt   time.Time       `json:"expiresAt,omitzero"`
	CreatedAt   time.Time       `json:"createdAt,omitzero"`
	Keys        []string        `json:"keys,omitempty"`
	// OldSecretEndsAt is the time until which a robot's previous secret is valid.
	OldSecretEndsAt time.Time `json:"oldSecretEndsAt,omitzero"`
}

func shown(a accounts.Account) account {
	s := account{
		Name: a.Name, Robot: a.Robot(), Description: a.Description, Tenant: a.Tenant, Rules: a.Rules, Admin: a.Admin,
		Disabled: a.Disabled, ExpiresAt: a.ExpiresAt, CreatedAt: a.CreatedAt,
	}
	if time.Now().Before(a.OldSecretEndsAt) {
		s.OldSecretEndsAt = a.OldSecretEndsAt
	}
	for _, k := range a.Keys {
		s.Keys = append(s.Keys, k.ID)
	}
	return s
}

// admin returns an error unless the identity may manage accounts.
func admin(who login.Identity) error {
	switch {
	case who.Anonymous():
		return errLogin
	case who.Limited() || !who.Account.Admin:
		return errForbidden
	}
	return nil
}

// managed returns the account with the name in the request, if the identity manages it. The response for an account of
// another tenant equals the response for an account that does not exist.
func (a *API) managed(r *http.Request, who login.Identity) (accounts.Account, error) {
	if err := admin(who); err != nil {
		return accounts.Account{}, err
	}
	got, err := a.Accounts.Account(r.Context(), r.URL.Query().Get("name"))
	if err == nil && !who.Account.Manages(got) {
		err = errMissing
	}
	return got, err
}

func (a *API) accounts(r *http.Request, who login.Identity) (any, error) {
	if err := admin(who); err != nil {
		return nil, err
	}
	list := []account{}
	for got, err := range a.Accounts.All(r.Context()) {
		if err != nil {
			return nil, err
		}
		if who.Account.Manages(got) {
			list = append(list, shown(got))
		}
	}
	return map[string]any{"accounts": list}, nil
}

// newAccount is a person, with a password, or a robot, whose name is given without its tenant.
type newAccount struct {
	Name        string             `json:"name"`
	Robot       bool               `json:"robot"`
	Password    credentials.Secret `json:"password,omitzero"`
	Description string             `json:"description"`
	Tenant      string             `json:"tenant"`
	Rules       []accounts.Rule    `json:"rules"`
	Admin       bool               `json:"admin"`
	ExpiresAt   time.Time          `json:"expiresAt"`
	confirmation
}

type withSecret struct {
	account
	// Secret is shown only in this response.
	Secret string `json:"secret,omitempty"`
}

// confirmation contains the password of the caller. Within a session, it is required for changes that give a person
// rights or a way to log in, so that an abandoned session is not enough for permanent access.
type confirmation struct {
	Current credentials.Secret `json:"current,omitzero"`
}

var errConfirm = &failure{http.StatusForbidden, "confirm this with your current password"}

func (a *API) confirm(r *http.Request, who login.Identity, c confirmation) error {
	if who.Session == "" {
		return nil // The request was authenticated by password.
	}
	if c.Current.Len() == 0 {
		return errConfirm
	}
	return a.password(r, who.Account.Name, c.Current)
}

func (a *API) password(r *http.Request, name string, password credentials.Secret) error {
	err := a.Authenticator.Password(r.Context(), a.Address(r), name, password)
	a.LoggedIn(r, name, err)
	return err
}

func (a *API) createAccount(r *http.Request, who login.Identity) (any, error) {
	if err := admin(who); err != nil {
		return nil, err
	}
	var body newAccount
	if err := a.decode(r, &body); err != nil {
		return nil, err
	}
	if who.Account.Tenant != "" && body.Tenant == "" {
		body.Tenant = who.Account.Tenant // The only possible tenant.
	}
	made := accounts.Account{
		Name: body.Name, Description: body.Description, Tenant: body.Tenant,
		Rules: body.Rules, Admin: body.Admin, ExpiresAt: body.ExpiresAt,
	}
	if body.Robot {
		made.Name = accounts.RobotName(body.Tenant, body.Name)
	}
	if !body.Robot {
		if err := a.confirm(r, who, body.confirmation); err != nil {
			return nil, err
		}
	}
	var secret credentials.Secret
	err := error(errForbidden)
	if who.Account.Manages(made) {
		if body.Robot {
			secret, err = a.Accounts.CreateRobot(r.Context(), made)
		} else {
			err = a.Accounts.Create(r.Context(), made, body.Password)
		}
	}
	a.Changed(r, Change{AccountCreate, who.Account.Name, made.Name, err})
	if err != nil {
		return nil, err
	}
	return created{withSecret{shown(made), secret.Reveal()}}, nil
}

// changes are the fields of an account that can be changed. Fields that are not given keep their values.
type changes struct {
	Description *string          `json:"description"`
	Rules       *[]accounts.Rule `json:"rules"`
	Admin       *bool            `json:"admin"`
	Disabled    *bool            `json:"disabled"`
	ExpiresAt   *time.Time       `json:"expiresAt"`
	Keys        *[]string        `json:"keys"`
	confirmation
}

func set[T any](field *T, value *T) {
	if value != nil {
		*field = *value
	}
}

func (c changes) apply(a *accounts.Account) {
	set(&a.Description, c.Description)
	set(&a.Rules, c.Rules)
	set(&a.Admin, c.Admin)
	set(&a.Disabled, c.Disabled)
	set(&a.ExpiresAt, c.ExpiresAt)
	if c.Keys != nil { // Keys are removed here, and created by newKey.
		a.Keys = slices.DeleteFunc(a.Keys, func(k accounts.Key) bool { return !slices.Contains(*c.Keys, k.ID) })
	}
}

var errSelf = invalid("you cannot remove your own rights or account: another admin can")

func (a *API) changeAccount(r *http.Request, who login.Identity) (any, error) {
	got, err := a.managed(r, who)
	if err != nil {
		return nil, err
	}
	var body changes
	if err := a.decode(r, &body); err != nil {
		return nil, err
	}
	if !got.Robot() {
		if err := a.confirm(r, who, body.confirmation); err != nil {
			return nil, err
		}
	}
	after := got
	err = a.Accounts.Update(r.Context(), got.Name, func(now *accounts.Account) error {
		if !who.Account.Manages(*now) {
			return errMissing // The account was deleted, and created again for another tenant.
		}
		body.apply(now)
		if now.Name == who.Account.Name && (!now.Admin || !now.Active(time.Now())) {
			return errSelf
		}
		after = *now
		return nil
	})
	a.Changed(r, Change{AccountChange, who.Account.Name, got.Name, err})
	if err != nil {
		return nil, err
	}
	return shown(after), nil
}

func (a *API) deleteAccount(r *http.Request, who login.Identity) (any, error) {
	got, err := a.managed(r, who)
	if err != nil {
		return nil, err
	}
	if got.Name == who.Account.Name {
		return nil, errSelf
	}
	err = a.Accounts.Delete(r.Context(), got.Name, managedBy(who))
	a.Changed(r, Change{AccountDelete, who.Account.Name, got.Name, err})
	if err == nil {
		a.forgetSessions(r, got.Name)
	}
	return nil, err
}

// forgetSessions removes the sessions of an account that was deleted or has a new password. They are rejected already.
// Otherwise, a new account of the same name would list them.
func (a *API) forgetSessions(r *http.Request, name string) {
	if err := a.Sessions.End(r.Context(), name, ""); err != nil {
		a.Failed(err)
	}
}

// managedBy returns a check that the identity manages the account at the time of a change. The account may have been
// deleted since it was read, and created again for another tenant.
func managedBy(who login.Identity) accounts.Check {
	return func(now accounts.Account) error {
		if !who.Account.Manages(now) {
			return errMissing
		}
		return nil
	}
}

// newSecret gives a robot a new secret, or a person a new password, which ends the person's sessions. People need their
// current password to change their own.
func (a *API) newSecret(r *http.Request, who login.Identity) (any, error) {
	var got accounts.Account
	var err error
	own, allowed := r.URL.Query().Get("name"), managedBy(who)
	if !who.Anonymous() && !who.Limited() && own == who.Account.Name {
		got = who.Account
		allowed = func(now accounts.Account) error {
			if !now.CreatedAt.Equal(got.CreatedAt) {
				return errMissing // A new account with the same name.
			}
			return nil
		}
	} else if got, err = a.managed(r, who); err != nil {
		return nil, err
	}
	var body struct {
		confirmation
		Password credentials.Secret `json:"password"`
		// OldEndsAt is the time at which a robot's current secret expires. If zero, it expires now.
		OldEndsAt time.Time `json:"oldEndsAt"`
	}
	if err := a.decode(r, &body); err != nil {
		return nil, err
	}
	switch {
	case got.Robot():
	case own == who.Account.Name:
		err = a.password(r, own, body.Current) // Even with basic authentication, which browsers send by themselves.
	default:
		err = a.confirm(r, who, body.confirmation)
	}
	if err != nil {
		return nil, err
	}
	var secret credentials.Secret
	if got.Robot() {
		secret, err = a.Accounts.RotateSecret(r.Context(), got.Name, body.OldEndsAt, allowed)
		got.OldSecretEndsAt = body.OldEndsAt.UTC()
	} else {
		err = a.Accounts.SetPassword(r.Context(), got.Name, body.Password, allowed)
	}
	a.Changed(r, Change{AccountChange, who.Account.Name, got.Name, err})
	if err != nil {
		return nil, err
	}
	a.forgetSessions(r, got.Name)
	return created{withSecret{shown(got), secret.Reveal()}}, nil
}

// newKey creates a key that issues logins for the account.
func (a *API) newKey(r *http.Request, who login.Identity) (any, error) {
	got, err := a.managed(r, who)
	if err != nil {
		return nil, err
	}
	if !got.Robot() {
		// The request for a robot's key has no body.
		var body confirmation
		if who.Session != "" {
			err = a.decode(r, &body)
		}
		if err == nil {
			err = a.confirm(r, who, body)
		}
		if err != nil {
			return nil, err
		}
	}
	key, err := a.Accounts.AddKey(r.Context(), got.Name, a.Service, managedBy(who))
	a.Changed(r, Change{AccountChange, who.Account.Name, got.Name, err})
	if err != nil {
		return nil, err
	}
	return created{map[string]string{"key": key.Reveal()}}, nil
}

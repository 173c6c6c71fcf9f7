package registrytest

import (
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/regcred/regcred/credentials"
)

// A token is a bearer token or refresh token that was issued.
type token struct {
	account   Account
	anonymous bool
	refresh   bool
	access    []scope
	expiresAt time.Time // Zero means never.
}

// A login is the client's identity, as far as the request reveals it.
type login struct {
	state   loginState
	basic   bool
	account Account // If state is loginGood or loginExpired.
	token   *token  // If the client sent a bearer token.
}

type loginState int

const (
	loginNone loginState = iota
	loginGood
	loginBad
	loginExpired
)

func (l login) anonymous() bool { return l.state != loginGood || l.token != nil && l.token.anonymous }

func randomText() string { return rand.Text() }

// check returns the login for a user name and password.
func (r *Registry) check(username, password string) login {
	secret := credentials.NewSecret(password)
	var accounts []Account
	r.locked(func() { accounts = r.accounts })
	found := slices.IndexFunc(accounts, func(a Account) bool {
		return a.Username == username && !secret.IsZero() && a.Password.Equal(secret)
	})
	l := login{state: loginBad, basic: true}
	switch {
	case found >= 0:
		l.account = accounts[found]
	case r.Authenticate != nil:
		a, ok := r.Authenticate(username, secret)
		if !ok {
			return l
		}
		l.account = a
	default:
		return l
	}
	l.state = loginGood
	if l.account.expired() {
		l.state = loginExpired
	}
	return l
}

// basicOrBearer parses the Authorization header.
func (r *Registry) basicOrBearer(req *http.Request) login {
	scheme, value, _ := strings.Cut(req.Header.Get("Authorization"), " ")
	switch {
	case scheme == "":
		return login{}
	case strings.EqualFold(scheme, "basic"):
		username, password, _ := req.BasicAuth()
		return r.check(username, password)
	case !strings.EqualFold(scheme, "bearer"):
		return login{state: loginBad}
	}
	if r.Dialect.bearerLogin {
		if pair, err := base64.StdEncoding.DecodeString(value); err == nil {
			if username, password, ok := strings.Cut(string(pair), ":"); ok {
				l := r.check(username, password)
				l.basic = false
				return l
			}
		}
	}
	l := login{state: loginBad}
	r.locked(func() {
		t := r.tokens[value]
		if t == nil || t.refresh || t.expired() {
			return
		}
		l = login{state: loginGood, account: t.account, token: t}
	})
	return l
}

func (t *token) expired() bool {
	return !t.expiresAt.IsZero() && !time.Now().Before(t.expiresAt)
}

// issue issues a token. It returns the token and its remaining lifetime in seconds, or 0 if it does not expire.
func (r *Registry) issue(t *token, ttl time.Duration) (text string, seconds int) {
	now := time.Now()
	if ttl > 0 {
		t.expiresAt = now.Add(ttl)
	}
	if end := t.account.ExpiresAt; !end.IsZero() && (t.expiresAt.IsZero() || end.Before(t.expiresAt)) {
		t.expiresAt = end
	}
	if !t.expiresAt.IsZero() {
		seconds = int(t.expiresAt.Sub(now) / time.Second)
	}
	text = r.Dialect.token.prefix + randomText()
	r.locked(func() { r.tokens[text] = t })
	return text, seconds
}

// may reports whether the login has the right.
func (r *Registry) may(l login, action, repository string) bool {
	if r.Dialect.open && action == "pull" {
		return true
	}
	if t := l.token; t != nil && !r.Dialect.token.byAccount {
		return slices.ContainsFunc(t.access, func(s scope) bool {
			return s.kind == "repository" && s.name == repository && slices.Contains(s.actions, action)
		})
	}
	return action == "pull" && matches(r.Public, repository) || !l.anonymous() && l.account.may(action, repository)
}
